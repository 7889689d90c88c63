// out[b, t, h] = Σ over s of softmax(scale · ⟨q[b, t, h], k[b, s, g]⟩) · v[b, s, g]: a workgroup per tile of rows, over blocks of
// 64 keys (FlashAttention-2, algorithm 1). Blocks that no row of the tile sees are skipped.

override X: u32;
override SLICES: u32; // of columns in a workgroup: 1 or 2

@group(0) @binding(1) var<storage, read> q: array<u32>; // [B, Tq, H, D]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(3) var<storage, read> v: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(4) var<storage, read> lengths: array<u32>; // [B]
@group(0) @binding(5) var<storage, read_write> out: array<atomic<u32>>; // [B, Tq, H, D]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [B, H, Tq]

const Q = 0u;
const K = 1u;
const V = 2u;

fn load(which: u32, at: u32) -> f32 {
    let word = word_of(X, at);
    switch (which) {
        // The scale first: it may keep in range what would overflow.
        case Q: { return params.scale * f32_of(X, (q[word] >> shift_of(X, at)) & mask_of(X)); }
        case K: { return f32_of(X, (k[word] >> shift_of(X, at)) & mask_of(X)); }
        default: { return f32_of(X, (v[word] >> shift_of(X, at)) & mask_of(X)); }
    }
}

fn row_at(which: u32, i: u32) -> u32 {
    switch (which) {
        case Q: { return query_at(params.q, i); }
        case K: { return key_at(params.k, i); }
        default: { return key_at(params.v, i); }
    }
}

// Σ over the 16 invocations of a row of their four terms each.
fn row_sums(lane: u32, terms: Dots) -> vec4<f32> {
    own_stage[lane % 16u * OWN_GROUPS + lane / 16u] = ((terms.c0 + terms.c1) + terms.c2) + terms.c3;
    workgroupBarrier();
    var sum = vec4<f32>();
    for (var i = 0u; i < 16u; i++) { sum += own_stage[i * OWN_GROUPS + lane / 16u]; }
    return sum;
}

fn row_greatest(lane: u32, scores: Dots) -> vec4<f32> {
    own_stage[lane % 16u * OWN_GROUPS + lane / 16u] = greater(greater(scores.c0, scores.c1), greater(scores.c2, scores.c3));
    workgroupBarrier();
    var greatest = vec4(-infinity());
    for (var i = 0u; i < 16u; i++) { greatest = greater(greatest, own_stage[i * OWN_GROUPS + lane / 16u]); }
    return greatest;
}

fn joined(before: Sums, join: Join, block: Sums) -> Sums {
    return Sums(
        fma(before.r0, vec4(join.fade.x), block.r0 * join.rise.x),
        fma(before.r1, vec4(join.fade.y), block.r1 * join.rise.y),
        fma(before.r2, vec4(join.fade.z), block.r2 * join.rise.z),
        fma(before.r3, vec4(join.fade.w), block.r3 * join.rise.w),
    );
}

fn store_row(row: u32, column: u32, sums: vec4<f32>, total: f32) {
    if (row >= params.rows) { return; }
    let to = query_at(params.out, row);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) { store(X, to + column + i, bits_of(X, normalized(sums[i], total))); }
    }
}

fn store_rows(row: u32, column: u32, sums: Sums, total: vec4<f32>) {
    store_row(row, column, sums.r0, total.x);
    store_row(row + 1u, column, sums.r1, total.y);
    store_row(row + 2u, column, sums.r2, total.z);
    store_row(row + 3u, column, sums.r3, total.w);
}

@compute @workgroup_size(OWN_GROUPS * 16)
fn attention(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let tiles = (params.rows + 4u * OWN_GROUPS - 1u) / (4u * OWN_GROUPS);
    let column = index % params.slices * SLICES * SLICE;
    let tile = index / params.slices % tiles;
    kv_head = index / params.slices / tiles % params.kv_heads;
    batch = index / params.slices / tiles / params.kv_heads;
    if (batch >= params.batch) { return; }
    let first_row = tile * 4u * OWN_GROUPS;
    let row = first_row + lane / 16u * 4u;
    let rows = rows_at(Q, row, params.rows);
    let last = min(first_row + 4u * OWN_GROUPS, params.rows) - 1u;
    let end = visible_keys(last);
    let visible = vec4(
        visible_keys(min(row, last)),
        visible_keys(min(row + 1u, last)),
        visible_keys(min(row + 2u, last)),
        visible_keys(min(row + 3u, last)),
    );

    let other = lane % 16u * 4u;
    var softmax = Softmax(vec4(-infinity()), vec4(0.0));
    var sums = Sums();
    var more = Sums(); // of the second slice
    for (var first = 0u; first < end; first += BLOCK) {
        let seen = Seen(vec4(0u), min(max(visible, vec4(first)) - first, vec4(BLOCK)));
        var s = dots(lane, Q, rows, K, first, end);
        let masked = vec4(-infinity());
        s.c0 = select(masked, s.c0, sees(seen, other));
        s.c1 = select(masked, s.c1, sees(seen, other + 1u));
        s.c2 = select(masked, s.c2, sees(seen, other + 2u));
        s.c3 = select(masked, s.c3, sees(seen, other + 3u));
        workgroupBarrier();
        let greatest = row_greatest(lane, s);
        let shift = shift_of_scores(greatest);
        let w = Dots(
            fading_of(s.c0 - shift),
            fading_of(s.c1 - shift),
            fading_of(s.c2 - shift),
            fading_of(s.c3 - shift),
        );
        keep_weights(lane, w);
        workgroupBarrier();
        let join = join_block(&softmax, Softmax(greatest, row_sums(lane, w)));
        sums = joined(sums, join, mix(lane, seen, V, first, end, column));
        if (SLICES > 1u) {
            more = joined(more, join, mix(lane, seen, V, first, end, column + SLICE));
        }
    }
    store_rows(row, column + other, sums, softmax.total);
    if (SLICES > 1u) {
        store_rows(row, column + SLICE + other, more, softmax.total);
    }
    if (params.with_lse != 0u && column == 0u && other == 0u) {
        for (var i = 0u; i < 4u; i++) {
            if (row + i < params.rows) {
                lse[query_lse(row + i)] = log_sum_exp(softmax.greatest[i], softmax.total[i]);
            }
        }
    }
}
