// out = x · rstd · weight,   rstd = 1 / √(Σx² / D + eps)

override X: u32;
override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // rows: x, rstd, out in w
    width: u32,
    eps: f32,
    weight_first: u32,
    weight_step: u32,
    with_rstd: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>; // [D]
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> rstds: array<u32>;

var<private> x_row: u32;
var<private> rstd: f32;

fn x_at(i: u32) -> f32 { return unpack(X, x[word_of(X, x_row + i)], x_row + i); }

fn element(i: u32) -> u32 {
    let w = params.weight_first + i * params.weight_step;
    return bits_of(OUT, x_at(i) * rstd * unpack(X, weight[word_of(X, w)], w));
}

@compute @workgroup_size(LANES)
fn rms_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    x_row = at.x;
    var squares = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        let v = x_at(i);
        squares += v * v;
    }
    rstd = inverse_root(quotient(sum_of_lanes(lane, squares), f32(params.width)) + params.eps);
    write_row(at.w, params.width, lane);
    if (lane == 0u && params.with_rstd != 0u) { rstds[at.y] = bits_of(F32, rstd); }
}
