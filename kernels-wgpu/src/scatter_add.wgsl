// out[v] += Σ over m with index[m] = v of x[m], in the order of m: one workgroup per row of x and 256 columns. That of the first row
// that goes to a row of `out` adds up all of them; the others have nothing to do.

override X: u32;
override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // rows of x: index, x
    width: u32,
    limit: u32, // rows of out
    out_first: u32,
    out_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>; // [M]
@group(0) @binding(2) var<storage, read> x: array<u32>; // [M, D]
@group(0) @binding(3) var<storage, read> begins: array<u32>; // [V], of `scatter_add_first.wgsl`
@group(0) @binding(4) var<storage, read_write> out: array<atomic<u32>>; // [V, D]
@group(0) @binding(5) var<storage, read_write> report: array<atomic<u32>>;

const COLUMNS = 4u; // of an invocation, 64 apart

var<workgroup> going: array<atomic<u32>, 8>;

fn index_at(row: u32) -> u32 { return index[places(row).x]; }

@compute @workgroup_size(64)
fn scatter_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (params.width + 255u) / 256u;
    let number = group_index(group, groups);
    let row = number / blocks;
    let count = params.lattices[0].count;
    if (row >= count) { return; }
    let chosen = index_at(row);
    if (chosen >= params.limit) {
        if (lane == 0u && number % blocks == 0u) { report_index(1u, row, params.limit, chosen); }
        return;
    }
    if (begins[chosen] != count - row) { return; }

    let first = number % blocks * 256u + lane;
    let to = params.out_first + chosen * params.out_row;
    var sums: array<f32, COLUMNS>;
    for (var k = 0u; k < COLUMNS; k++) {
        let column = first + k * 64u;
        if (column < params.width) { sums[k] = f32_of(OUT, stored(OUT, to + column)); }
    }
    for (var begin = row; begin < count; begin += 256u) {
        // A bit for each of the next 256 rows that goes there.
        if (lane < 8u) { atomicStore(&going[lane], 0u); }
        workgroupBarrier();
        for (var m = lane; m < 256u && begin + m < count; m += 64u) {
            if (index_at(begin + m) == chosen) { atomicOr(&going[m >> 5u], 1u << (m & 31u)); }
        }
        workgroupBarrier();
        for (var word = 0u; word < 8u; word++) {
            for (var bits = atomicLoad(&going[word]); bits != 0u; bits &= bits - 1u) {
                let at = places(begin + word * 32u + firstTrailingBit(bits)).y;
                for (var k = 0u; k < COLUMNS; k++) {
                    let column = first + k * 64u;
                    if (column < params.width) { sums[k] += unpack(X, x[word_of(X, at + column)], at + column); }
                }
            }
        }
        workgroupBarrier();
    }
    for (var k = 0u; k < COLUMNS; k++) {
        let column = first + k * 64u;
        if (column < params.width) { store(OUT, to + column, bits_of(OUT, sums[k])); }
    }
}
