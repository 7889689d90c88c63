// out[i] = the element of these bits.

override DTYPE: u32;

struct Params {
    out: Walk,
    out_first: u32,
    count: u32,
    bits: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<atomic<u32>>;

@compute @workgroup_size(64)
fn fill(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.count) { return; }
    store(DTYPE, params.out_first + place(params.out, i), params.bits);
}
