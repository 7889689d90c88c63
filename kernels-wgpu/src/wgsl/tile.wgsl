// Products: a workgroup of SIDE × SIDE invocations computes a tile of sums, 4·SIDE·BLOCKS a side, each invocation 4·BLOCKS a
// side, from parts of the factors that it shares. The op's own piece defines what `product.wgsl` asks for;
// SIDE and BLOCKS (1 or 2) come first of all pieces.
//
// A factor is staged in vectors along the direction in which it is dense in memory: along p, the direction of summation, where
// neighbours in rows (of the left factor) or columns (of the right one) go to invocations far apart, so that they lie in
// different banks; or across.

const TILE = 4u * SIDE * BLOCKS;
const INVOCATIONS = SIDE * SIDE;
const ROWS = TILE;
const COLUMNS = TILE;
const STEP = 16u;
const PITCH = 5u; // vectors between rows staged along p

var<workgroup> left_tile: array<vec4<Value>, TILE * PITCH>; // [TILE, STEP / 4] × 4, or [STEP, TILE / 4] × 4
var<workgroup> right_tile: array<vec4<Value>, TILE * PITCH>;

// Four by four sums.
struct Sums {
    r0: vec4<Value>,
    r1: vec4<Value>,
    r2: vec4<Value>,
    r3: vec4<Value>,
}

fn stage(lane: u32, row: u32, column: u32, p: u32) {
    for (var i = lane; i < TILE * STEP / 4u; i += SIDE * SIDE) {
        if (left_along_p()) {
            left_tile[i / 4u * PITCH + i % 4u] = left_four(row + i / 4u, p + i % 4u * 4u);
        } else {
            left_tile[i] = left_rows(row + i % (TILE / 4u) * 4u, p + i / (TILE / 4u));
        }
        if (right_along_p()) {
            right_tile[i / 4u * PITCH + i % 4u] = right_four(column + i / 4u, p + i % 4u * 4u);
        } else {
            right_tile[i] = right_columns(column + i % (TILE / 4u) * 4u, p + i / (TILE / 4u));
        }
    }
}

// Rows 0 to 3 of invocation row g in a block, at places 4q to 4q + 3.
fn left_quad(g: u32, block: u32, q: u32) -> Quad {
    if (left_along_p()) {
        let at = (g + 4u * SIDE * block) * PITCH + q;
        let next = SIDE * PITCH;
        return transposed(left_tile[at], left_tile[at + next], left_tile[at + 2u * next], left_tile[at + 3u * next]);
    }
    let at = q * TILE + g + SIDE * block;
    return Quad(left_tile[at], left_tile[at + TILE / 4u], left_tile[at + TILE / 2u], left_tile[at + TILE / 4u * 3u]);
}

fn right_quad(g: u32, block: u32, q: u32) -> Quad {
    if (right_along_p()) {
        let at = (g + 4u * SIDE * block) * PITCH + q;
        let next = SIDE * PITCH;
        return transposed(right_tile[at], right_tile[at + next], right_tile[at + 2u * next], right_tile[at + 3u * next]);
    }
    let at = q * TILE + g + SIDE * block;
    return Quad(right_tile[at], right_tile[at + TILE / 4u], right_tile[at + TILE / 2u], right_tile[at + TILE / 4u * 3u]);
}

// Place in the tile of row (or column) i of invocation g in a block.
fn place_in_tile(along_p: bool, g: u32, block: u32, i: u32) -> u32 {
    return 4u * SIDE * block + select(4u * g + i, g + SIDE * i, along_p);
}

fn multiplied(l: Quad, r: Quad, sums: Sums) -> Sums {
    var s = sums;
    s.r0 = mac(l.p0.x, r.p0, s.r0);
    s.r1 = mac(l.p0.y, r.p0, s.r1);
    s.r2 = mac(l.p0.z, r.p0, s.r2);
    s.r3 = mac(l.p0.w, r.p0, s.r3);
    s.r0 = mac(l.p1.x, r.p1, s.r0);
    s.r1 = mac(l.p1.y, r.p1, s.r1);
    s.r2 = mac(l.p1.z, r.p1, s.r2);
    s.r3 = mac(l.p1.w, r.p1, s.r3);
    s.r0 = mac(l.p2.x, r.p2, s.r0);
    s.r1 = mac(l.p2.y, r.p2, s.r1);
    s.r2 = mac(l.p2.z, r.p2, s.r2);
    s.r3 = mac(l.p2.w, r.p2, s.r3);
    s.r0 = mac(l.p3.x, r.p3, s.r0);
    s.r1 = mac(l.p3.y, r.p3, s.r1);
    s.r2 = mac(l.p3.z, r.p3, s.r2);
    s.r3 = mac(l.p3.w, r.p3, s.r3);
    return s;
}

