// Where element i of up to four operands of one shape lies. The host has merged neighbouring dimensions that every operand walks
// without a gap, so that operands without any take no division. Of ops with more operands there are several lattices.

struct Lattice {
    dims: array<vec4<u32>, 2>, // innermost first
    strides: array<vec4<u32>, 8>, // of each dimension, one per operand
    first: vec4<u32>,
    rank: u32,
    count: u32,
    dense: u32, // whether the operand in w has no gaps
    unused: u32,
}

fn places_in(which: u32, i: u32) -> vec4<u32> {
    let first = params.lattices[which].first;
    let rank = params.lattices[which].rank;
    if (rank == 1u) { return first + i * params.lattices[which].strides[0]; }
    var at = first;
    var rest = i;
    for (var axis = 0u; axis + 1u < rank; axis++) {
        let dim = params.lattices[which].dims[axis >> 2u][axis & 3u];
        at += (rest % dim) * params.lattices[which].strides[axis];
        rest /= dim;
    }
    return at + rest * params.lattices[which].strides[rank - 1u];
}

fn places(i: u32) -> vec4<u32> { return places_in(0u, i); }
