// out[b, i, j] = alpha · Σ over p of a[b, i, p] · b[b, p, j] + beta · out[b, i, j]

override A: u32;
override OUT: u32;
// Of a factor: bit 0 whether it is read along the sum rather than across; bit 1 whether fours begin at multiples of four and none
// reaches beyond the factor.
override LEFT: u32;
override RIGHT: u32;

struct Params {
    lead: vec4<u32>, // up to four leading dimensions, the last in w
    a_lead: vec4<u32>,
    b_lead: vec4<u32>,
    out_lead: vec4<u32>,
    m: u32,
    n: u32,
    k: u32,
    batch: u32,
    a_first: u32,
    a_row: u32,
    a_column: u32,
    b_first: u32,
    b_row: u32,
    b_column: u32,
    out_first: u32,
    out_row: u32,
    out_column: u32,
    alpha: f32,
    beta: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>;

var<private> a_matrix: u32;
var<private> b_matrix: u32;
var<private> out_matrix: u32;

// Where the matrix of index `batch` starts, less the operand's first element.
fn matrix(batch: u32, strides: vec4<u32>) -> u32 {
    var rest = batch;
    var at = 0u;
    for (var axis = 3i; axis >= 0i; axis--) {
        at += (rest % params.lead[axis]) * strides[axis];
        rest /= params.lead[axis];
    }
    return at;
}

fn left_along_p() -> bool { return (LEFT & 1u) != 0u; }

fn right_along_p() -> bool { return (RIGHT & 1u) != 0u; }

fn left(row: u32, p: u32) -> Value {
    if (row >= params.m || p >= params.k) { return Value(0); }
    let at = a_matrix + row * params.a_row + p * params.a_column;
    let word = word_of(A, at);
    return value_of(A, (a[word >> 2u][word & 3u] >> shift_of(A, at)) & mask_of(A));
}

fn right(column: u32, p: u32) -> Value {
    if (column >= params.n || p >= params.k) { return Value(0); }
    let at = b_matrix + p * params.b_row + column * params.b_column;
    let word = word_of(A, at);
    return value_of(A, (b[word >> 2u][word & 3u] >> shift_of(A, at)) & mask_of(A));
}

fn left_four(row: u32, p: u32) -> vec4<Value> {
    if ((LEFT & 2u) != 0u) {
        // Sums of rows beyond the last are not stored.
        let at = a_matrix + min(row, params.m - 1u) * params.a_row + p;
        return four_values(A, a[vector_of(A, at)], at);
    }
    return vec4(left(row, p), left(row, p + 1u), left(row, p + 2u), left(row, p + 3u));
}

fn left_rows(row: u32, p: u32) -> vec4<Value> {
    if ((LEFT & 2u) != 0u) {
        let at = a_matrix + min(row, params.m - 4u) + p * params.a_column;
        return four_values(A, a[vector_of(A, at)], at);
    }
    return vec4(left(row, p), left(row + 1u, p), left(row + 2u, p), left(row + 3u, p));
}

fn right_four(column: u32, p: u32) -> vec4<Value> {
    if ((RIGHT & 2u) != 0u) {
        let at = b_matrix + min(column, params.n - 1u) * params.b_column + p;
        return four_values(A, b[vector_of(A, at)], at);
    }
    return vec4(right(column, p), right(column, p + 1u), right(column, p + 2u), right(column, p + 3u));
}

fn right_columns(column: u32, p: u32) -> vec4<Value> {
    if ((RIGHT & 2u) != 0u) {
        let at = b_matrix + min(column, params.n - 4u) + p * params.b_row;
        return four_values(A, b[vector_of(A, at)], at);
    }
    return vec4(right(column, p), right(column + 1u, p), right(column + 2u, p), right(column + 3u, p));
}

fn finish(row: u32, column: u32, sum: Value) {
    if (row >= params.m || column >= params.n) { return; }
    let at = out_matrix + row * params.out_row + column * params.out_column;
    var former = 0u;
    if (params.beta != 0.0) { former = stored(OUT, at); }
    store(OUT, at, blend(OUT, sum, former));
}

@compute @workgroup_size(INVOCATIONS)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = (params.n + COLUMNS - 1u) / COLUMNS;
    let rows = (params.m + ROWS - 1u) / ROWS;
    let index = group_index(group, groups);
    let batch = index / columns / rows;
    if (batch >= params.batch) { return; }
    a_matrix = params.a_first + matrix(batch, params.a_lead);
    b_matrix = params.b_first + matrix(batch, params.b_lead);
    out_matrix = params.out_first + matrix(batch, params.out_lead);
    product(index / columns % rows * ROWS, index % columns * COLUMNS, lane, params.k);
}
