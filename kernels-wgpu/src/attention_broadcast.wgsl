// As `attention.wgsl`, where eight invocations are one vector of a processor: a subgroup has 32 rows, an invocation eight keys of
// a block and then eight columns. What others need is broadcast, not read again, since words are read one by one. Sums are those of
// `attention.wgsl`, to the bit.

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

const SUBGROUPS = 2u; // of a workgroup
const ROWS = 32u; // of a subgroup
const SLICE = 64u; // columns of a workgroup
const FOURS = BLOCK / 4u;

var<workgroup> weights: array<vec4<f32>, SUBGROUPS * ROWS * FOURS>; // [SUBGROUPS, ROWS, FOURS] of four keys

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

// Where four keys (or their values) start; beyond the last, that one again.
fn four_keys(place: Place, first: u32, end: u32) -> vec4<u32> {
    let i = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(end - 1u));
    return vec4(key_at(place, i.x), key_at(place, i.y), key_at(place, i.z), key_at(place, i.w));
}

fn key_columns(keys: vec4<u32>, d: u32) -> Quad {
    return transposed(columns(K, keys.x, d), columns(K, keys.y, d), columns(K, keys.z, d), columns(K, keys.w, d));
}

fn value_rows(values: vec4<u32>, column: u32) -> Quad {
    return Quad(columns(V, values.x, column), columns(V, values.y, column), columns(V, values.z, column), columns(V, values.w, column));
}

// Of eight rows, this invocation's columns (or keys) 4 · lane.. and 32 + 4 · lane...
struct Wide {
    near: Eight,
    far: Eight,
}

