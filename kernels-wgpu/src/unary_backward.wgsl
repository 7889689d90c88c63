// dx[i] = f′(x[i]) · dout[i]

override X: u32;
override OUT: u32;
override FUNCTION: u32;

struct Params {
    lattices: array<Lattice, 1>, // x, dout, dx in w
    scale: f32,
    shift: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> dout: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<atomic<u32>>; // dx

// σ(t)·(1 + t′·x·(1 − σ(t))) of x·σ(t), where t grows with `slope` = t′ at x.
fn gated_slope(x: f32, t: f32, slope: f32) -> f32 {
    let gate = sigmoid_of(t);
    // Beyond ±88 one of the factors is 0, whatever x·slope has grown to; 0·∞ of an infinite x stays NaN.
    var bend = x * 0.0;
    if (!(abs(t) > 88.0)) { bend = slope * x * sigmoid_of(-t); }
    return gate * bend + gate;
}

fn gradient_of(x: f32, d: f32) -> f32 {
    switch (FUNCTION) {
        case NEG: { return -d; }
        case ABSOLUTE: {
            if (is_nan(x)) { return x; }
            if (x == 0.0) { return 0.0 * d; }
            return select(d, -d, x < 0.0);
        }
        case SQUARE: { return (x + x) * d; }
        case SQRT: { return quotient(0.5, root(x)) * d; }
        case RSQRT: { return quotient(-0.5 * inverse_root(x), x) * d; }
        case RECIP: {
            let y = quotient(1.0, x);
            return -(y * y) * d;
        }
        case EXP: { return exp_of(x) * d; }
        case LOG: { return quotient(d, x); }
        // 1 − tanh² = 4·σ(2x)·σ(−2x), without cancellation
        case TANH: { return 4.0 * sigmoid_of(x + x) * sigmoid_of(-(x + x)) * d; }
        case SIGMOID: { return sigmoid_of(x) * sigmoid_of(-x) * d; }
        case RECTIFIED: { return select(0.0, 1.0, x > 0.0) * d; }
        case GELU_TANH: {
            // x·σ(t) with t = √(8/π)·(x + 0.044715·x³)
            let y = x * x;
            return gated_slope(x, x * (y * 0.07135481 + 1.5957691), y * 0.21406443 + 1.5957691) * d;
        }
        case GELU_NORMAL: {
            // Φ(x) + x·φ(x)
            return (normal_below(x) + x * (exp_of(-0.5 * x * x) * 0.3989423)) * d;
        }
        case SILU_GATED: { return gated_slope(x, x, 1.0) * d; }
        default: { return params.scale * d; }
    }
}

fn element(i: u32) -> u32 {
    let at = places(i);
    let d = unpack(X, dout[word_of(X, at.y)], at.y);
    return bits_of(OUT, gradient_of(unpack(X, x[word_of(X, at.x)], at.x), d));
}

@compute @workgroup_size(64)
fn unary_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    each_element(group_index(group, groups), lane);
}
