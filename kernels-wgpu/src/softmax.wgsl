// out[.., i] = exp(x[.., i] − max) / Σⱼ exp(x[.., j] − max)

override X: u32;
override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // rows: x, out in w
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;

var<private> x_row: u32;
var<private> shift: f32;
var<private> factor: f32;

fn x_at(i: u32) -> f32 { return unpack(X, x[word_of(X, x_row + i)], x_row + i); }

fn element(i: u32) -> u32 { return bits_of(OUT, exp_of(x_at(i) - shift) * factor); }

@compute @workgroup_size(LANES)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    x_row = at.x;
    var top = -infinity();
    for (var i = lane; i < params.width; i += LANES) { top = larger(top, x_at(i)); }
    top = largest_of_lanes(lane, top);
    // Where all are −∞ their differences are not to be NaN.
    shift = select(top, 0.0, top == -infinity());
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) { sum += exp_of(x_at(i) - shift); }
    sum = sum_of_lanes(lane, sum);
    factor = select(ratio(1.0, sum), 0.0, sum == 0.0);
    write_row(at.w, params.width, lane);
}
