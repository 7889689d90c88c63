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
const RIGHT_IS_ROW_MAJOR = true;

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

@compute @workgroup_size(64)
fn linear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = (params.n + TILE - 1u) / TILE;
    let index = group_index(group, groups);
    let row = index / columns * TILE;
    let column = index % columns * TILE;
    if (row >= params.m) { return; }
    var sums = product(row, column, lane, params.k);
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let to = vec2(row + lane / 8u * 4u + i, column + lane % 8u * 4u + j);
            if (to.x < params.m && to.y < params.n) {
                var value = sums.rows[i][j];
                if (params.with_bias != 0u) {
                    let at = params.bias_first + to.y * params.bias_step;
                    value += f32_of(X, (bias[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
                }
                store(X, params.out_first + to.x * params.out_row + to.y, bits_of(X, activate(params.activation, value)));
            }
        }
    }
}
