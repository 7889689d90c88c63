// dlogits[m, v] = dloss[m] · scale · (exp(scale·logits[m, v] − lse[m]) · Σᵤ weights[m, u] − weights[m, v]): one workgroup per row.

override X: u32;
override OUT: u32;
override CLASSES: u32; // whether the target is a class per row, or a distribution

struct Params {
    lattices: array<Lattice, 2>, // rows: logits, target, dlogits in w; lse, dloss
    width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>; // [M, V]
@group(0) @binding(2) var<storage, read> wanted: array<u32>; // [M] or [M, V]
@group(0) @binding(3) var<storage, read> lses: array<u32>; // [M]
@group(0) @binding(4) var<storage, read> dlosses: array<u32>; // [M]
@group(0) @binding(5) var<storage, read_write> out: array<atomic<u32>>; // dlogits: [M, V]
@group(0) @binding(6) var<storage, read_write> report: array<atomic<u32>>;

const LEFT_OUT = 0xffffffffu;

var<private> logits_row: u32;
var<private> weights_row: u32;
var<private> right: u32;
var<private> total: f32; // Σᵤ weights[m, u]
var<private> lse: f32;
var<private> factor: f32;

fn element(i: u32) -> u32 {
    if (CLASSES != 0u && right == LEFT_OUT) { return 0u; }
    let x = unpack(X, logits[word_of(X, logits_row + i)], logits_row + i);
    let p = exp_of(params.scale * x - lse);
    if (CLASSES != 0u) { return bits_of(OUT, factor * (p - select(0.0, 1.0, i == right))); }
    return bits_of(OUT, factor * (p * total - bitcast<f32>(wanted[weights_row + i])));
}

@compute @workgroup_size(LANES)
fn cross_entropy_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    let stats = places_in(1u, row);
    logits_row = at.x;
    lse = bitcast<f32>(lses[stats.x]);
    factor = bitcast<f32>(dlosses[stats.y]) * params.scale;
    if (CLASSES != 0u) {
        right = wanted[at.y];
        if (right >= params.width && right != LEFT_OUT) {
            if (lane == 0u) { report_index(3u, row, params.width, right); }
            return;
        }
    } else {
        weights_row = at.y;
        var sum = 0.0;
        for (var i = lane; i < params.width; i += LANES) { sum += bitcast<f32>(wanted[weights_row + i]); }
        total = sum_of_lanes(lane, sum);
    }
    write_row(at.w, params.width, lane);
}
