// dx[.., i] = y[.., i] · (dout[.., i] − Σⱼ dout[.., j]·y[.., j])

override X: u32;
override OUT: u32;

struct Params {
    lattices: array<Lattice, 1>, // rows: y, dout, dx in w
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<u32>;
@group(0) @binding(2) var<storage, read> dout: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>; // dx

var<private> y_row: u32;
var<private> dout_row: u32;
var<private> dot: f32;

fn y_at(i: u32) -> f32 { return unpack(X, y[word_of(X, y_row + i)], y_row + i); }
fn dout_at(i: u32) -> f32 { return unpack(X, dout[word_of(X, dout_row + i)], dout_row + i); }

fn element(i: u32) -> u32 { return bits_of(OUT, y_at(i) * (dout_at(i) - dot)); }

@compute @workgroup_size(LANES)
fn softmax_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    y_row = at.x;
    dout_row = at.y;
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) { sum += dout_at(i) * y_at(i); }
    dot = sum_of_lanes(lane, sum);
    write_row(at.w, params.width, lane);
}
