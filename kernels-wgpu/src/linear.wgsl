// out[i, j] = act(Σ over p of x[i, p] · w[j, p] + bias[j]) for weights whose every value is stored.

override X: u32; // dtype of x, bias and out
override W: u32; // dtype of a dense weight
override FORM: u32; // of the weight: 0 dense, 1 int8, 2 int4

struct Params {
    m: u32,
    n: u32,
    k: u32,
    activation: u32,
    x_first: u32,
    x_row: u32,
    w_first: u32,
    w_row: u32,
    w_column: u32,
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
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, K]
@group(0) @binding(2) var<storage, read> w: array<u32>; // [N, K]
@group(0) @binding(3) var<storage, read> bias: array<u32>; // [N]
@group(0) @binding(4) var<storage, read_write> out: array<atomic<u32>>; // [M, N]

alias Value = f32;

fn mac(l: f32, r: vec4<f32>, sum: vec4<f32>) -> vec4<f32> { return fma(vec4(l), r, sum); }

fn left_along_p() -> bool { return true; }

fn right_along_p() -> bool { return true; }

fn left(row: u32, p: u32) -> f32 {
    if (row >= params.m || p >= params.k) { return 0.0; }
    let at = params.x_first + row * params.x_row + p;
    return f32_of(X, (x[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
}

// Byte i after a word of the weight.
fn byte(first: u32, i: u32) -> u32 { return (w[first + (i >> 2u)] >> ((i & 3u) << 3u)) & 255u; }

fn right(row: u32, p: u32) -> f32 {
    if (row >= params.n || p >= params.k) { return 0.0; }
    if (FORM == 0u) {
        let at = params.w_first + row * params.w_row + p * params.w_column;
        return f32_of(W, (w[word_of(W, at)] >> shift_of(W, at)) & mask_of(W));
    }
    var code: u32;
    var zero: u32;
    if (FORM == 1u) {
        code = byte(0u, row * params.k + p);
        zero = 128u;
    } else {
        code = (byte(0u, row * ((params.k + 1u) >> 1u) + (p >> 1u)) >> ((p & 1u) << 2u)) & 15u;
        zero = 8u;
    }
    let group = row * params.groups + p / params.group_size;
    if (params.asymmetric != 0u) { zero = byte(params.zeros, group); }
    return bitcast<f32>(w[params.scales + group]) * f32(i32(code) - i32(zero));
}

fn left_four(row: u32, p: u32) -> vec4<f32> { return vec4(left(row, p), left(row, p + 1u), left(row, p + 2u), left(row, p + 3u)); }

fn left_rows(row: u32, p: u32) -> vec4<f32> { return vec4(left(row, p), left(row + 1u, p), left(row + 2u, p), left(row + 3u, p)); }

fn right_four(row: u32, p: u32) -> vec4<f32> { return vec4(right(row, p), right(row, p + 1u), right(row, p + 2u), right(row, p + 3u)); }

fn right_columns(row: u32, p: u32) -> vec4<f32> { return vec4(right(row, p), right(row + 1u, p), right(row + 2u, p), right(row + 3u, p)); }

fn finish(row: u32, column: u32, sum: f32) {
    if (row >= params.m || column >= params.n) { return; }
    var value = sum;
    if (params.with_bias != 0u) {
        let at = params.bias_first + column * params.bias_step;
        value += f32_of(X, (bias[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
    }
    store(X, params.out_first + row * params.out_row + column, bits_of(X, activate(params.activation, value)));
}

@compute @workgroup_size(SIDE * SIDE)
fn linear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = (params.n + TILE - 1u) / TILE;
    let index = group_index(group, groups);
    let row = index / columns * TILE;
    if (row >= params.m) { return; }
    product(row, index % columns * TILE, lane, params.k);
}
