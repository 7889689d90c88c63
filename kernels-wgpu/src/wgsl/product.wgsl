// What every kernel of products agrees on. Sums of chunks of terms are chains in rising order and are joined in rising order, so that
// neither tiles nor the number of rows change a bit, and a row may be spread over invocations.
//
// The kernel's piece defines INVOCATIONS of a workgroup, ROWS and COLUMNS of its tile, and `product(row, column, lane, k)`. The
// op's own piece defines Value, and, with 0 outside of the factors:
//   chunk()                                        terms of a chunk, a multiple of 16
//   left_four(row, p), right_four(column, p)       four neighbours along p, the direction of summation; p is a multiple of 4
//   left_rows(row, p), right_columns(column, p)    four neighbours across
//   left_along_p(), right_along_p()                which of the two a factor is read by
//   mac(l, r, sum)                                 adds the products of a value of one row with those of four columns
//   factors(columns, p)                            what the sums of the chunk from p of four columns are joined by
//   joined(total, sums, factors)                   the sums of a chunk and of those before it
//   finish(row, column, sum)                       what becomes of a sum; outside of the result, nothing

// Four rows (or columns) at four places of the sum.
struct Quad {
    p0: vec4<Value>,
    p1: vec4<Value>,
    p2: vec4<Value>,
    p3: vec4<Value>,
}

fn transposed(a: vec4<Value>, b: vec4<Value>, c: vec4<Value>, d: vec4<Value>) -> Quad {
    return Quad(vec4(a.x, b.x, c.x, d.x), vec4(a.y, b.y, c.y, d.y), vec4(a.z, b.z, c.z, d.z), vec4(a.w, b.w, c.w, d.w));
}
