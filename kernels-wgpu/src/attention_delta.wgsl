// What the backward passes of attention know of a row: its lse, and δ = ⟨dout, out⟩. One workgroup per row.

override X: u32;

@group(0) @binding(1) var<storage, read> o: array<u32>; // [B, Tq, H, D], the output of the forward op
@group(0) @binding(2) var<storage, read> dout: array<u32>; // [B, Tq, H, D]
@group(0) @binding(3) var<storage, read> lse: array<f32>; // [B, H, Tq]
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>; // [B, KvH, rows]
@group(0) @binding(5) var<storage, read> lengths: array<u32>; // [B]

var<workgroup> terms: array<f32, 64>;

@compute @workgroup_size(64)
fn attention_delta(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let row = index % params.rows;
    kv_head = index / params.rows % params.kv_heads;
    batch = index / params.rows / params.kv_heads;
    if (batch >= params.batch) { return; }
    let begin = query_at(params.out, row);
    let beside = query_at(params.dout, row);
    var sum = 0.0;
    for (var i = lane; i < params.head_dim; i += 64u) {
        let a = f32_of(X, (o[word_of(X, begin + i)] >> shift_of(X, begin + i)) & mask_of(X));
        let b = f32_of(X, (dout[word_of(X, beside + i)] >> shift_of(X, beside + i)) & mask_of(X));
        sum = fma(a, b, sum);
    }
    terms[lane] = sum;
    workgroupBarrier();
    if (lane == 0u) {
        var delta = 0.0;
        for (var i = 0u; i < 64u; i++) { delta += terms[i]; }
        stats[stats_at(row)] = vec2(lse[query_lse(row)], delta);
    }
}
