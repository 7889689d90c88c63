// As `attention.wgsl`, where eight invocations are one vector of a processor: a subgroup has 16 rows, an invocation eight keys of
// a block and then eight columns. What others need is broadcast, not read again. Sums are those of `attention.wgsl`, to the bit.

override X: u32;
override WHOLE: u32; // whether fours of columns begin at multiples of four and none reaches beyond D

@group(0) @binding(1) var<storage, read> q: array<vec4<u32>>; // [B, Tq, H, D]
@group(0) @binding(2) var<storage, read> k: array<vec4<u32>>; // [B, Tk, KvH, D]
@group(0) @binding(3) var<storage, read> v: array<vec4<u32>>; // [B, Tk, KvH, D]
@group(0) @binding(4) var<storage, read> lengths: array<u32>; // [B]
@group(0) @binding(5) var<storage, read_write> out: array<atomic<u32>>; // [B, Tq, H, D]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [B, H, Tq]

alias Value = f32;

fn mac(l: f32, r: vec4<f32>, sum: vec4<f32>) -> vec4<f32> { return fma(vec4(l), r, sum); }

const SUBGROUPS = 4u; // of a workgroup
const ROWS = 16u; // of a subgroup
const SLICE = 64u; // columns of a workgroup

var<workgroup> weights: array<f32, SUBGROUPS * BLOCK * ROWS>; // [SUBGROUPS, BLOCK, ROWS]

const Q = 0u;
const K = 1u;
const V = 2u;

fn words(which: u32, at: u32) -> vec4<u32> {
    switch (which) {
        case Q: { return q[at]; }
        case K: { return k[at]; }
        default: { return v[at]; }
    }
}

fn element(which: u32, at: u32) -> f32 {
    let word = word_of(X, at);
    return f32_of(X, (words(which, word >> 2u)[word & 3u] >> shift_of(X, at)) & mask_of(X));
}

// Four columns of a row, 0 beyond the last.
fn columns(which: u32, row: u32, column: u32) -> vec4<f32> {
    let at = row + column;
    if (WHOLE != 0u) { return four_of(X, words(which, vector_of(X, at)), at); }
    var four = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) { four[i] = element(which, at + i); }
    }
    return four;
}

fn four_keys(first: u32, end: u32) -> vec4<u32> {
    let i = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(end - 1u));
    return vec4(key_at(params.k, i.x), key_at(params.k, i.y), key_at(params.k, i.z), key_at(params.k, i.w));
}

fn key_columns(keys: vec4<u32>, d: u32) -> Quad {
    return transposed(columns(K, keys.x, d), columns(K, keys.y, d), columns(K, keys.z, d), columns(K, keys.w, d));
}

