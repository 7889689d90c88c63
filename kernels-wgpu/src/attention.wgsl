// out[b, t, h] = Σ over s of softmax(scale · ⟨q[b, t, h], k[b, s, g]⟩) · v[b, s, g]: one workgroup per query and 256 of its
// output elements, over blocks of 64 keys with a running maximum (FlashAttention-2, algorithm 1).

override X: u32;

// First element, and strides of batch, position and head.
struct Operand {
    first: u32,
    batch: u32,
    row: u32,
    head: u32,
}

struct Params {
    q: Operand,
    k: Operand,
    v: Operand,
    out: Operand,
    lse: Operand,
    batch: u32,
    seq_q: u32,
    seq_k: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    chunks: u32, // of 256 output elements
    causal: u32,
    lengths_first: u32,
    lengths_step: u32,
    with_lengths: u32,
    with_lse: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<u32>; // [B, Tq, H, D]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(3) var<storage, read> v: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(4) var<storage, read> lengths: array<u32>; // [B]
@group(0) @binding(5) var<storage, read_write> out: array<atomic<u32>>; // [B, Tq, H, D]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [B, H, Tq]

const BLOCK = 64u;
var<workgroup> block: array<f32, 64>; // scores, then weights

fn start(operand: Operand, b: u32, t: u32, h: u32) -> u32 {
    return operand.first + b * operand.batch + t * operand.row + h * operand.head;
}

fn visible_keys(b: u32, t: u32) -> u32 {
    var visible = params.seq_k;
    if (params.with_lengths != 0u) {
        visible = min(visible, lengths[params.lengths_first + b * params.lengths_step]);
    }
    if (params.causal != 0u) {
        let past = t + 1u + params.seq_k;
        visible = min(visible, past - min(past, params.seq_q));
    }
    return visible;
}

@compute @workgroup_size(64)
fn attention(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let chunk = index % params.chunks;
    let h = index / params.chunks % params.heads;
    let t = index / params.chunks / params.heads % params.seq_q;
    let b = index / params.chunks / params.heads / params.seq_q;
    if (b >= params.batch) { return; }
    let shared_head = h / (params.heads / params.kv_heads);
    let q_at = start(params.q, b, t, h);
    let k_at = start(params.k, b, 0u, shared_head);
    let v_at = start(params.v, b, 0u, shared_head);
    let d = chunk * 256u + lane; // this invocation's output elements: d, d + 64, d + 128, d + 192

    let visible = visible_keys(b, t);
    var greatest = -infinity();
    var total = 0.0;
    var sums = vec4<f32>();
    for (var first = 0u; first < visible; first += BLOCK) {
        let count = min(BLOCK, visible - first);
        var score = -infinity();
        if (lane < count) {
            let key = k_at + (first + lane) * params.k.row;
            var dot = 0.0;
            for (var i = 0u; i < params.head_dim; i++) {
                let a = f32_of(X, (q[word_of(X, q_at + i)] >> shift_of(X, q_at + i)) & mask_of(X));
                // The scale first: it may keep in range what would overflow.
                dot += params.scale * a * f32_of(X, (k[word_of(X, key + i)] >> shift_of(X, key + i)) & mask_of(X));
            }
            score = dot;
        }
        block[lane] = score;
        workgroupBarrier();
        let before = greatest;
        for (var j = 0u; j < count; j++) {
            if (block[j] > greatest) { greatest = block[j]; } // NaN is not greater; it comes back through its weight
        }
        workgroupBarrier();
        // Where every score so far is −∞ the weights are 0, not e^(−∞ + ∞).
        let shift = select(greatest, 0.0, greatest == -infinity());
        block[lane] = exp_of(score - shift);
        workgroupBarrier();
        let fade = exp_of(before - shift);
        total *= fade;
        sums *= fade;
        for (var j = 0u; j < count; j++) {
            let weight = block[j];
            let value = v_at + (first + j) * params.v.row + d;
            total += weight;
            for (var i = 0u; i < 4u; i++) {
                if (d + i * 64u < params.head_dim) {
                    let at = value + i * 64u;
                    sums[i] += weight * f32_of(X, (v[word_of(X, at)] >> shift_of(X, at)) & mask_of(X));
                }
            }
        }
        workgroupBarrier();
    }
    let to = start(params.out, b, t, h);
    for (var i = 0u; i < 4u; i++) {
        if (d + i * 64u < params.head_dim) {
            store(X, to + d + i * 64u, bits_of(X, select(sums[i] / total, 0.0, total == 0.0)));
        }
    }
    if (params.with_lse != 0u && chunk == 0u && lane == 0u) {
        lse[start(params.lse, b, t, h)] = select(greatest + ln_of(total), -infinity(), total == 0.0);
    }
}
