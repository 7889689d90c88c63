// Attention of a few queries over many keys, second pass: a workgroup per row joins its blocks in order.

override X: u32;

@group(0) @binding(1) var<storage, read> lengths: array<u32>; // [B]
@group(0) @binding(2) var<storage, read> parts: array<f32>; // [B, KvH, rows, blocks, 2 + D]
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>; // [B, Tq, H, D]
@group(0) @binding(4) var<storage, read_write> lse: array<f32>; // [B, H, Tq]

@compute @workgroup_size(64)
fn attention_join(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let row = index % params.rows;
    kv_head = index / params.rows % params.kv_heads;
    batch = index / params.rows / params.kv_heads;
    if (batch >= params.batch) { return; }
    let blocks = (visible_keys(row) + BLOCK - 1u) / BLOCK;
    var softmax = Softmax(vec4(-infinity()), vec4(0.0)); // the same in all components
    for (var first = 0u; first == 0u || first < params.head_dim; first += 64u) {
        let column = first + lane;
        softmax = Softmax(vec4(-infinity()), vec4(0.0));
        var sum = 0.0;
        for (var block = 0u; block < blocks; block++) {
            let begin = parts_at(row, block);
            let join = join_block(&softmax, Softmax(vec4(parts[begin]), vec4(parts[begin + 1u])));
            if (column < params.head_dim) { sum = fma(sum, join.fade.x, parts[begin + 2u + column] * join.rise.x); }
        }
        if (column < params.head_dim) {
            store(X, query_at(params.out, row) + column, bits_of(X, normalized(sum, softmax.total.x)));
        }
    }
    if (params.with_lse != 0u && lane == 0u) {
        lse[query_lse(row)] = log_sum_exp(softmax.greatest.x, softmax.total.x);
    }
}
