// Attention of a few queries over many keys, first pass: a workgroup per block of 64 keys and four rows writes the block's
// greatest score, sum of weights and sums over values, in the order of sums of `attention.wgsl`.

override X: u32;

@group(0) @binding(1) var<storage, read> q: array<u32>; // [B, Tq, H, D]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(3) var<storage, read> v: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(4) var<storage, read> lengths: array<u32>; // [B]
@group(0) @binding(5) var<storage, read_write> parts: array<f32>; // [B, KvH, rows, blocks, 2 + D]

const DEPTH = 16u;
const PITCH = 17u;

var<workgroup> queries: array<vec4<f32>, DEPTH>; // × 4 rows
var<workgroup> keys: array<f32, BLOCK * PITCH>; // [BLOCK, DEPTH]
var<workgroup> weights: array<vec4<f32>, BLOCK>; // × 4 rows; first the scores

fn q_of(row: u32, column: u32) -> f32 {
    let at = query_at(params.q, min(row, params.rows - 1u)) + column;
    return params.scale * f32_of(X, (q[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
}

fn k_of(at: u32) -> f32 { return f32_of(X, (k[word_of(X, at)] >> shift_of(X, at)) & mask_of(X)); }

fn v_of(at: u32) -> f32 { return f32_of(X, (v[word_of(X, at)] >> shift_of(X, at)) & mask_of(X)); }

@compute @workgroup_size(64)
fn attention_split(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let block = index % params.blocks;
    let tiles = (params.rows + 3u) / 4u;
    let row = index / params.blocks % tiles * 4u;
    kv_head = index / params.blocks / tiles % params.kv_heads;
    batch = index / params.blocks / tiles / params.kv_heads;
    if (batch >= params.batch) { return; }
    let first = block * BLOCK;
    let end = visible_keys(min(row + 3u, params.rows - 1u));
    if (first >= end) { return; } // not read by the second pass either
    let count = min(BLOCK, end - first);
    let visible = vec4(
        visible_keys(row),
        visible_keys(min(row + 1u, params.rows - 1u)),
        visible_keys(min(row + 2u, params.rows - 1u)),
        visible_keys(min(row + 3u, params.rows - 1u)),
    );
    let high = min(max(visible, vec4(first)) - first, vec4(BLOCK)); // of this block

    var score = vec4<f32>();
    for (var d = 0u; d < params.head_dim; d += DEPTH) {
        let depth = min(DEPTH, params.head_dim - d);
        workgroupBarrier();
        if (lane < depth) {
            queries[lane] = vec4(q_of(row, d + lane), q_of(row + 1u, d + lane), q_of(row + 2u, d + lane), q_of(row + 3u, d + lane));
        }
        let column = lane % DEPTH;
        for (var key = lane / DEPTH; key < BLOCK; key += 4u) {
            if (key < count && column < depth) {
                keys[key * PITCH + column] = k_of(key_at(params.k, first + key) + d + column);
            }
        }
        workgroupBarrier();
        if (lane < count) {
            for (var p = 0u; p < depth; p++) { score = fma(queries[p], vec4(keys[lane * PITCH + p]), score); }
        }
    }
    score = select(vec4(-infinity()), score, vec4(lane) < high);
    weights[lane] = score;
    workgroupBarrier();
    var greatest = vec4(-infinity());
    for (var key = 0u; key < count; key++) { greatest = greater(greatest, weights[key]); }
    workgroupBarrier();
    weights[lane] = fading_of(score - shift_of_scores(greatest));
    workgroupBarrier();

    var total = vec4<f32>();
    for (var key = 0u; key < BLOCK; key += 4u) {
        total += ((weights[key] + weights[key + 1u]) + weights[key + 2u]) + weights[key + 3u];
    }
    let size = 2u + params.head_dim;
    for (var column = lane; column < params.head_dim; column += 64u) {
        var sums = vec4<f32>();
        for (var key = 0u; key < count; key++) {
            let w = weights[key];
            let x = v_of(key_at(params.v, first + key) + column);
            sums = select(sums, fma(w, vec4(x), sums), vec4(key) < high);
        }
        for (var i = 0u; i < 4u; i++) {
            if (row + i < params.rows) { parts[parts_at(row + i, block) + 2u + column] = sums[i]; }
        }
    }
    if (lane < 4u && row + lane < params.rows) {
        let to = parts_at(row + lane, block);
        parts[to] = greatest[lane];
        parts[to + 1u] = total[lane];
    }
}
