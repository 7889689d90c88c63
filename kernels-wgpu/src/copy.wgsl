// out[i] = x[i], bit for bit.

override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // x, out in w
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;

fn element(i: u32) -> u32 {
    let at = places(i).x;
    return (x[word_of(OUT, at)] >> shift_of(OUT, at)) & mask_of(OUT);
}

@compute @workgroup_size(64)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_element(group_index(group, groups), lane);
}
