// sums[part, 0, i] = Σ dout·x̂ and sums[part, 1, i] = Σ dout over the rows of a part, in their order: one invocation per column.

override X: u32;
override CENTERED: u32; // whether there is a mean

struct Params {
    lattices: array<Lattice, 2>, // rows: x, dout; mean, rstd
    width: u32,
    weight_first: u32,
    weight_step: u32,
    part: u32, // rows of a part
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> means: array<u32>;
@group(0) @binding(3) var<storage, read> rstds: array<u32>;
@group(0) @binding(4) var<storage, read> dout: array<u32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // [parts, 2, D]

@compute @workgroup_size(64)
fn norm_columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (params.width + 63u) / 64u;
    let index = group_index(group, groups);
    let part = index / blocks;
    let column = index % blocks * 64u + lane;
    if (part >= params.parts || column >= params.width) { return; }
    let end = min(params.lattices[0].count, (part + 1u) * params.part);
    var sums_here = vec2<f32>();
    for (var row = part * params.part; row < end; row++) {
        let at = places(row).xy + column;
        let stats = places_in(1u, row);
        var v = unpack(X, x[word_of(X, at.x)], at.x);
        if (CENTERED != 0u) { v -= bitcast<f32>(means[stats.x]); }
        let d = unpack(X, dout[word_of(X, at.y)], at.y);
        sums_here += vec2(d * (v * bitcast<f32>(rstds[stats.y])), d);
    }
    sums[part * 2u * params.width + column] = sums_here.x;
    sums[part * 2u * params.width + params.width + column] = sums_here.y;
}
