// out[i] = f(a[i], b[i])

override X: u32; // dtype of a and b
override OUT: u32;
override FUNCTION: u32;

struct Params {
    lattices: array<Lattice, 1>, // a, b, out in w
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>;

fn function_of(a: f32, b: f32) -> f32 {
    switch (FUNCTION) {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return quotient(a, b); }
        case 4u: {
            if (is_nan(a)) { return a; }
            return select(a, b, b > a || is_nan(b));
        }
        default: {
            if (is_nan(a)) { return a; }
            return select(a, b, b < a || is_nan(b));
        }
    }
}

fn element(i: u32) -> u32 {
    let at = places(i);
    return bits_of(OUT, function_of(unpack(X, a[word_of(X, at.x)], at.x), unpack(X, b[word_of(X, at.y)], at.y)));
}

@compute @workgroup_size(64)
fn binary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_element(group_index(group, groups), lane);
}
