// out[i, j] = act(Σ over the stored places p of row j of x[i, p] · w[j, p] + bias[j]): one invocation per output.

override X: u32; // dtype of x, bias and out
override W: u32; // dtype of the stored values
override FORM: u32; // of the weight: 0 CSR, 1 blocks, 2 two of four

struct Params {
    m: u32,
    n: u32,
    k: u32,
    activation: u32,
    x_first: u32,
    x_row: u32,
    bias_first: u32,
    bias_step: u32,
    with_bias: u32,
    out_first: u32,
    out_row: u32,
    col: u32, // first word
    values: u32, // first word
    block_rows: u32,
    block_cols: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, K]
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>; // [N]
@group(0) @binding(4) var<storage, read_write> out: array<atomic<u32>>; // [M, N]

fn x_at(at: u32) -> f32 { return f32_of(X, (x[word_of(X, at)] >> shift_of(X, at)) & mask_of(X)); }

fn value(at: u32) -> f32 {
    return f32_of(W, (w[params.values + word_of(W, at)] >> shift_of(W, at)) & mask_of(W));
}

// ⟨x[row], w[column]⟩ over what is stored; `x_row` is the first element of the row of x.
fn csr(x_row: u32, column: u32) -> f32 {
    var sum = 0.0;
    for (var at = w[column]; at < w[column + 1u]; at++) {
        sum += x_at(x_row + w[params.col + at]) * value(at);
    }
    return sum;
}

fn blocks(x_row: u32, column: u32) -> f32 {
    let block_row = column / params.block_rows;
    let within = column % params.block_rows * params.block_cols;
    let size = params.block_rows * params.block_cols;
    var sum = 0.0;
    for (var block = w[block_row]; block < w[block_row + 1u]; block++) {
        let first = w[params.col + block] * params.block_cols;
        let count = min(params.block_cols, params.k - first);
        for (var i = 0u; i < count; i++) {
            sum += x_at(x_row + first + i) * value(block * size + within + i);
        }
    }
    return sum;
}

fn two_of_four(x_row: u32, column: u32) -> f32 {
    let fours = (params.k + 3u) >> 2u;
    var sum = 0.0;
    for (var four = 0u; four < fours; four++) {
        let at = column * fours + four;
        let places = w[at >> 2u] >> ((at & 3u) << 3u);
        for (var i = 0u; i < 2u; i++) {
            let p = four * 4u + ((places >> (i << 1u)) & 3u);
            if (p < params.k) { sum += x_at(x_row + p) * value(at * 2u + i); }
        }
    }
    return sum;
}

@compute @workgroup_size(64)
fn linear_sparse(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    let row = index / params.n;
    let column = index % params.n;
    if (row >= params.m) { return; }
    let x_row = params.x_first + row * params.x_row;
    var sum: f32;
    switch (FORM) {
        case 0u: { sum = csr(x_row, column); }
        case 1u: { sum = blocks(x_row, column); }
        default: { sum = two_of_four(x_row, column); }
    }
    if (params.with_bias != 0u) {
        let at = params.bias_first + column * params.bias_step;
        sum += f32_of(X, (bias[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
    }
    store(X, params.out_first + row * params.out_row + column, bits_of(X, activate(params.activation, sum)));
}