// A number for each of eight rows.
struct OfRows {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn masked(s: vec4<f32>, keys: vec4<u32>, visible: u32) -> vec4<f32> { return select(vec4(-infinity()), s, keys < vec4(visible)); }

fn masked_rows(s: Eight, keys: vec4<u32>, visible: u32) -> Eight {
    return Eight(
        masked(s.r0, keys, subgroupBroadcast(visible, 0u)),
        masked(s.r1, keys, subgroupBroadcast(visible, 1u)),
        masked(s.r2, keys, subgroupBroadcast(visible, 2u)),
        masked(s.r3, keys, subgroupBroadcast(visible, 3u)),
        masked(s.r4, keys, subgroupBroadcast(visible, 4u)),
        masked(s.r5, keys, subgroupBroadcast(visible, 5u)),
        masked(s.r6, keys, subgroupBroadcast(visible, 6u)),
        masked(s.r7, keys, subgroupBroadcast(visible, 7u)),
    );
}

fn greatest_of(a: vec4<f32>, b: vec4<f32>) -> f32 {
    let four = greater(greater(vec4(-infinity()), a), b);
    return subgroupMax(max(max(four.x, four.y), max(four.z, four.w)));
}

fn greatest_of_rows(a: Eight, b: Eight) -> OfRows {
    return OfRows(
        vec4(greatest_of(a.r0, b.r0), greatest_of(a.r1, b.r1), greatest_of(a.r2, b.r2), greatest_of(a.r3, b.r3)),
        vec4(greatest_of(a.r4, b.r4), greatest_of(a.r5, b.r5), greatest_of(a.r6, b.r6), greatest_of(a.r7, b.r7)),
    );
}

fn weights_of(s: Eight, shift: OfRows) -> Eight {
    return Eight(
        exp_of_four(s.r0 - shift.low.x),
        exp_of_four(s.r1 - shift.low.y),
        exp_of_four(s.r2 - shift.low.z),
        exp_of_four(s.r3 - shift.low.w),
        exp_of_four(s.r4 - shift.high.x),
        exp_of_four(s.r5 - shift.high.y),
        exp_of_four(s.r6 - shift.high.z),
        exp_of_four(s.r7 - shift.high.w),
    );
}

// Adds one number of each invocation to a sum, in order.
fn add_all(sum: f32, x: f32) -> f32 {
    var s = sum + subgroupBroadcast(x, 0u);
    s += subgroupBroadcast(x, 1u);
    s += subgroupBroadcast(x, 2u);
    s += subgroupBroadcast(x, 3u);
    s += subgroupBroadcast(x, 4u);
    s += subgroupBroadcast(x, 5u);
    s += subgroupBroadcast(x, 6u);
    return s + subgroupBroadcast(x, 7u);
}

fn sum_of(a: vec4<f32>, b: vec4<f32>) -> f32 {
    return add_all(add_all(0.0, ((a.x + a.y) + a.z) + a.w), ((b.x + b.y) + b.z) + b.w);
}

fn sums_of_rows(a: Eight, b: Eight) -> OfRows {
    return OfRows(
        vec4(sum_of(a.r0, b.r0), sum_of(a.r1, b.r1), sum_of(a.r2, b.r2), sum_of(a.r3, b.r3)),
        vec4(sum_of(a.r4, b.r4), sum_of(a.r5, b.r5), sum_of(a.r6, b.r6), sum_of(a.r7, b.r7)),
    );
}

fn keep(to: u32, w: vec4<f32>) {
    weights[to] = w.x;
    weights[to + ROWS] = w.y;
    weights[to + 2u * ROWS] = w.z;
    weights[to + 3u * ROWS] = w.w;
}

fn keep_rows(to: u32, w: Eight) {
    keep(to, w.r0);
    keep(to + 1u, w.r1);
    keep(to + 2u, w.r2);
    keep(to + 3u, w.r3);
    keep(to + 4u, w.r4);
    keep(to + 5u, w.r5);
    keep(to + 6u, w.r6);
    keep(to + 7u, w.r7);
}

// As `multiplied`, for the rows whose invocations see the key.
fn multiplied_where(seen: u32, l: f32, r: vec4<f32>, s: Eight) -> Eight {
    let m = multiplied(l, r, s);
    return Eight(
        select(s.r0, m.r0, subgroupBroadcast(seen, 0u) != 0u),
        select(s.r1, m.r1, subgroupBroadcast(seen, 1u) != 0u),
        select(s.r2, m.r2, subgroupBroadcast(seen, 2u) != 0u),
        select(s.r3, m.r3, subgroupBroadcast(seen, 3u) != 0u),
        select(s.r4, m.r4, subgroupBroadcast(seen, 4u) != 0u),
        select(s.r5, m.r5, subgroupBroadcast(seen, 5u) != 0u),
        select(s.r6, m.r6, subgroupBroadcast(seen, 6u) != 0u),
        select(s.r7, m.r7, subgroupBroadcast(seen, 7u) != 0u),
    );
}

fn joined(before: Eight, fade: OfRows, block: Eight, rise: OfRows) -> Eight {
    return Eight(
        fma(before.r0, vec4(fade.low.x), block.r0 * rise.low.x),
        fma(before.r1, vec4(fade.low.y), block.r1 * rise.low.y),
        fma(before.r2, vec4(fade.low.z), block.r2 * rise.low.z),
        fma(before.r3, vec4(fade.low.w), block.r3 * rise.low.w),
        fma(before.r4, vec4(fade.high.x), block.r4 * rise.high.x),
        fma(before.r5, vec4(fade.high.y), block.r5 * rise.high.y),
        fma(before.r6, vec4(fade.high.z), block.r6 * rise.high.z),
        fma(before.r7, vec4(fade.high.w), block.r7 * rise.high.w),
    );
}

fn store_row(row: u32, column: u32, sums: vec4<f32>, total: f32) {
    if (row >= params.rows) { return; }
    let to = query_at(params.out, row);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) { store(X, to + column + i, bits_of(X, normalized(sums[i], total))); }
    }
}

