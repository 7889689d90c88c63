// out[i, j] = act(x_scale[i] · Σ over groups g of (scale[j, g] · Σ over p in g of x[i, p] · (code[j, p] − zero[j, g]) − min[j, g] · Σ over p in
// g of x[i, p]) + bias[j]): one invocation per output; the sums over a group are exact in i32.

override FORM: u32; // of the weight, as in `wgsl/codes.wgsl`
override DOT4: u32; // whether the device multiplies four bytes at a time

struct Params {
    m: u32,
    n: u32,
    k: u32,
    activation: u32,
    x_first: u32,
    x_row: u32,
    x_scale_first: u32,
    x_scale_step: u32,
    bias_first: u32,
    bias_step: u32,
    with_bias: u32,
    out_first: u32,
    out_row: u32,
    group_size: u32,
    groups: u32,
    scales: u32, // first word
    zeros: u32, // first word
    asymmetric: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, K]
@group(0) @binding(2) var<storage, read> x_scale: array<f32>; // [M]
@group(0) @binding(3) var<storage, read> w: array<u32>; // [N, K]
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [M, N]

fn word(i: u32) -> u32 { return w[i]; }

fn signed(four: u32, i: u32) -> i32 { return bitcast<i32>(four << (24u - 8u * i)) >> 24u; }

fn dot_of_four(a: u32, b: u32) -> i32 {
    if (DOT4 != 0u) { return dot4I8Packed(a, b); }
    return signed(a, 0u) * signed(b, 0u) + signed(a, 1u) * signed(b, 1u) + signed(a, 2u) * signed(b, 2u) + signed(a, 3u) * signed(b, 3u);
}

// Bytes of x from byte i, those from `first` to `end` of a row, the rest 0; i is place p of the row.
fn x_bytes(i: u32, p: u32, first: u32, end: u32) -> u32 {
    let shift = (i & 3u) << 3u;
    var four = x[i >> 2u];
    if (shift != 0u) { four = (four >> shift) | (x[(i >> 2u) + 1u] << (32u - shift)); }
    if (p < first) { four &= 0xffffffffu << ((first - p) << 3u); }
    if (p + 4u > end) { four &= 0xffffffffu >> ((p + 4u - end) << 3u); }
    return four;
}

@compute @workgroup_size(64)
fn linear_int8(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    let row = index / params.n;
    let column = index % params.n;
    if (row >= params.m) { return; }
    let x_row = params.x_first + row * params.x_row;
    var total = 0.0;
    for (var g = 0u; g < params.groups; g++) {
        let first = g * params.group_size;
        let end = first + min(params.group_size, params.k - first);
        // Codes less 128 are signed bytes: x · (code − zero) = x · (code − 128) + (128 − zero) · x.
        var sum = 0i;
        var x_sum = 0i;
        for (var p = first & ~3u; p < end; p += 4u) {
            let four = x_bytes(x_row + p, p, first, end);
            sum += dot_of_four(four, codes(column, p) ^ 0x80808080u);
            x_sum += dot_of_four(four, 0x01010101u);
        }
        let coded = group_of(column, first);
        total += coded.scale * f32(sum + (128i - i32(coded.zero)) * x_sum) - coded.minimum * f32(x_sum);
    }
    var value = x_scale[params.x_scale_first + row * params.x_scale_step] * total;
    if (params.with_bias != 0u) { value += bias[params.bias_first + column * params.bias_step]; }
    out[params.out_first + row * params.out_row + column] = activate(params.activation, value);
}
