// out[i] *= the factor that clips, if it does.

override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // out in w
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<atomic<u32>>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;

fn element(i: u32) -> u32 { return bits_of(OUT, f32_of(OUT, stored(OUT, places(i).w)) * factor[0]); }

@compute @workgroup_size(64)
fn clip_norm_scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if (factor[0] == 1.0) { return; }
    each_element(group_index(group, groups), lane);
}
