// Which row of x goes first to each row of `out`, as the number of rows from it on; 0 for none. In two dispatches: all are cleared,
// then all are found.

override FIND: u32; // 0 to clear

struct Params {
    lattices: array<Lattice, 1>, // rows of x: index, x
    width: u32,
    limit: u32, // rows of out
    out_first: u32,
    out_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>; // [M]
@group(0) @binding(2) var<storage, read_write> begins: array<atomic<u32>>; // [V]

@compute @workgroup_size(64)
fn scatter_add_first(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = group_index(group, groups) * 64u + lane;
    if (FIND == 0u) {
        if (at < params.limit) { atomicStore(&begins[at], 0u); }
        return;
    }
    let count = params.lattices[0].count;
    if (at >= count) { return; }
    let chosen = index[places(at).x];
    if (chosen < params.limit) { atomicMax(&begins[chosen], count - at); }
}
