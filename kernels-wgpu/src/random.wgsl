// Element i is made of word i mod 4 of Philox-4×32-10 with counter i / 4: four elements per invocation.

override OUT: u32;
override NORMAL: u32;

struct Params {
    lattices: array<Lattice, 1>, // out in w
    seed: vec2<u32>, // low, high
    stream: vec2<u32>,
    term: f32,
    factor: f32,
    nothing: u32, // 0, which the compiler does not know
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<atomic<u32>>;

const UNIT = 5.9604645e-8; // 2⁻²⁴

fn philox(counter: u32) -> vec4<u32> {
    var c = vec4(counter, 0u, params.stream);
    var key = params.seed;
    for (var round = 0u; round < 10u; round++) {
        let a = wide_product(c.x, 0xd2511f53u);
        let b = wide_product(c.z, 0xcd9e8d57u);
        c = vec4(b.x ^ c.y ^ key.x, b.y, a.x ^ c.w ^ key.y, a.y);
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// z₀, z₁ by Box and Muller: r·cos φ, r·sin φ with r = √(−2·ln(((w₀ >> 8) + 1)·2⁻²⁴)), φ = 2π·(w₁ >> 8)·2⁻²⁴
fn normal_pair(w0: u32, w1: u32) -> vec2<f32> {
    let r = root(-2.0 * ln_of(f32((w0 >> 8u) + 1u) * UNIT));
    return r * sin_cos_of_turn(w1 & 0xffffff00u, 0u).yx;
}

// term + z·factor with the product rounded: the compiler cannot fuse what it cannot see through.
fn moved(z: f32) -> f32 { return params.term + bitcast<f32>(bitcast<u32>(z * params.factor) ^ params.nothing); }

@compute @workgroup_size(64)
fn random(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let counter = group_index(group, groups) * 64u + lane;
    let i = counter * 4u;
    let count = params.lattices[0].count;
    if (i >= count) { return; }
    let words = philox(counter);
    var z = vec4<f32>(words >> vec4(8u)) * UNIT;
    if (NORMAL != 0u) { z = vec4(normal_pair(words.x, words.y), normal_pair(words.z, words.w)); }
    let first = params.lattices[0].first.w + i;
    let whole = params.lattices[0].dense != 0u && i + 4u <= count;
    if (size_log2(OUT) == 1u && whole && (first & 1u) == 0u) {
        atomicStore(&out[first >> 1u], bits_of(OUT, moved(z.x)) | (bits_of(OUT, moved(z.y)) << 16u));
        atomicStore(&out[(first >> 1u) + 1u], bits_of(OUT, moved(z.z)) | (bits_of(OUT, moved(z.w)) << 16u));
        return;
    }
    for (var k = 0u; k < 4u; k++) {
        if (i + k < count) { store(OUT, places(i + k).w, bits_of(OUT, moved(z[k]))); }
    }
}
