// Products of a tile of attention. A workgroup of OWN_GROUPS × 16 invocations has 4 · OWN_GROUPS rows of its own (queries, or
// keys) and meets 64 others at a time (keys, or queries). Invocation (g, i) holds rows 4g.. of its own, in the components of a
// vector, against others 4i.., and columns 4i.. of sums over the others. The op's own piece defines `load(which, at)`, an element
// of an operand, and `row_at(which, i)`, where row i of an operand starts; OWN_GROUPS comes first of all pieces, since sizes of
// arrays depend on it.

const OTHERS = 64u;
const DEPTH = 16u; // columns staged at a time
const PITCH = 17u; // of staged columns, so that groups lie in different banks
const SLICE = 64u; // columns of a sum

var<workgroup> weights: array<vec4<f32>, OTHERS * OWN_GROUPS>; // [OTHERS, OWN_GROUPS] × 4 own rows
var<workgroup> own_stage: array<vec4<f32>, OWN_GROUPS * PITCH>; // [OWN_GROUPS, DEPTH] × 4 rows
var<workgroup> other_stage: array<vec4<f32>, 16u * PITCH>; // [16, DEPTH] × 4 rows; in `mix` [16 others, 16] × 4 columns

// Of four others with the own rows of an invocation.
struct Dots {
    c0: vec4<f32>,
    c1: vec4<f32>,
    c2: vec4<f32>,
    c3: vec4<f32>,
}

// Four columns of the own rows of an invocation.
struct Sums {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

// Where four rows from `first` start; beyond the last of `count` rows, that one again.
fn rows_at(which: u32, first: u32, count: u32) -> vec4<u32> {
    let i = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
    return vec4(row_at(which, i.x), row_at(which, i.y), row_at(which, i.z), row_at(which, i.w));
}

fn load_rows(which: u32, rows: vec4<u32>, column: u32) -> vec4<f32> {
    if (column >= params.head_dim) { return vec4(0.0); }
    return vec4(load(which, rows.x + column), load(which, rows.y + column), load(which, rows.z + column), load(which, rows.w + column));
}

fn load_columns(which: u32, row: u32, column: u32) -> vec4<f32> {
    if (column + 3u < params.head_dim) {
        let at = row + column;
        return vec4(load(which, at), load(which, at + 1u), load(which, at + 2u), load(which, at + 3u));
    }
    var columns = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) { columns[i] = load(which, row + column + i); }
    }
    return columns;
}

// Inner products of the own rows with others from `first`, of `count`; each one chain in rising columns.
fn dots(lane: u32, own: u32, own_rows: vec4<u32>, other: u32, first: u32, count: u32) -> Dots {
    let g = lane / 16u;
    let i = lane % 16u;
    var s = Dots();
    for (var d = 0u; d < params.head_dim; d += DEPTH) {
        workgroupBarrier();
        own_stage[g * PITCH + i] = load_rows(own, own_rows, d + i);
        for (var o = g; o < 16u; o += OWN_GROUPS) {
            other_stage[o * PITCH + i] = load_rows(other, rows_at(other, first + o * 4u, count), d + i);
        }
        workgroupBarrier();
        for (var p = 0u; p < DEPTH; p++) {
            let a = own_stage[g * PITCH + p];
            let b = other_stage[i * PITCH + p];
            s.c0 = fma(a, vec4(b.x), s.c0);
            s.c1 = fma(a, vec4(b.y), s.c1);
            s.c2 = fma(a, vec4(b.z), s.c2);
            s.c3 = fma(a, vec4(b.w), s.c3);
        }
    }
    return s;
}

// Which of the 64 others each own row sees: from `low`, below `high`.
struct Seen {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn sees(seen: Seen, other: u32) -> vec4<bool> { return (seen.low <= vec4(other)) & (vec4(other) < seen.high); }

// Keeps the weights of an invocation for `mix`.
fn keep_weights(lane: u32, w: Dots) {
    let to = lane % 16u * 4u * OWN_GROUPS + lane / 16u;
    weights[to] = w.c0;
    weights[to + OWN_GROUPS] = w.c1;
    weights[to + 2u * OWN_GROUPS] = w.c2;
    weights[to + 3u * OWN_GROUPS] = w.c3;
}

// Sums over 64 others from `first`, of `count`, of weight · row, from a column on: each one chain in rising order. What an own
// row does not see is not multiplied: it may not be finite.
fn mix(lane: u32, seen: Seen, other: u32, first: u32, count: u32, column: u32) -> Sums {
    let g = lane / 16u;
    let i = lane % 16u;
    let whole = all(seen.low == vec4(0u)) && all(seen.high == vec4(OTHERS));
    var s = Sums();
    for (var begin = 0u; begin < OTHERS && first + begin < count; begin += 16u) {
        workgroupBarrier();
        for (var o = g; o < 16u; o += OWN_GROUPS) {
            let row = row_at(other, min(first + begin + o, count - 1u));
            other_stage[o * 16u + i] = load_columns(other, row, column + 4u * i);
        }
        workgroupBarrier();
        for (var o = 0u; o < 16u; o++) {
            let w = weights[(begin + o) * OWN_GROUPS + g];
            let x = other_stage[o * 16u + i];
            if (whole) {
                s.r0 = fma(vec4(w.x), x, s.r0);
                s.r1 = fma(vec4(w.y), x, s.r1);
                s.r2 = fma(vec4(w.z), x, s.r2);
                s.r3 = fma(vec4(w.w), x, s.r3);
            } else {
                let kept = sees(seen, begin + o);
                if (kept.x) { s.r0 = fma(vec4(w.x), x, s.r0); }
                if (kept.y) { s.r1 = fma(vec4(w.y), x, s.r1); }
                if (kept.z) { s.r2 = fma(vec4(w.z), x, s.r2); }
                if (kept.w) { s.r3 = fma(vec4(w.w), x, s.r3); }
            }
        }
    }
    return s;
}
