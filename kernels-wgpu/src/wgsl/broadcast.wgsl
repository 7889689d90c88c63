// Products where eight invocations are one vector of a processor, as software drivers run them: reading from memory takes them
// one by one, broadcasting a register is free. A subgroup of eight, neighbours in the workgroup, computes 32 rows by 32 columns:
// each invocation reads four rows, broadcasts them to the others, and holds the sums of four columns. Nothing is staged, and sums
// are those of `tile.wgsl`, to the bit.

const INVOCATIONS = 64u;
const ROWS = 64u;
const COLUMNS = 128u;

// Row (or column) i of four of an invocation, in its subgroup's part of the tile.
fn place_of(along_p: bool, lane: u32, i: u32) -> u32 { return select(4u * lane + i, lane + 8u * i, along_p); }

fn left_quad(row: u32, lane: u32, p: u32) -> Quad {
    if (left_along_p()) {
        let own = row + lane;
        return transposed(left_four(own, p), left_four(own + 8u, p), left_four(own + 16u, p), left_four(own + 24u, p));
    }
    let own = row + 4u * lane;
    return Quad(left_rows(own, p), left_rows(own, p + 1u), left_rows(own, p + 2u), left_rows(own, p + 3u));
}

fn right_quad(column: u32, lane: u32, p: u32) -> Quad {
    if (right_along_p()) {
        let own = column + lane;
        return transposed(right_four(own, p), right_four(own + 8u, p), right_four(own + 16u, p), right_four(own + 24u, p));
    }
    let own = column + 4u * lane;
    return Quad(right_columns(own, p), right_columns(own, p + 1u), right_columns(own, p + 2u), right_columns(own, p + 3u));
}

fn finish_row(row: u32, column: u32, lane: u32, sums: vec4<Value>) {
    finish(row, column + place_of(right_along_p(), lane, 0u), sums.x);
    finish(row, column + place_of(right_along_p(), lane, 1u), sums.y);
    finish(row, column + place_of(right_along_p(), lane, 2u), sums.z);
    finish(row, column + place_of(right_along_p(), lane, 3u), sums.w);
}

fn finish_eight(row: u32, column: u32, lane: u32, i: u32, sums: Eight) {
    finish_row(row + place_of(left_along_p(), 0u, i), column, lane, sums.r0);
    finish_row(row + place_of(left_along_p(), 1u, i), column, lane, sums.r1);
    finish_row(row + place_of(left_along_p(), 2u, i), column, lane, sums.r2);
    finish_row(row + place_of(left_along_p(), 3u, i), column, lane, sums.r3);
    finish_row(row + place_of(left_along_p(), 4u, i), column, lane, sums.r4);
    finish_row(row + place_of(left_along_p(), 5u, i), column, lane, sums.r5);
    finish_row(row + place_of(left_along_p(), 6u, i), column, lane, sums.r6);
    finish_row(row + place_of(left_along_p(), 7u, i), column, lane, sums.r7);
}

fn joined_eight(a: Eight, b: Eight, by: Factors) -> Eight {
    return Eight(
        joined(a.r0, b.r0, by),
        joined(a.r1, b.r1, by),
        joined(a.r2, b.r2, by),
        joined(a.r3, b.r3, by),
        joined(a.r4, b.r4, by),
        joined(a.r5, b.r5, by),
        joined(a.r6, b.r6, by),
        joined(a.r7, b.r7, by),
    );
}

// Computes and finishes the tile from `first_row` and `first_column`, with sums of k terms.
fn product(first_row: u32, first_column: u32, invocation: u32, k: u32) {
    let lane = invocation % 8u;
    let row = first_row + invocation / 32u * 32u;
    let column = first_column + invocation / 8u % 4u * 32u;
    let along = right_along_p();
    let places = vec4(place_of(along, lane, 0u), place_of(along, lane, 1u), place_of(along, lane, 2u), place_of(along, lane, 3u));
    var total0 = Eight();
    var total1 = Eight();
    var total2 = Eight();
    var total3 = Eight();
    for (var first = 0u; first < k; first += chunk()) {
        var s0 = Eight();
        var s1 = Eight();
        var s2 = Eight();
        var s3 = Eight();
        // Zeros up to a multiple of 16, as tiles have them.
        for (var p = first; p < min(first + chunk(), (k + 15u) & ~15u); p += 4u) {
            let l = left_quad(row, lane, p);
            let r = right_quad(column, lane, p);
            s0 = multiplied(l.p0.x, r.p0, s0);
            s1 = multiplied(l.p0.y, r.p0, s1);
            s2 = multiplied(l.p0.z, r.p0, s2);
            s3 = multiplied(l.p0.w, r.p0, s3);
            s0 = multiplied(l.p1.x, r.p1, s0);
            s1 = multiplied(l.p1.y, r.p1, s1);
            s2 = multiplied(l.p1.z, r.p1, s2);
            s3 = multiplied(l.p1.w, r.p1, s3);
            s0 = multiplied(l.p2.x, r.p2, s0);
            s1 = multiplied(l.p2.y, r.p2, s1);
            s2 = multiplied(l.p2.z, r.p2, s2);
            s3 = multiplied(l.p2.w, r.p2, s3);
            s0 = multiplied(l.p3.x, r.p3, s0);
            s1 = multiplied(l.p3.y, r.p3, s1);
            s2 = multiplied(l.p3.z, r.p3, s2);
            s3 = multiplied(l.p3.w, r.p3, s3);
        }
        let by = factors(column + places, first);
        total0 = joined_eight(total0, s0, by);
        total1 = joined_eight(total1, s1, by);
        total2 = joined_eight(total2, s2, by);
        total3 = joined_eight(total3, s3, by);
    }
    finish_eight(row, column, lane, 0u, total0);
    finish_eight(row, column, lane, 1u, total1);
    finish_eight(row, column, lane, 2u, total2);
    finish_eight(row, column, lane, 3u, total3);
}
