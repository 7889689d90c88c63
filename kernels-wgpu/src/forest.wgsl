// out[m] = scale · Σ over t of leaves[leaf(t, x[m])], added in rising t: one workgroup per row, which walks down 64 trees at a time,
// an invocation each, and then adds their leaves, a class each.

const LANES = 64u;
const LEAF = 0xffffffffu;
const NONE = 0xffffffffu; // no leaf: an index was out of range

// Of operands: first element, and stride of rows.
struct Params {
    x: vec2<u32>,
    roots: vec2<u32>,
    nodes: vec2<u32>,
    leaves: vec2<u32>,
    out: vec2<u32>,
    rows: u32,
    features: u32,
    trees: u32,
    node_count: u32,
    leaf_count: u32,
    classes: u32,
    scale: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [M, F], bits
@group(0) @binding(2) var<storage, read> roots: array<u32>; // [T]
@group(0) @binding(3) var<storage, read> nodes: array<u32>; // [N, 3]: bits of the threshold, feature, to
@group(0) @binding(4) var<storage, read> leaves: array<f32>; // [L, C]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [M, C]
@group(0) @binding(6) var<storage, read_write> report: array<atomic<u32>>;

var<workgroup> ends: array<u32, LANES>; // rows of `leaves`

// a ≤ b of floats by their bits, since devices may flush subnormals; false where either is NaN.
fn at_most(a: u32, b: u32) -> bool {
    if ((a & 0x7fffffffu) > 0x7f800000u || (b & 0x7fffffffu) > 0x7f800000u) { return false; }
    return rank(a) <= rank(b);
}

// In the order of the numbers; both zeros have the same.
fn rank(bits: u32) -> i32 {
    let size = bitcast<i32>(bits & 0x7fffffffu);
    return select(size, -size, (bits >> 31u) == 1u);
}

// The leaf that a tree gives for a row.
fn walk(tree: u32, row: u32) -> u32 {
    var node = roots[params.roots.x + tree * params.roots.y];
    if (node >= params.node_count) {
        report_index(4u, tree, params.node_count, node);
        return NONE;
    }
    loop {
        let at = params.nodes.x + node * params.nodes.y;
        let feature = nodes[at + 1u];
        let to = nodes[at + 2u];
        if (feature == LEAF) {
            if (to < params.leaf_count) { return to; }
            report_index(5u, 3u * node + 2u, params.leaf_count, to);
            return NONE;
        }
        if (feature >= params.features) {
            report_index(5u, 3u * node + 1u, params.features, feature);
            return NONE;
        }
        // Both children are nodes.
        let limit = params.node_count - min(params.node_count, node + 2u);
        if (to >= limit) {
            report_index(5u, 3u * node + 2u, limit, to);
            return NONE;
        }
        let value = x[params.x.x + row * params.x.y + feature];
        node += 1u + to + select(1u, 0u, at_most(value, nodes[at]));
    }
    return NONE;
}

@compute @workgroup_size(LANES)
fn forest(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.rows) { return; }
    let to = params.out.x + row * params.out.y;
    for (var column = lane; column < params.classes; column += LANES) { out[to + column] = 0.0; }
    for (var first = 0u; first < params.trees; first += LANES) {
        workgroupBarrier();
        if (first + lane < params.trees) { ends[lane] = walk(first + lane, row); }
        workgroupBarrier();
        let count = min(LANES, params.trees - first);
        for (var column = lane; column < params.classes; column += LANES) {
            var sum = out[to + column];
            for (var tree = 0u; tree < count; tree++) {
                let end = ends[tree];
                if (end != NONE) { sum += leaves[params.leaves.x + end * params.leaves.y + column]; }
            }
            out[to + column] = sum;
        }
    }
    for (var column = lane; column < params.classes; column += LANES) { out[to + column] *= params.scale; }
}
