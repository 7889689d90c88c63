// out[i, j] = act(Σ over the stored places p of row j of x[i, p] · w[j, p] + bias[j]): one invocation per column and ROWS rows,
// so that a stored value is read once for them.

override X: u32; // dtype of x, bias and out
override W: u32; // dtype of the stored values
override FORM: u32; // of the weight: 0 CSR, 1 blocks, 2 two of four
override ROWS: u32; // 1 or 4

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
    scales: u32, // first word, of f32 [N], where values are codes
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

// Elements p of the rows whose first elements these are.
fn x_rows(rows: vec4<u32>, p: u32) -> vec4<f32> {
    if (ROWS == 1u) { return vec4(x_at(rows.x + p), 0.0, 0.0, 0.0); }
    return vec4(x_at(rows.x + p), x_at(rows.y + p), x_at(rows.z + p), x_at(rows.w + p));
}

// Inner products with a column over what is stored, in rising order.
fn csr(rows: vec4<u32>, column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var at = w[column]; at < w[column + 1u]; at++) {
        sum = fma(x_rows(rows, w[params.col + at]), vec4(value(at)), sum);
    }
    return sum;
}

fn blocks(rows: vec4<u32>, column: u32) -> vec4<f32> {
    let block_row = column / params.block_rows;
    let within = column % params.block_rows * params.block_cols;
    let size = params.block_rows * params.block_cols;
    var sum = vec4<f32>();
    for (var block = w[block_row]; block < w[block_row + 1u]; block++) {
        let first = w[params.col + block] * params.block_cols;
        let count = min(params.block_cols, params.k - first);
        for (var i = 0u; i < count; i++) {
            sum = fma(x_rows(rows, first + i), vec4(value(block * size + within + i)), sum);
        }
    }
    return sum;
}

fn two_of_four(rows: vec4<u32>, column: u32) -> vec4<f32> {
    let fours = (params.k + 3u) >> 2u;
    var sum = vec4<f32>();
    for (var four = 0u; four < fours; four++) {
        let at = column * fours + four;
        let places = w[at >> 2u] >> ((at & 3u) << 3u);
        for (var i = 0u; i < 2u; i++) {
            let p = four * 4u + ((places >> (i << 1u)) & 3u);
            if (p < params.k) { sum = fma(x_rows(rows, p), vec4(value(at * 2u + i)), sum); }
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
    let across = (params.n + 63u) / 64u;
    let index = group_index(group, groups);
    let row = index / across * ROWS;
    let column = index % across * 64u + lane;
    if (row >= params.m || column >= params.n) { return; }
    let rows = params.x_first + min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(params.m - 1u)) * params.x_row;
    var sum: vec4<f32>;
    switch (FORM) {
        case 0u: { sum = csr(rows, column); }
        case 1u: { sum = blocks(rows, column); }
        default: { sum = two_of_four(rows, column); }
    }
    if (W == I8) { sum *= bitcast<f32>(w[params.scales + column]); }
    var offset = 0.0;
    if (params.with_bias != 0u) {
        let at = params.bias_first + column * params.bias_step;
        offset = f32_of(X, (bias[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
    }
    for (var i = 0u; i < ROWS && row + i < params.m; i++) {
        let to = params.out_first + (row + i) * params.out_row + column;
        store(X, to, bits_of(X, activate(params.activation, select(sum[i], sum[i] + offset, params.with_bias != 0u))));
    }
}
