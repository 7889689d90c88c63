// out[i] = x[i] in another dtype.

override X: u32;
override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // x, out in w
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;

fn element(i: u32) -> u32 {
    let at = places(i).x;
    return bits_of(OUT, unpack(X, x[word_of(X, at)], at));
}

@compute @workgroup_size(64)
fn cast_elements(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_element(group_index(group, groups), lane);
}