// A number for each of eight rows.
struct OfRows {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Running softmax of eight rows.
struct Running {
    low: Softmax,
    high: Softmax,
}

// Four terms of the chain of each sum of a row.
fn chained(l: vec4<f32>, r: Quad, s: vec4<f32>) -> vec4<f32> {
    return mac(l.w, r.p3, mac(l.z, r.p2, mac(l.y, r.p1, mac(l.x, r.p0, s))));
}

// Adds the products of four values of each invocation, a row each, with four columns of this one at those places of the sum.
fn with_four(l: vec4<f32>, r: Quad, s: Eight) -> Eight {
    return Eight(
        chained(subgroupBroadcast(l, 0u), r, s.r0),
        chained(subgroupBroadcast(l, 1u), r, s.r1),
        chained(subgroupBroadcast(l, 2u), r, s.r2),
        chained(subgroupBroadcast(l, 3u), r, s.r3),
        chained(subgroupBroadcast(l, 4u), r, s.r4),
        chained(subgroupBroadcast(l, 5u), r, s.r5),
        chained(subgroupBroadcast(l, 6u), r, s.r6),
        chained(subgroupBroadcast(l, 7u), r, s.r7),
    );
}

// The same for the places below a row's `seen`, from the first on: what is not seen may not be finite.
fn chained_where(l: vec4<f32>, r: Quad, s: vec4<f32>, seen: u32) -> vec4<f32> {
    let one = select(s, mac(l.x, r.p0, s), seen > 0u);
    let two = select(one, mac(l.y, r.p1, one), seen > 1u);
    let three = select(two, mac(l.z, r.p2, two), seen > 2u);
    return select(three, mac(l.w, r.p3, three), seen > 3u);
}

fn with_four_where(l: vec4<f32>, r: Quad, s: Eight, seen: u32) -> Eight {
    return Eight(
        chained_where(subgroupBroadcast(l, 0u), r, s.r0, subgroupBroadcast(seen, 0u)),
        chained_where(subgroupBroadcast(l, 1u), r, s.r1, subgroupBroadcast(seen, 1u)),
        chained_where(subgroupBroadcast(l, 2u), r, s.r2, subgroupBroadcast(seen, 2u)),
        chained_where(subgroupBroadcast(l, 3u), r, s.r3, subgroupBroadcast(seen, 3u)),
        chained_where(subgroupBroadcast(l, 4u), r, s.r4, subgroupBroadcast(seen, 4u)),
        chained_where(subgroupBroadcast(l, 5u), r, s.r5, subgroupBroadcast(seen, 5u)),
        chained_where(subgroupBroadcast(l, 6u), r, s.r6, subgroupBroadcast(seen, 6u)),
        chained_where(subgroupBroadcast(l, 7u), r, s.r7, subgroupBroadcast(seen, 7u)),
    );
}

fn scored(l: vec4<f32>, near: Quad, far: Quad, s: Wide) -> Wide { return Wide(with_four(l, near, s.near), with_four(l, far, s.far)); }

fn scored_where(l: vec4<f32>, near: Quad, far: Quad, s: Wide, seen: u32) -> Wide {
    return Wide(with_four_where(l, near, s.near, seen), with_four_where(l, far, s.far, seen));
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

fn masked_wide(s: Wide, keys: vec4<u32>, visible: u32) -> Wide {
    return Wide(masked_rows(s.near, keys, visible), masked_rows(s.far, keys + 32u, visible));
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
        fading_of(s.r0 - shift.low.x),
        fading_of(s.r1 - shift.low.y),
        fading_of(s.r2 - shift.low.z),
        fading_of(s.r3 - shift.low.w),
        fading_of(s.r4 - shift.high.x),
        fading_of(s.r5 - shift.high.y),
        fading_of(s.r6 - shift.high.z),
        fading_of(s.r7 - shift.high.w),
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

// Keeps the weights of four keys of eight rows.
fn keep(to: u32, w: Eight) {
    weights[to] = w.r0;
    weights[to + FOURS] = w.r1;
    weights[to + 2u * FOURS] = w.r2;
    weights[to + 3u * FOURS] = w.r3;
    weights[to + 4u * FOURS] = w.r4;
    weights[to + 5u * FOURS] = w.r5;
    weights[to + 6u * FOURS] = w.r6;
    weights[to + 7u * FOURS] = w.r7;
}

struct Joins {
    low: Join,
    high: Join,
}

// Turns the scores of a block into weights, kept from `to` on, and joins the block to those before.
fn softmax_block(scores: Wide, to: u32, lane: u32, running: ptr<function, Running>) -> Joins {
    let greatest = greatest_of_rows(scores.near, scores.far);
    let shift = OfRows(shift_of_scores(greatest.low), shift_of_scores(greatest.high));
    let near = weights_of(scores.near, shift);
    let far = weights_of(scores.far, shift);
    keep(to + lane, near);
    keep(to + 8u + lane, far);
    let sums = sums_of_rows(near, far);
    var low = (*running).low;
    var high = (*running).high;
    let joins = Joins(
        join_block(&low, Softmax(greatest.low, sums.low)),
        join_block(&high, Softmax(greatest.high, sums.high)),
    );
    *running = Running(low, high);
    return joins;
}

fn joined(before: Eight, joins: Joins, block: Eight) -> Eight {
    let fade = OfRows(joins.low.fade, joins.high.fade);
    let rise = OfRows(joins.low.rise, joins.high.rise);
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

fn joined_wide(before: Wide, joins: Joins, block: Wide) -> Wide {
    return Wide(joined(before.near, joins, block.near), joined(before.far, joins, block.far));
}

fn store_row(row: u32, column: u32, sums: vec4<f32>, total: f32) {
    if (row >= params.rows) { return; }
    let to = query_at(params.out, row);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) { store(X, to + column + i, bits_of(X, normalized(sums[i], total))); }
    }
}

fn store_eight(row: u32, column: u32, sums: Eight, run: Running) {
    store_row(row, column, sums.r0, run.low.total.x);
    store_row(row + 1u, column, sums.r1, run.low.total.y);
    store_row(row + 2u, column, sums.r2, run.low.total.z);
    store_row(row + 3u, column, sums.r3, run.low.total.w);
    store_row(row + 4u, column, sums.r4, run.high.total.x);
    store_row(row + 5u, column, sums.r5, run.high.total.y);
    store_row(row + 6u, column, sums.r6, run.high.total.z);
    store_row(row + 7u, column, sums.r7, run.high.total.w);
}

fn store_lse(row: u32, softmax: Softmax) {
    for (var i = 0u; i < 4u; i++) {
        if (row + i < params.rows) { lse[query_lse(row + i)] = log_sum_exp(softmax.greatest[i], softmax.total[i]); }
    }
}

fn store_rows(row: u32, column: u32, lane: u32, sums: Wide, run: Running) {
    store_eight(row, column + 4u * lane, sums.near, run);
    store_eight(row, column + 32u + 4u * lane, sums.far, run);
    if (params.with_lse != 0u && column == 0u && lane == 0u) {
        store_lse(row, run.low);
        store_lse(row + 4u, run.high);
    }
}

@compute @workgroup_size(16)
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
    // The rows whose values this invocation reads and broadcasts, one of each eight.
    let own = min(vec4(row + lane) + vec4(0u, 8u, 16u, 24u), vec4(params.rows - 1u));
    let visible = vec4(visible_keys(own.x), visible_keys(own.y), visible_keys(own.z), visible_keys(own.w));
    let own_q = vec4(query_at(params.q, own.x), query_at(params.q, own.y), query_at(params.q, own.z), query_at(params.q, own.w));
    // Beyond this, some row of the subgroup does not see a key.
    let seen_by_all = visible_keys(min(row, params.rows - 1u));
    let kept = invocation / 8u * ROWS * FOURS;

    var total_a = Wide(); // rows 0 to 7
    var total_b = Wide();
    var total_c = Wide();
    var total_d = Wide(); // rows 24 to 31
    let none = Softmax(vec4(-infinity()), vec4(0.0));
    var softmax_a = Running(none, none);
    var softmax_b = softmax_a;
    var softmax_c = softmax_a;
    var softmax_d = softmax_a;
    for (var first = 0u; first < end; first += BLOCK) {
        var a = Wide();
        var b = Wide();
        var c = Wide();
        var d = Wide();
        let near_keys = four_keys(params.k, first + 4u * lane, end);
        let far_keys = four_keys(params.k, first + 32u + 4u * lane, end);
        for (var p = 0u; p < params.head_dim; p += 4u) {
            let near = key_columns(near_keys, p);
            let far = key_columns(far_keys, p);
            // The scale first: it may keep in range what would overflow.
            a = scored(params.scale * columns(Q, own_q.x, p), near, far, a);
            b = scored(params.scale * columns(Q, own_q.y, p), near, far, b);
            c = scored(params.scale * columns(Q, own_q.z, p), near, far, c);
            d = scored(params.scale * columns(Q, own_q.w, p), near, far, d);
        }
        let whole = first + BLOCK <= seen_by_all;
        if (!whole) {
            let keys = vec4(first + 4u * lane) + vec4(0u, 1u, 2u, 3u);
            a = masked_wide(a, keys, visible.x);
            b = masked_wide(b, keys, visible.y);
            c = masked_wide(c, keys, visible.z);
            d = masked_wide(d, keys, visible.w);
        }
        workgroupBarrier();
        let joins_a = softmax_block(a, kept, lane, &softmax_a);
        let joins_b = softmax_block(b, kept + 8u * FOURS, lane, &softmax_b);
        let joins_c = softmax_block(c, kept + 16u * FOURS, lane, &softmax_c);
        let joins_d = softmax_block(d, kept + 24u * FOURS, lane, &softmax_d);
        workgroupBarrier();

        a = Wide();
        b = Wide();
        c = Wide();
        d = Wide();
        let mine = kept + lane * FOURS;
        // Two loops, since software drivers take both ways of a branch.
        for (var four = 0u; four < select(0u, FOURS, whole); four++) {
            let values = four_keys(params.v, first + 4u * four, end);
            let near = value_rows(values, column + 4u * lane);
            let far = value_rows(values, column + 32u + 4u * lane);
            a = scored(weights[mine + four], near, far, a);
            b = scored(weights[mine + 8u * FOURS + four], near, far, b);
            c = scored(weights[mine + 16u * FOURS + four], near, far, c);
            d = scored(weights[mine + 24u * FOURS + four], near, far, d);
        }
        let fours = (min(BLOCK, end - first) + 3u) / 4u;
        for (var four = 0u; four < select(fours, 0u, whole); four++) {
            let values = four_keys(params.v, first + 4u * four, end);
            let near = value_rows(values, column + 4u * lane);
            let far = value_rows(values, column + 32u + 4u * lane);
            let seen = max(visible, vec4(first + 4u * four)) - (first + 4u * four);
            a = scored_where(weights[mine + four], near, far, a, seen.x);
            b = scored_where(weights[mine + 8u * FOURS + four], near, far, b, seen.y);
            c = scored_where(weights[mine + 16u * FOURS + four], near, far, c, seen.z);
            d = scored_where(weights[mine + 24u * FOURS + four], near, far, d, seen.w);
        }
        total_a = joined_wide(total_a, joins_a, a);
        total_b = joined_wide(total_b, joins_b, b);
        total_c = joined_wide(total_c, joins_c, c);
        total_d = joined_wide(total_d, joins_d, d);
    }
    store_rows(row, column, lane, total_a, softmax_a);
    store_rows(row + 8u, column, lane, total_b, softmax_b);
    store_rows(row + 16u, column, lane, total_c, softmax_c);
    store_rows(row + 24u, column, lane, total_d, softmax_d);
}