fn joined_block(a: Sums, b: Sums, by: Factors) -> Sums {
    return Sums(joined(a.r0, b.r0, by), joined(a.r1, b.r1, by), joined(a.r2, b.r2, by), joined(a.r3, b.r3, by));
}

// What the sums of invocation g's columns in a block, of the chunk from p, are joined by.
fn factors_of(column: u32, g: u32, block: u32, p: u32) -> Factors {
    let along = right_along_p();
    let near = column + vec2(place_in_tile(along, g, block, 0u), place_in_tile(along, g, block, 1u));
    let far = column + vec2(place_in_tile(along, g, block, 2u), place_in_tile(along, g, block, 3u));
    return factors(vec4(near, far), p);
}

fn finish_row(row: u32, column: u32, g: u32, block: u32, sums: vec4<Value>) {
    finish(row, column + place_in_tile(right_along_p(), g, block, 0u), sums.x);
    finish(row, column + place_in_tile(right_along_p(), g, block, 1u), sums.y);
    finish(row, column + place_in_tile(right_along_p(), g, block, 2u), sums.z);
    finish(row, column + place_in_tile(right_along_p(), g, block, 3u), sums.w);
}

fn finish_block(row: u32, column: u32, lane: u32, block_row: u32, block_column: u32, sums: Sums) {
    let g = lane / SIDE;
    finish_row(row + place_in_tile(left_along_p(), g, block_row, 0u), column, lane % SIDE, block_column, sums.r0);
    finish_row(row + place_in_tile(left_along_p(), g, block_row, 1u), column, lane % SIDE, block_column, sums.r1);
    finish_row(row + place_in_tile(left_along_p(), g, block_row, 2u), column, lane % SIDE, block_column, sums.r2);
    finish_row(row + place_in_tile(left_along_p(), g, block_row, 3u), column, lane % SIDE, block_column, sums.r3);
}

// Computes and finishes the tile from `row` and `column`, with sums of k terms.
fn product(row: u32, column: u32, lane: u32, k: u32) {
    let i = lane / SIDE;
    let j = lane % SIDE;
    var total00 = Sums();
    var total01 = Sums();
    var total10 = Sums();
    var total11 = Sums();
    for (var first = 0u; first < k; first += chunk()) {
        var s00 = Sums();
        var s01 = Sums();
        var s10 = Sums();
        var s11 = Sums();
        for (var p = first; p < min(first + chunk(), k); p += STEP) {
            workgroupBarrier();
            stage(lane, row, column, p);
            workgroupBarrier();
            for (var q = 0u; q < STEP / 4u; q++) {
                let l0 = left_quad(i, 0u, q);
                let r0 = right_quad(j, 0u, q);
                s00 = multiplied(l0, r0, s00);
                if (BLOCKS > 1u) {
                    let l1 = left_quad(i, 1u, q);
                    let r1 = right_quad(j, 1u, q);
                    s01 = multiplied(l0, r1, s01);
                    s10 = multiplied(l1, r0, s10);
                    s11 = multiplied(l1, r1, s11);
                }
            }
        }
        let by0 = factors_of(column, j, 0u, first);
        total00 = joined_block(total00, s00, by0);
        if (BLOCKS > 1u) {
            let by1 = factors_of(column, j, 1u, first);
            total01 = joined_block(total01, s01, by1);
            total10 = joined_block(total10, s10, by0);
            total11 = joined_block(total11, s11, by1);
        }
    }
    finish_block(row, column, lane, 0u, 0u, total00);
    if (BLOCKS > 1u) {
        finish_block(row, column, lane, 0u, 1u, total01);
        finish_block(row, column, lane, 1u, 0u, total10);
        finish_block(row, column, lane, 1u, 1u, total11);
    }
}
