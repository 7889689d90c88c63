// dq_t = scale · Σ over s of ds[t, s] · k_s: a workgroup per tile of rows and 64 columns.

fn store_row(row: u32, column: u32, sums: vec4<f32>) {
    if (row >= params.rows) { return; }
    let to = query_at(params.dq, row);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.head_dim) { store(X, to + column + i, bits_of(X, params.scale * sums[i])); }
    }
}

@compute @workgroup_size(OWN_GROUPS * 16)
fn attention_backward_q(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = part_of(group_index(group, groups), (params.rows + 4u * OWN_GROUPS - 1u) / (4u * OWN_GROUPS));
    if (!part.exists) { return; }
    let first_row = part.tile * 4u * OWN_GROUPS;
    let row = first_row + lane / 16u * 4u;
    let last = min(first_row + 4u * OWN_GROUPS, params.rows) - 1u;
    let end = visible_keys(last);
    let rows = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(last));
    let visible = vec4(visible_keys(rows.x), visible_keys(rows.y), visible_keys(rows.z), visible_keys(rows.w));
    let lse = vec4(stats[stats_at(rows.x)].x, stats[stats_at(rows.y)].x, stats[stats_at(rows.z)].x, stats[stats_at(rows.w)].x);
    let delta = vec4(stats[stats_at(rows.x)].y, stats[stats_at(rows.y)].y, stats[stats_at(rows.z)].y, stats[stats_at(rows.w)].y);
    let queries = rows_at(Q, row, params.rows);
    let douts = rows_at(DOUT, row, params.rows);

    let other = lane % 16u * 4u;
    var sums = Sums();
    for (var first = 0u; first < end; first += OTHERS) {
        let seen = Seen(vec4(0u), min(max(visible, vec4(first)) - first, vec4(OTHERS)));
        let s = dots(lane, Q, queries, K, first, end);
        let dp = dots(lane, DOUT, douts, V, first, end);
        workgroupBarrier();
        keep_weights(lane, Dots(
            weight(s.c0, lse, sees(seen, other)) * (dp.c0 - delta),
            weight(s.c1, lse, sees(seen, other + 1u)) * (dp.c1 - delta),
            weight(s.c2, lse, sees(seen, other + 2u)) * (dp.c2 - delta),
            weight(s.c3, lse, sees(seen, other + 3u)) * (dp.c3 - delta),
        ));
        let block = mix(lane, seen, K, first, end, part.column);
        sums = Sums(sums.r0 + block.r0, sums.r1 + block.r1, sums.r2 + block.r2, sums.r3 + block.r3);
    }
    store_row(row, part.column + other, sums.r0);
    store_row(row + 1u, part.column + other, sums.r1);
    store_row(row + 2u, part.column + other, sums.r2);
    store_row(row + 3u, part.column + other, sums.r3);
}