fn store_rows(row: u32, column: u32, sums: Eight, low: Softmax, high: Softmax) {
    store_row(row, column, sums.r0, low.total.x);
    store_row(row + 1u, column, sums.r1, low.total.y);
    store_row(row + 2u, column, sums.r2, low.total.z);
    store_row(row + 3u, column, sums.r3, low.total.w);
    store_row(row + 4u, column, sums.r4, high.total.x);
    store_row(row + 5u, column, sums.r5, high.total.y);
    store_row(row + 6u, column, sums.r6, high.total.z);
    store_row(row + 7u, column, sums.r7, high.total.w);
}

fn store_lse(row: u32, softmax: Softmax) {
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.rows) { lse[query_lse(row + i)] = log_sum_exp(softmax.greatest[i], softmax.total[i]); }
    }
}

@compute @workgroup_size(32)
fn attention_broadcast(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = group_index(group, groups);
    let tiles = (params.rows + ROWS * SUBGROUPS - 1u) / (ROWS * SUBGROUPS);
    let column = index % params.slices * SLICE;
    let tile = index / params.slices % tiles;
    kv_head = index / params.slices / tiles % params.kv_heads;
    batch = index / params.slices / tiles / params.kv_heads;
    if (batch >= params.batch) { return; }
    let lane = invocation % 8u;
    let row = (tile * SUBGROUPS + invocation / 8u) * ROWS;
    let end = visible_keys(min((tile + 1u) * ROWS * SUBGROUPS, params.rows) - 1u);
    // The rows whose values this invocation reads and broadcasts.
    let row_a = min(row + lane, params.rows - 1u);
    let row_b = min(row + 8u + lane, params.rows - 1u);
    let visible_a = visible_keys(row_a);
    let visible_b = visible_keys(row_b);
    let q_a = query_at(params.q, row_a);
    let q_b = query_at(params.q, row_b);
    // Beyond this, some row of the subgroup does not see a key.
    let seen_by_all = visible_keys(min(row, params.rows - 1u));
    let kept = invocation / 8u * BLOCK * ROWS;

    var total_a0 = Eight(); // rows 0 to 7, columns 4 · lane..
    var total_a1 = Eight(); // rows 0 to 7, columns 32 + 4 · lane..
    var total_b0 = Eight(); // rows 8 to 15
    var total_b1 = Eight();
    var softmax_0 = Softmax(vec4(-infinity()), vec4(0.0)); // rows 0 to 3
    var softmax_1 = softmax_0;
    var softmax_2 = softmax_0;
    var softmax_3 = softmax_0;
    for (var first = 0u; first < end; first += BLOCK) {
        var a0 = Eight(); // rows 0 to 7, keys 4 · lane..
        var a1 = Eight(); // rows 0 to 7, keys 32 + 4 · lane..
        var b0 = Eight(); // rows 8 to 15
        var b1 = Eight();
        let keys_0 = four_keys(first + 4u * lane, end);
        let keys_1 = four_keys(first + 32u + 4u * lane, end);
        for (var d = 0u; d < params.head_dim; d += 4u) {
            // The scale first: it may keep in range what would overflow.
            let qa = params.scale * columns(Q, q_a, d);
            let qb = params.scale * columns(Q, q_b, d);
            let k0 = key_columns(keys_0, d);
            let k1 = key_columns(keys_1, d);
            a0 = multiplied(qa.x, k0.p0, a0);
            a1 = multiplied(qa.x, k1.p0, a1);
            b0 = multiplied(qb.x, k0.p0, b0);
            b1 = multiplied(qb.x, k1.p0, b1);
            a0 = multiplied(qa.y, k0.p1, a0);
            a1 = multiplied(qa.y, k1.p1, a1);
            b0 = multiplied(qb.y, k0.p1, b0);
            b1 = multiplied(qb.y, k1.p1, b1);
            a0 = multiplied(qa.z, k0.p2, a0);
            a1 = multiplied(qa.z, k1.p2, a1);
            b0 = multiplied(qb.z, k0.p2, b0);
            b1 = multiplied(qb.z, k1.p2, b1);
            a0 = multiplied(qa.w, k0.p3, a0);
            a1 = multiplied(qa.w, k1.p3, a1);
            b0 = multiplied(qb.w, k0.p3, b0);
            b1 = multiplied(qb.w, k1.p3, b1);
        }
        let whole = first + BLOCK <= seen_by_all;
        if (!whole) {
            let numbers = vec4(first + 4u * lane) + vec4(0u, 1u, 2u, 3u);
            a0 = masked_rows(a0, numbers, visible_a);
            a1 = masked_rows(a1, numbers + 32u, visible_a);
            b0 = masked_rows(b0, numbers, visible_b);
            b1 = masked_rows(b1, numbers + 32u, visible_b);
        }
        let greatest_a = greatest_of_rows(a0, a1);
        let greatest_b = greatest_of_rows(b0, b1);
        let shift_a = OfRows(shift_of_scores(greatest_a.low), shift_of_scores(greatest_a.high));
        let shift_b = OfRows(shift_of_scores(greatest_b.low), shift_of_scores(greatest_b.high));
        a0 = weights_of(a0, shift_a);
        a1 = weights_of(a1, shift_a);
        b0 = weights_of(b0, shift_b);
        b1 = weights_of(b1, shift_b);
        let sums_a = sums_of_rows(a0, a1);
        let sums_b = sums_of_rows(b0, b1);
        let join_0 = join_block(&softmax_0, Softmax(greatest_a.low, sums_a.low));
        let join_1 = join_block(&softmax_1, Softmax(greatest_a.high, sums_a.high));
        let join_2 = join_block(&softmax_2, Softmax(greatest_b.low, sums_b.low));
        let join_3 = join_block(&softmax_3, Softmax(greatest_b.high, sums_b.high));
        workgroupBarrier();
        keep_rows(kept + 4u * lane * ROWS, a0);
        keep_rows(kept + (32u + 4u * lane) * ROWS, a1);
        keep_rows(kept + 4u * lane * ROWS + 8u, b0);
        keep_rows(kept + (32u + 4u * lane) * ROWS + 8u, b1);
        workgroupBarrier();

        a0 = Eight();
        a1 = Eight();
        b0 = Eight();
        b1 = Eight();
        let count = min(BLOCK, end - first);
        // Two loops, since software drivers take both ways of a branch.
        for (var key = 0u; key < select(0u, count, whole); key++) {
            let at = key_at(params.v, first + key);
            let v0 = columns(V, at, column + 4u * lane);
            let v1 = columns(V, at, column + 32u + 4u * lane);
            let wa = weights[kept + key * ROWS + lane];
            let wb = weights[kept + key * ROWS + 8u + lane];
            a0 = multiplied(wa, v0, a0);
            a1 = multiplied(wa, v1, a1);
            b0 = multiplied(wb, v0, b0);
            b1 = multiplied(wb, v1, b1);
        }
        for (var key = 0u; key < select(count, 0u, whole); key++) {
            let at = key_at(params.v, first + key);
            let v0 = columns(V, at, column + 4u * lane);
            let v1 = columns(V, at, column + 32u + 4u * lane);
            let wa = weights[kept + key * ROWS + lane];
            let wb = weights[kept + key * ROWS + 8u + lane];
            // What a row does not see is not multiplied: it may not be finite.
            let seen_a = u32(first + key < visible_a);
            let seen_b = u32(first + key < visible_b);
            a0 = multiplied_where(seen_a, wa, v0, a0);
            a1 = multiplied_where(seen_a, wa, v1, a1);
            b0 = multiplied_where(seen_b, wb, v0, b0);
            b1 = multiplied_where(seen_b, wb, v1, b1);
        }
        let fade_a = OfRows(join_0.fade, join_1.fade);
        let rise_a = OfRows(join_0.rise, join_1.rise);
        let fade_b = OfRows(join_2.fade, join_3.fade);
        let rise_b = OfRows(join_2.rise, join_3.rise);
        total_a0 = joined(total_a0, fade_a, a0, rise_a);
        total_a1 = joined(total_a1, fade_a, a1, rise_a);
        total_b0 = joined(total_b0, fade_b, b0, rise_b);
        total_b1 = joined(total_b1, fade_b, b1, rise_b);
    }
    store_rows(row, column + 4u * lane, total_a0, softmax_0, softmax_1);
    store_rows(row, column + 32u + 4u * lane, total_a1, softmax_0, softmax_1);
    store_rows(row + 8u, column + 4u * lane, total_b0, softmax_2, softmax_3);
    store_rows(row + 8u, column + 32u + 4u * lane, total_b1, softmax_2, softmax_3);
    if (params.with_lse != 0u && column == 0u && lane == 0u) {
        store_lse(row, softmax_0);
        store_lse(row + 4u, softmax_1);
        store_lse(row + 8u, softmax_2);
        store_lse(row + 12u, softmax_3);
    }
}
