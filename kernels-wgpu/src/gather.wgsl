// out[m] = table[index[m]], bit for bit: one workgroup per row.

override OUT: u32;
override LANES: u32;

struct Params {
    lattices: array<Lattice, 1>, // rows: index, out in w
    width: u32,
    limit: u32, // rows of the table
    table_first: u32,
    table_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>; // [V, D]
@group(0) @binding(2) var<storage, read> index: array<u32>; // [M]
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>; // [M, D]
@group(0) @binding(4) var<storage, read_write> report: array<atomic<u32>>;

var<private> source: u32;

fn element(i: u32) -> u32 { return (table[word_of(OUT, source + i)] >> shift_of(OUT, source + i)) & mask_of(OUT); }

@compute @workgroup_size(LANES)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    let chosen = index[at.x];
    if (chosen >= params.limit) {
        if (lane == 0u) { report_index(0u, row, params.limit, chosen); }
        return;
    }
    source = params.table_first + chosen * params.table_row;
    write_row(at.w, params.width, lane);
}
