// out[..] = reduction of x[.., i, ..] over i: 16 outputs per workgroup. Each has 16 invocations, which take every 16th term.

override X: u32;
override OUT: u32;
override FUNCTION: u32;

struct Params {
    lattices: array<Lattice, 1>, // outputs: the first term of each in x, out in w
    n: u32,
    step: u32, // from one term to the next
    part: u32, // terms of a workgroup
    parts: u32,
    divisor: u32, // terms of the whole line
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;

const SUM = 0u;
const MEAN = 1u;
const MAX = 2u;

var<workgroup> of_invocations: array<f32, 256>;

fn both(a: f32, b: f32) -> f32 {
    if (FUNCTION != MAX) { return a + b; }
    if (is_nan(a)) { return a; }
    return select(a, b, b > a || is_nan(b));
}

@compute @workgroup_size(256)
fn reduce(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let count = params.lattices[0].count;
    let blocks = (count + 15u) / 16u;
    let index = group_index(group, groups);
    let part = index / blocks;
    if (part >= params.parts) { return; }
    // Neighbouring invocations read neighbours in memory: terms of one line, or terms of neighbouring lines.
    let along = params.step == 1u;
    let output = index % blocks * 16u + select(lane & 15u, lane >> 4u, along);
    let begin = select(lane >> 4u, lane & 15u, along);
    var all = select(0.0, -infinity(), FUNCTION == MAX);
    var at = vec4<u32>();
    if (output < count) {
        at = places(output);
        let end = min(params.n, (part + 1u) * params.part);
        for (var i = part * params.part + begin; i < end; i += 16u) {
            let term = at.x + i * params.step;
            all = both(all, unpack(X, x[word_of(X, term)], term));
        }
    }
    of_invocations[lane] = all;
    workgroupBarrier();
    if (begin == 0u && output < count) {
        let stride = select(16u, 1u, along);
        for (var k = 1u; k < 16u; k++) { all = both(all, of_invocations[lane + k * stride]); }
        if (FUNCTION == MEAN) { all = quotient(all, f32(params.divisor)); }
        store(OUT, at.w + part * count, bits_of(OUT, all));
    }
}
