// out[i, j] = act(Σ over p of x[i, p] · w[j, p] + bias[j]) for weights whose every value is stored.

override X: u32; // dtype of x, bias and out
override W: u32; // dtype of a dense weight
override FORM: u32; // of the weight: 0 dense, else as in `wgsl/codes.wgsl`
override WHOLE: u32; // bit 0: fours of x begin at multiples of four, and K is a multiple of 16; bit 1: as much of the weight

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
    lanes: u32, // of a row, where it is spread over invocations
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // [M, K]
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>; // [N, K]
@group(0) @binding(3) var<storage, read> bias: array<u32>; // [N]
@group(0) @binding(4) var<storage, read_write> out: array<atomic<u32>>; // [M, N]

alias Value = f32;

fn word(i: u32) -> u32 { return w[i >> 2u][i & 3u]; }

fn x_at(i: u32) -> f32 {
    let word = word_of(X, i);
    return f32_of(X, (x[word >> 2u][word & 3u] >> shift_of(X, i)) & mask_of(X));
}

// Elements p to p + 3 of a row of x, 0 outside.
fn left_four(row: u32, p: u32) -> vec4<f32> {
    if ((WHOLE & 1u) != 0u) {
        // Sums of rows beyond the last are not stored.
        let at = params.x_first + min(row, params.m - 1u) * params.x_row + p;
        return four_of(X, x[vector_of(X, at)], at);
    }
    if (row >= params.m || p >= params.k) { return vec4(0.0); }
    let at = params.x_first + row * params.x_row + p;
    if (p + 3u < params.k && (at & 3u) == 0u) { return four_of(X, x[vector_of(X, at)], at); }
    var values = vec4(x_at(at), 0.0, 0.0, 0.0);
    if (p + 1u < params.k) { values.y = x_at(at + 1u); }
    if (p + 2u < params.k) { values.z = x_at(at + 2u); }
    if (p + 3u < params.k) { values.w = x_at(at + 3u); }
    return values;
}

fn dense_at(i: u32) -> f32 { return f32_of(W, (word(word_of(W, i)) >> shift_of(W, i)) & mask_of(W)); }

// Elements p to p + 3 of a row of the weight, 0 outside.
fn right_four(row: u32, p: u32) -> vec4<f32> {
    if (FORM == 0u && (WHOLE & 2u) != 0u) {
        let at = params.w_first + min(row, params.n - 1u) * params.w_row + p;
        return four_of(W, w[vector_of(W, at)], at);
    }
    if (FORM != 0u && (WHOLE & 2u) != 0u) { return decoded_four(min(row, params.n - 1u), p); }
    if (row >= params.n || p >= params.k) { return vec4(0.0); }
    if (FORM != 0u) { return decoded_four(row, p); }
    let at = params.w_first + row * params.w_row + p * params.w_column;
    if (p + 3u < params.k && (at & 3u) == 0u && params.w_column == 1u) { return four_of(W, w[vector_of(W, at)], at); }
    var values = vec4(dense_at(at), 0.0, 0.0, 0.0);
    if (p + 1u < params.k) { values.y = dense_at(at + params.w_column); }
    if (p + 2u < params.k) { values.z = dense_at(at + 2u * params.w_column); }
    if (p + 3u < params.k) { values.w = dense_at(at + 3u * params.w_column); }
    return values;
}

fn finish(row: u32, column: u32, sum: f32) {
    if (row >= params.m || column >= params.n) { return; }
    var value = sum;
    if (params.with_bias != 0u) {
        let at = params.bias_first + column * params.bias_step;
        value += f32_of(X, (bias[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
    }
    store(X, params.out_first + row * params.out_row + column, bits_of(X, activate(params.activation, value)));
}
