// (y_a, y_b) = (x_a·cos φ − x_b·sin φ, x_a·sin φ + x_b·cos φ),   φ = (position + t) · theta^(−2i/D): one workgroup per batch entry and
// t, one invocation per pair, which it rotates in every head.

override OUT: u32;
override INTERLEAVED: u32;
override BACKWARD: u32;

struct Params {
    lattices: array<Lattice, 1>, // [B, T]: x, out in w
    steps: u32, // T
    heads: u32,
    half: u32, // D / 2
    position: u32,
    x_head: u32,
    out_head: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [B, T, H, D]
@group(0) @binding(2) var<storage, read> frequencies: array<vec2<u32>>; // [D / 2], low and high word of 2⁻⁶⁴ turns
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>; // [B, T, H, D]

fn x_at(at: u32) -> f32 { return unpack(OUT, x[word_of(OUT, at)], at); }

@compute @workgroup_size(64)
fn rope(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group_index(group, groups);
    if (row >= params.lattices[0].count) { return; }
    let at = places(row);
    let place = params.position + row % params.steps;
    for (var i = lane; i < params.half; i += 64u) {
        // place · frequency less whole turns
        let frequency = frequencies[i];
        let low = wide_product(place, frequency.x);
        var turn = sin_cos_of_turn(low.x + place * frequency.y, low.y);
        if (BACKWARD != 0u) { turn.x = -turn.x; }
        let a = select(i, 2u * i, INTERLEAVED != 0u);
        let b = select(i + params.half, 2u * i + 1u, INTERLEAVED != 0u);
        for (var head = 0u; head < params.heads; head++) {
            let source = at.x + head * params.x_head;
            let to = at.w + head * params.out_head;
            let xa = x_at(source + a);
            let xb = x_at(source + b);
            store(OUT, to + a, bits_of(OUT, xa * turn.y - xb * turn.x));
            store(OUT, to + b, bits_of(OUT, xa * turn.x + xb * turn.y));
        }
    }
}
