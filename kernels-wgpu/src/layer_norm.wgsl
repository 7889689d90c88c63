// out = (x − mean) · rstd · weight + bias,   mean = Σx / D,   rstd = 1 / √(Σ(x − mean)² / D + eps)

override X: u32;
override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // rows: x, mean, rstd, out in w
    width: u32,
    eps: f32,
    weight_first: u32,
    weight_step: u32,
    bias_first: u32,
    bias_step: u32,
    with_bias: u32,
    with_mean: u32,
    with_rstd: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>; // [D]
@group(0) @binding(3) var<storage, read> bias: array<u32>; // [D]
@group(0) @binding(4) var<storage, read_write> out: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> means: array<u32>;
@group(0) @binding(6) var<storage, read_write> rstds: array<u32>;

var<private> x_row: u32;
var<private> mean: f32;
var<private> rstd: f32;

fn x_at(i: u32) -> f32 { return unpack(X, x[word_of(X, x_row + i)], x_row + i); }

fn element(i: u32) -> u32 {
    let w = params.weight_first + i * params.weight_step;
    var value = (x_at(i) - mean) * rstd * unpack(X, weight[word_of(X, w)], w);
    if (params.with_bias != 0u) {
        let b = params.bias_first + i * params.bias_step;
        value += unpack(X, bias[word_of(X, b)], b);
    }
    return bits_of(OUT, value);
}

@compute @workgroup_size(LANES)
fn layer_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    let width = f32(params.width);
    x_row = at.x;
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) { sum += x_at(i); }
    mean = quotient(sum_of_lanes(lane, sum), width);
    var squares = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        let d = x_at(i) - mean;
        squares += d * d;
    }
    rstd = inverse_root(quotient(sum_of_lanes(lane, squares), width) + params.eps);
    write_row(at.w, params.width, lane);
    if (lane == 0u) {
        if (params.with_mean != 0u) { means[at.y] = bits_of(F32, mean); }
        if (params.with_rstd != 0u) { rstds[at.z] = bits_of(F32, rstd); }
    }
}
