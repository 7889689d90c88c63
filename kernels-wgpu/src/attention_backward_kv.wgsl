// dk_s = scale · Σ over t of ds[t, s] · q_t and dv_s = Σ over t of p[t, s] · dout_t: a workgroup per tile of keys and 64 columns.
// The queries are those of all heads of the group.

@group(0) @binding(8) var<storage, read_write> second: array<atomic<u32>>; // dv [B, Tk, KvH, D]

fn store_key(key: u32, column: u32, dk: vec4<f32>, dv: vec4<f32>) {
    if (key >= params.seq_k) { return; }
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) {
            store(X, key_at(params.dk, key) + column + i, bits_of(X, dk[i]));
            store_second(X, key_at(params.dv, key) + column + i, bits_of(X, dv[i]));
        }
    }
}

fn added(a: Sums, b: Sums) -> Sums { return Sums(a.r0 + b.r0, a.r1 + b.r1, a.r2 + b.r2, a.r3 + b.r3); }

// Weights of four keys for a row, 0 of those it does not see.
fn row_weight(row: u32, score: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
    return weight(score, vec4(stats[stats_at(min(row, params.rows - 1u))].x), seen);
}

fn row_delta(row: u32) -> vec4<f32> { return vec4(stats[stats_at(min(row, params.rows - 1u))].y); }

@compute @workgroup_size(OWN_GROUPS * 16)
fn attention_backward_kv(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = part_of(group_index(group, groups), (params.seq_k + 4u * OWN_GROUPS - 1u) / (4u * OWN_GROUPS));
    if (!part.exists) { return; }
    let first_key = part.tile * 4u * OWN_GROUPS;
    let key = first_key + lane / 16u * 4u;
    // Rows from `low` see a key, if any does: under a causal mask, those from position key + Tq − Tk.
    let valid = valid_keys();
    let keys = vec4(key) + vec4(0u, 1u, 2u, 3u);
    var low = vec4(0u);
    var start = 0u; // of all keys of the tile
    if (params.causal != 0u) {
        low = (max(keys + params.seq_q, vec4(params.seq_k)) - params.seq_k) * params.group;
        start = (max(first_key + params.seq_q, params.seq_k) - params.seq_k) * params.group / OTHERS * OTHERS;
    }
    low = select(vec4(params.rows), low, keys < vec4(valid));
    if (first_key >= valid) { start = params.rows; }
    let own_k = rows_at(K, key, params.seq_k);
    let own_v = rows_at(V, key, params.seq_k);

    let other = lane % 16u * 4u;
    var dk = Sums();
    var dv = Sums();
    for (var first = start; first < params.rows; first += OTHERS) {
        let seen = Seen(min(max(low, vec4(first)) - first, vec4(OTHERS)), vec4(min(OTHERS, params.rows - first)));
        let s = dots(lane, K, own_k, Q, first, params.rows);
        let dp = dots(lane, V, own_v, DOUT, first, params.rows);
        let row = first + other;
        let p = Dots(
            row_weight(row, s.c0, sees(seen, other)),
            row_weight(row + 1u, s.c1, sees(seen, other + 1u)),
            row_weight(row + 2u, s.c2, sees(seen, other + 2u)),
            row_weight(row + 3u, s.c3, sees(seen, other + 3u)),
        );
        workgroupBarrier();
        keep_weights(lane, p);
        dv = added(dv, mix(lane, seen, DOUT, first, params.rows, part.column));
        workgroupBarrier();
        keep_weights(lane, Dots(
            p.c0 * (dp.c0 - row_delta(row)),
            p.c1 * (dp.c1 - row_delta(row + 1u)),
            p.c2 * (dp.c2 - row_delta(row + 2u)),
            p.c3 * (dp.c3 - row_delta(row + 3u)),
        ));
        dk = added(dk, mix(lane, seen, Q, first, params.rows, part.column));
    }
    store_key(key, part.column + other, dk.r0, dv.r0);
    store_key(key + 1u, part.column + other, dk.r1, dv.r1);
    store_key(key + 2u, part.column + other, dk.r2, dv.r2);
    store_key(key + 3u, part.column + other, dk.r3, dv.r3);
}
