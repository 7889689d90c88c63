// out[i, j] = act(x_scale[i] · Σ over groups g of (scale[j, g] · Σ over p in g of x[i, p] · (code[j, p] − zero[j, g]) − min[j, g]
// · Σ over p in g of x[i, p]) + bias[j]): `lanes` invocations for four outputs of one column. Sums over a group are exact in i32;
// groups are added in rising order.

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
    lanes: u32,
    unused: u32,
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

// Sums of four rows of x over one part of a row of codes.
struct Part {
    products: vec4<i32>, // x · (code − zero)
    x: vec4<i32>,
}

// From place `first` to `end` of a column of codes, all of one group.
fn part_of(row: u32, column: u32, first: u32, end: u32, zero: i32) -> Part {
    let rows = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(params.m - 1u)) * params.x_row + params.x_first;
    var sum = vec4<i32>();
    var x_sum = vec4<i32>();
    for (var p = first & ~3u; p < end; p += 4u) {
        let code = codes(column, p) ^ 0x80808080u;
        let x0 = x_bytes(rows.x + p, p, first, end);
        let x1 = x_bytes(rows.y + p, p, first, end);
        let x2 = x_bytes(rows.z + p, p, first, end);
        let x3 = x_bytes(rows.w + p, p, first, end);
        sum += vec4(dot_of_four(x0, code), dot_of_four(x1, code), dot_of_four(x2, code), dot_of_four(x3, code));
        let ones = 0x01010101u;
        x_sum += vec4(dot_of_four(x0, ones), dot_of_four(x1, ones), dot_of_four(x2, ones), dot_of_four(x3, ones));
    }
    // Codes less 128 are signed bytes: x · (code − zero) = x · (code − 128) + (128 − zero) · x.
    return Part(sum + (128i - zero) * x_sum, x_sum);
}

var<workgroup> terms: array<vec4<f32>, 64>; // of groups
var<workgroup> whole: array<vec4<i32>, 64>; // parts of the only group

@compute @workgroup_size(64)
fn linear_int8(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = 64u / params.lanes;
    let across = (params.n + columns - 1u) / columns;
    let index = group_index(group, groups);
    let row = index / across * 4u;
    if (row >= params.m) { return; }
    let column = min(index % across * columns + lane / params.lanes, params.n - 1u);
    let place = lane % params.lanes;
    let before = lane - place;
    var total = vec4<f32>();
    if (params.groups == 1u) {
        // A channel is cut anywhere: sums are exact.
        let size = ((params.k + params.lanes - 1u) / params.lanes + 3u) & ~3u;
        let first = min(place * size, params.k);
        let coded = group_of(column, 0u);
        whole[lane] = part_of(row, column, first, min(first + size, params.k), i32(coded.zero)).products;
        workgroupBarrier();
        var sum = vec4<i32>();
        for (var i = 0u; i < params.lanes; i++) { sum += whole[before + i]; }
        total = coded.scale * vec4<f32>(sum);
    } else {
        for (var begin = 0u; begin < params.groups; begin += params.lanes) {
            let g = begin + place;
            if (g < params.groups) {
                let first = g * params.group_size;
                let coded = group_of(column, first);
                let part = part_of(row, column, first, min(first + params.group_size, params.k), i32(coded.zero));
                terms[lane] = coded.scale * vec4<f32>(part.products) - coded.minimum * vec4<f32>(part.x);
            }
            workgroupBarrier();
            for (var i = 0u; i < min(params.lanes, params.groups - begin); i++) { total += terms[before + i]; }
            workgroupBarrier();
        }
    }
    // Four invocations finish an output each.
    let own = row + place;
    if (place >= 4u || own >= params.m || index % across * columns + lane / params.lanes >= params.n) { return; }
    var value = x_scale[params.x_scale_first + own * params.x_scale_step] * total[place];
    if (params.with_bias != 0u) { value += bias[params.bias_first + column * params.bias_step]; }
    out[params.out_first + own * params.out_row + column] = activate(params.activation, value);
}
