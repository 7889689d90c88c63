// lse[m] = log Σᵥ exp(scale·logits[m, v]),   loss[m] = Σᵥ weights[m, v] · (lse[m] − scale·logits[m, v]): one workgroup per row.

override X: u32;
override CLASSES: u32; // whether the target is a class per row, or a distribution

struct Params {
    lattices: array<Lattice, 1>, // rows: logits, target, loss, lse in w
    width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>; // [M, V]
@group(0) @binding(2) var<storage, read> wanted: array<u32>; // [M] or [M, V]
@group(0) @binding(3) var<storage, read_write> losses: array<u32>; // [M]
@group(0) @binding(4) var<storage, read_write> lses: array<u32>; // [M]
@group(0) @binding(5) var<storage, read_write> report: array<atomic<u32>>;

const LEFT_OUT = 0xffffffffu;

var<private> logits_row: u32;

// scale·logits[m, i]
fn score(i: u32) -> f32 { return params.scale * unpack(X, logits[word_of(X, logits_row + i)], logits_row + i); }

@compute @workgroup_size(LANES)
fn cross_entropy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    logits_row = at.x;
    var right = LEFT_OUT;
    if (CLASSES != 0u) {
        right = wanted[at.y];
        if (right >= params.width && right != LEFT_OUT) {
            if (lane == 0u) { report_index(2u, row, params.width, right); }
            return;
        }
    }
    var top = -infinity();
    for (var i = lane; i < params.width; i += LANES) { top = larger(top, score(i)); }
    top = largest_of_lanes(lane, top);
    // Where all are −∞ their differences are not to be NaN.
    let shift = select(top, 0.0, top == -infinity());
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) { sum += exp_of(score(i) - shift); }
    sum = sum_of_lanes(lane, sum);
    // Nothing but −∞: the logarithm of 0 is kept out of the sum −∞ + …
    var rest = ln_of(sum);
    if (sum == 0.0) { rest = 0.0; }
    var loss = 0.0;
    if (CLASSES == 0u) {
        for (var i = lane; i < params.width; i += LANES) {
            loss += bitcast<f32>(wanted[at.y + i]) * ((top - score(i)) + rest);
        }
        loss = sum_of_lanes(lane, loss);
    } else if (right != LEFT_OUT) {
        loss = (top - score(right)) + rest;
    }
    if (lane == 0u) {
        losses[at.z] = bits_of(F32, loss);
        lses[at.w] = bits_of(F32, top + rest);
    }
}
