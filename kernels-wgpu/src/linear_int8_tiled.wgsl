// Linear layers in integers of many rows, by tiles. A value is 32 bits: a float that holds one small integer, or, where four bytes
// are multiplied at a time, four terms of the sum. Sums of a chunk are exact: up to 512 products of at most 128 · 255 in a float.

override WHOLE: u32; // whether fours of x begin at words, and values are there up to a multiple of 16

alias Value = i32;

fn chunk() -> u32 { return params.chunk; }

fn of_floats(x: vec4<f32>) -> vec4<i32> { return bitcast<vec4<i32>>(x); }
fn floats(x: vec4<i32>) -> vec4<f32> { return bitcast<vec4<f32>>(x); }

fn mac(l: i32, r: vec4<i32>, sum: vec4<i32>) -> vec4<i32> {
    if (DOT4 == 0u) { return of_floats(fma(vec4(bitcast<f32>(l)), floats(r), floats(sum))); }
    let x = bitcast<u32>(l);
    let w = bitcast<vec4<u32>>(r);
    return sum + vec4(dot4I8Packed(x, w.x), dot4I8Packed(x, w.y), dot4I8Packed(x, w.z), dot4I8Packed(x, w.w));
}

alias Factors = vec4<f32>; // scales of the groups of four columns

fn scale_at(column: u32, p: u32) -> f32 { return group_of(min(column, params.n - 1u), p).scale; }

fn factors(columns: vec4<u32>, first: u32) -> vec4<f32> {
    if (params.groups == 1u) { return vec4(0.0); }
    let p = select(first, 4u * first, DOT4 != 0u);
    return vec4(scale_at(columns.x, p), scale_at(columns.y, p), scale_at(columns.z, p), scale_at(columns.w, p));
}

// The total is an integer of a channel that is one group, else a float.
fn joined(total: vec4<i32>, sums: vec4<i32>, by: vec4<f32>) -> vec4<i32> {
    if (params.groups == 1u) {
        if (DOT4 != 0u) { return total + sums; }
        return total + vec4<i32>(floats(sums));
    }
    var exact = floats(sums);
    if (DOT4 != 0u) { exact = vec4<f32>(sums); }
    return of_floats(fma(by, exact, floats(total)));
}

// Both factors are dense along the sum.
fn left_along_p() -> bool { return true; }
fn right_along_p() -> bool { return true; }
fn left_rows(row: u32, p: u32) -> vec4<i32> { return vec4(0i); }
fn right_columns(column: u32, p: u32) -> vec4<i32> { return vec4(0i); }

// Bytes p to p + 3 of a row of x, 0 outside.
fn x_four(row: u32, p: u32) -> u32 {
    // Sums of rows beyond the last are not stored.
    let at = params.x_first + min(row, params.m - 1u) * params.x_row + p;
    if (WHOLE != 0u) { return x[at >> 2u]; }
    if (p >= params.k) { return 0u; }
    return x_bytes(at, p, 0u, params.k);
}

fn left_four(row: u32, p: u32) -> vec4<i32> {
    if (DOT4 != 0u) {
        let q = 4u * p;
        return bitcast<vec4<i32>>(vec4(x_four(row, q), x_four(row, q + 4u), x_four(row, q + 8u), x_four(row, q + 12u)));
    }
    let four = x_four(row, p);
    return of_floats(vec4<f32>(bitcast<vec4<i32>>(vec4(four << 24u, four << 16u, four << 8u, four)) >> vec4(24u)));
}

// Codes p to p + 3 of a row less the zero point of symmetric ones, as signed bytes.
fn signed_codes(row: u32, p: u32) -> u32 {
    if (p >= params.k) { return 0u; }
    let four = codes(row, p);
    if (FORM == INT8) { return four ^ 0x80808080u; }
    return ((four | 0x80808080u) - 0x08080808u) ^ 0x80808080u; // no byte borrows from the next
}

fn right_four(column: u32, p: u32) -> vec4<i32> {
    let row = min(column, params.n - 1u);
    if (DOT4 != 0u) {
        let q = 4u * p;
        let four = vec4(signed_codes(row, q), signed_codes(row, q + 4u), signed_codes(row, q + 8u), signed_codes(row, q + 12u));
        return bitcast<vec4<i32>>(four);
    }
    if (p >= params.k) { return vec4(0i); }
    let four = codes(row, p);
    let zero = group_of(row, p).zero;
    return of_floats(vec4<f32>((vec4(four) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u)) - zero);
}

fn finish(row: u32, column: u32, sum: i32) {
    if (row >= params.m || column >= params.n) { return; }
    var total = bitcast<f32>(sum);
    if (params.groups == 1u) { total = of_channel(column, sum); }
    finish_total(row, column, total);
}

@compute @workgroup_size(INVOCATIONS)
fn linear_int8_tiled(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = (params.n + COLUMNS - 1u) / COLUMNS;
    let index = group_index(group, groups);
    let row = index / columns * ROWS;
    if (row >= params.m) { return; }
    product(row, index % columns * COLUMNS, lane, select(params.k, (params.k + 3u) / 4u, DOT4 != 0u));
}
