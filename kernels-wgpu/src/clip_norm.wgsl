// norm = √(Σ sums), and the factor min(1, max_norm / norm) that clips; 1 where the norm is not finite.

struct Params {
    blocks: u32,
    norm: u32, // where it goes
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>; // the factor, then [blocks]
@group(0) @binding(2) var<storage, read_write> norms: array<u32>;

@compute @workgroup_size(LANES)
fn clip_norm(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.blocks; i += LANES) { sum += sums[1u + i]; }
    let norm = root(sum_of_lanes(lane, sum));
    if (lane == 0u) {
        norms[params.norm] = bits_of(F32, norm);
        sums[0] = 1.0;
        if (norm > params.max_norm && norm < infinity()) { sums[0] = quotient(params.max_norm, norm); }
    }
}
