// Gradients of attention (FlashAttention-2, algorithm 2), recomputed tile by tile:
//   p[t, s] = e^(scale · ⟨q_t, k_s⟩ − lse_t),  ds[t, s] = p[t, s] · (⟨dout_t, v_s⟩ − δ_t)
// Two dispatches, so that every sum runs in rising order, in blocks of 64: over the keys for a tile of queries (dq), and over the
// queries for a tile of keys (dk, dv).

override X: u32;

@group(0) @binding(1) var<storage, read> q: array<u32>; // [B, Tq, H, D]
@group(0) @binding(2) var<storage, read> k: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(3) var<storage, read> v: array<u32>; // [B, Tk, KvH, D]
@group(0) @binding(4) var<storage, read> lengths: array<u32>; // [B]
@group(0) @binding(5) var<storage, read> dout: array<u32>; // [B, Tq, H, D]
@group(0) @binding(6) var<storage, read> stats: array<vec2<f32>>; // [B, KvH, rows]: lse, δ
@group(0) @binding(7) var<storage, read_write> out: array<atomic<u32>>; // dq [B, Tq, H, D], or dk [B, Tk, KvH, D]

const Q = 0u;
const K = 1u;
const V = 2u;
const DOUT = 3u;

fn load(which: u32, at: u32) -> f32 {
    let word = word_of(X, at);
    switch (which) {
        case Q: { return params.scale * f32_of(X, (q[word] >> shift_of(X, at)) & mask_of(X)); }
        case K: { return f32_of(X, (k[word] >> shift_of(X, at)) & mask_of(X)); }
        case V: { return f32_of(X, (v[word] >> shift_of(X, at)) & mask_of(X)); }
        default: { return f32_of(X, (dout[word] >> shift_of(X, at)) & mask_of(X)); }
    }
}

fn row_at(which: u32, i: u32) -> u32 {
    switch (which) {
        case Q: { return query_at(params.q, i); }
        case K: { return key_at(params.k, i); }
        case V: { return key_at(params.v, i); }
        default: { return query_at(params.dout, i); }
    }
}

// e^(score − lse), 0 of what is not seen.
fn weight(score: vec4<f32>, lse: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
    let x = score - lse;
    return select(vec4(0.0), vec4(exp_of(x.x), exp_of(x.y), exp_of(x.z), exp_of(x.w)), seen);
}

// Which workgroup of how many tiles this is: tile, batch entry and head of keys, and first column. False beyond the last.
struct Part {
    tile: u32,
    column: u32,
    exists: bool,
}

fn part_of(index: u32, tiles: u32) -> Part {
    kv_head = index / params.slices / tiles % params.kv_heads;
    batch = index / params.slices / tiles / params.kv_heads;
    return Part(index / params.slices % tiles, index % params.slices * SLICE, batch < params.batch);
}
