// The inner loop of products: a workgroup of 8 × 8 computes 32 × 32 sums, each invocation 4 × 4, over steps of 16 terms that the
// workgroup shares. The op's own piece defines `Value`, `left(row, p)` and `right(column, p)`, which are 0 outside the matrices,
// and `RIGHT_IS_ROW_MAJOR`: whether neighbours in memory are terms rather than columns.

const TILE = 32u;
const STEP = 16u;

var<workgroup> left_tile: array<Value, 512>; // [STEP, TILE]
var<workgroup> right_tile: array<Value, 512>; // [STEP, TILE]

struct Sums { rows: array<vec4<Value>, 4> }

// Σ over p below k of left(row + i, p) · right(column + j, p), i and j from 4 times the invocation's place.
fn product(row: u32, column: u32, lane: u32, k: u32) -> Sums {
    let i0 = lane / 8u * 4u;
    let j0 = lane % 8u * 4u;
    var s0 = vec4<Value>();
    var s1 = vec4<Value>();
    var s2 = vec4<Value>();
    var s3 = vec4<Value>();
    for (var first = 0u; first < k; first += STEP) {
        for (var i = lane; i < TILE * STEP; i += 64u) {
            left_tile[i % STEP * TILE + i / STEP] = left(row + i / STEP, first + i % STEP);
            if (RIGHT_IS_ROW_MAJOR) {
                right_tile[i % STEP * TILE + i / STEP] = right(column + i / STEP, first + i % STEP);
            } else {
                right_tile[i] = right(column + i % TILE, first + i / TILE);
            }
        }
        workgroupBarrier();
        for (var p = 0u; p < STEP; p++) {
            let l = p * TILE + i0;
            let r = p * TILE + j0;
            let across = vec4(right_tile[r], right_tile[r + 1u], right_tile[r + 2u], right_tile[r + 3u]);
            s0 += left_tile[l] * across;
            s1 += left_tile[l + 1u] * across;
            s2 += left_tile[l + 2u] * across;
            s3 += left_tile[l + 3u] * across;
        }
        workgroupBarrier();
    }
    return Sums(array(s0, s1, s2, s3)); // [4, 4]
}
