// out[i] = f(x[i])

override X: u32;
override OUT: u32;
override FUNCTION: u32;

struct Params {
    lattices: array<Lattice, 1>, // x, out in w
    scale: f32,
    shift: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<atomic<u32>>;

fn function_of(x: f32) -> f32 {
    switch (FUNCTION) {
        case NEG: { return bitcast<f32>(bitcast<u32>(x) ^ SIGN); }
        case ABSOLUTE: { return bitcast<f32>(bitcast<u32>(x) & ABS); }
        case SQUARE: { return x * x; }
        case SQRT: { return root(x); }
        case RSQRT: { return inverse_root(x); }
        case RECIP: { return quotient(1.0, x); }
        case EXP: { return exp_of(x); }
        case LOG: { return log_of(x); }
        case TANH: { return tanh_of(x); }
        case SIGMOID: { return sigmoid_of(x); }
        case RECTIFIED: { return activate(RELU, x); }
        case GELU_TANH: { return activate(GELU, x); }
        case GELU_NORMAL: { return activate(GELU_ERF, x); }
        case SILU_GATED: { return silu_of(x); }
        default: { return params.scale * x + params.shift; }
    }
}

fn element(i: u32) -> u32 {
    let at = places(i).x;
    return bits_of(OUT, function_of(unpack(X, x[word_of(X, at)], at)));
}

@compute @workgroup_size(64)
fn unary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_element(group_index(group, groups), lane);
}
