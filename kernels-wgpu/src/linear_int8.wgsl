// out[i, j] = act(x_scale[i] · Σ over groups g of (scale[j, g] · Σ over p in g of x[i, p] · (code[j, p] − zero[j, g]) − min[j, g]
// · Σ over p in g of x[i, p]) + bias[j]). Sums over a group are exact; groups are added in rising order, by fused multiply-adds,
// so that every kernel gives the same bits.

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
    lanes: u32, // of an output, where it is spread over invocations
    chunk: u32, // values of a group, or of a part of it where there is one group
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, K]
@group(0) @binding(2) var<storage, read> x_scale: array<f32>; // [M]
@group(0) @binding(3) var<storage, read> w: array<u32>; // [N, K]
@group(0) @binding(4) var<storage, read> bias: array<f32>; // [N]
@group(0) @binding(5) var<storage, read_write> out: array<atomic<u32>>; // [M, N]

fn word(i: u32) -> u32 { return w[i]; }

// Bytes of x from byte i, those from `first` to `end` of a row, the rest 0; i is place p of the row.
fn x_bytes(i: u32, p: u32, first: u32, end: u32) -> u32 {
    let shift = (i & 3u) << 3u;
    var four = x[i >> 2u];
    if (shift != 0u) { four = (four >> shift) | (x[(i >> 2u) + 1u] << (32u - shift)); }
    if (p < first) { four &= 0xffffffffu << ((first - p) << 3u); }
    if (p + 4u > end) { four &= 0xffffffffu >> ((p + 4u - end) << 3u); }
    return four;
}

// The sum of a channel that is one group.
fn of_channel(column: u32, sum: i32) -> f32 { return group_of(column, 0u).scale * f32(sum); }

fn finish_total(row: u32, column: u32, total: f32) {
    let scale = x_scale[params.x_scale_first + row * params.x_scale_step];
    var value = scale * total;
    if (params.with_bias != 0u) { value = fma(scale, total, bias[params.bias_first + column * params.bias_step]); }
    store(F32, params.out_first + row * params.out_row + column, bitcast<u32>(activate(params.activation, value)));
}
