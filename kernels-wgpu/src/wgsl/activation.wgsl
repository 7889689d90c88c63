// Activations of linear layers, by their code.

const RELU = 1u;
const GELU = 2u;
const GELU_ERF = 3u;
const SILU = 4u;

// x / (1 + e⁻ʸ)
fn gated(x: f32, y: f32) -> f32 {
    let z = exp_of(-abs(y));
    return x * (select(1.0, z, y < 0.0) / (1.0 + z));
}

// 0.5·x·(1 + erf(x/√2))
fn gelu_erf(x: f32) -> f32 {
    if (x > 10.0) { return x; } // infinity too
    return x * normal_below(x);
}

fn activate(code: u32, x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    switch (code) {
        case RELU: { return select(0.0, x, x > 0.0); }
        // 0.5·(1 + tanh y) = 1 / (1 + e⁻²ʸ) with y = √(2/π)·(x + 0.044715·x³)
        case GELU: { return gated(x, x * (x * x * 0.07135481 + 1.5957691)); }
        case GELU_ERF: { return gelu_erf(x); }
        case SILU: { return gated(x, x); }
        default: { return x; }
    }
}
