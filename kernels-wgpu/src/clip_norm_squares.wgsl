// sums[to + block] = Σ x² over a block of 4096 elements: one workgroup per block.

override X: u32;

struct Params {
    lattices: array<Lattice, 1>, // x in w
    to: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(LANES)
fn clip_norm_squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group_index(group, groups);
    let count = params.lattices[0].count;
    if (block * 4096u >= count) { return; }
    let end = min(count, (block + 1u) * 4096u);
    var sum = 0.0;
    for (var i = block * 4096u + lane; i < end; i += LANES) {
        let at = places(i).w;
        let v = unpack(X, x[word_of(X, at)], at);
        sum += v * v;
    }
    sum = sum_of_lanes(lane, sum);
    if (lane == 0u) { sums[params.to + block] = sum; }
}
