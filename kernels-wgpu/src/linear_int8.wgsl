// out[i, j] = act(x_scale[i] · Σ over groups g of scale[j, g] · Σ over p in g of x[i, p] · (code[j, p] − zero[j, g]) + bias[j]):
// one invocation per output; the sum over a group is exact in i32.

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
    nibbles: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, K]
@group(0) @binding(2) var<storage, read> x_scale: array<f32>; // [M]
@group(0) @binding(3) var<storage, read> w: array<u32>; // [N, K]
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [M, N]

// Codes of a row begin a byte; even inputs are in low nibbles.
fn code(column: u32, p: u32) -> i32 {
    if (params.nibbles == 0u) { return i32(byte(0u, column * params.k + p)); }
    return i32((byte(0u, column * ((params.k + 1u) / 2u) + p / 2u) >> ((p & 1u) << 2u)) & 15u);
}

fn byte(first: u32, i: u32) -> u32 { return (w[first + (i >> 2u)] >> ((i & 3u) << 3u)) & 255u; }

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
        var zero = select(128i, 8i, params.nibbles != 0u);
        if (params.asymmetric != 0u) { zero = i32(byte(params.zeros, column * params.groups + g)); }
        let first = g * params.group_size;
        let end = first + min(params.group_size, params.k - first);
        var sum = 0i;
        for (var p = first; p < end; p++) {
            let at = x_row + p;
            let value = bitcast<i32>((x[at >> 2u] >> ((at & 3u) << 3u)) << 24u) >> 24u;
            sum += value * (code(column, p) - zero);
        }
        total += bitcast<f32>(w[params.scales + column * params.groups + g]) * f32(sum);
    }
    var value = x_scale[params.x_scale_first + row * params.x_scale_step] * total;
    if (params.with_bias != 0u) { value += bias[params.bias_first + column * params.bias_step]; }
    out[params.out_first + row * params.out_row + column] = activate(params.activation, value);
}
