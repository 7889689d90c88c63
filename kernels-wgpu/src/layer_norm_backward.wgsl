// dx = rstd·(g − Σg/D − x̂·Σ(g·x̂)/D) with x̂ = (x − mean)·rstd and g = dout·weight; of root-mean-square normalization without the
// terms of the mean.

override X: u32;
override OUT: u32;
override CENTERED: u32; // whether there is a mean

struct Params {
    lattices: array<Lattice, 2>, // rows: x, dout, dx in w; mean, rstd
    width: u32,
    weight_first: u32,
    weight_step: u32,
    part: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>; // [D]
@group(0) @binding(3) var<storage, read> means: array<u32>;
@group(0) @binding(4) var<storage, read> rstds: array<u32>;
@group(0) @binding(5) var<storage, read> dout: array<u32>;
@group(0) @binding(6) var<storage, read_write> out: array<atomic<u32>>; // dx

var<private> x_row: u32;
var<private> dout_row: u32;
var<private> mean: f32;
var<private> rstd: f32;
var<private> mean_g: f32;
var<private> mean_gx: f32;

// (x̂, g) of element i.
fn terms(i: u32) -> vec2<f32> {
    let w = params.weight_first + i * params.weight_step;
    let hat = (unpack(X, x[word_of(X, x_row + i)], x_row + i) - mean) * rstd;
    let d = unpack(X, dout[word_of(X, dout_row + i)], dout_row + i);
    return vec2(hat, d * unpack(X, weight[word_of(X, w)], w));
}

fn element(i: u32) -> u32 {
    let t = terms(i);
    return bits_of(OUT, rstd * ((t.y - mean_g) - t.x * mean_gx));
}

@compute @workgroup_size(LANES)
fn layer_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    let stats = places_in(1u, row);
    x_row = at.x;
    dout_row = at.y;
    mean = 0.0;
    if (CENTERED != 0u) { mean = bitcast<f32>(means[stats.x]); }
    rstd = bitcast<f32>(rstds[stats.y]);
    var sum = 0.0;
    var dot = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        let t = terms(i);
        sum += t.y;
        dot += t.x * t.y;
    }
    mean_g = 0.0;
    if (CENTERED != 0u) { mean_g = quotient(sum_of_lanes(lane, sum), f32(params.width)); }
    mean_gx = quotient(sum_of_lanes(lane, dot), f32(params.width));
    write_row(at.w, params.width, lane);
}
