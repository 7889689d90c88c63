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
    let t = x * 0.70710678;
    let a = min(abs(t), 10.2); // from here on erfc is 0 in f32
    if (a < 1.0) {
        // erf(t) / t as a polynomial of t² on |t| ≤ 1, to 2⁻³⁴
        let y = t * t;
        var q = -9.641518e-6;
        q = q * y + 0.00011256949;
        q = q * y - 0.0008482829;
        q = q * y + 0.0052209455;
        q = q * y - 0.0268654;
        q = q * y + 0.11283782;
        q = q * y - 0.37612638;
        q = q * y + 1.1283792;
        return 0.5 * x * (t * q) + 0.5 * x;
    }
    // erfc(a)·exp(a²) with a = 2/u − 2 on [0.99, 10.2], to 2⁻³⁰
    let u = 1.0 / (0.5 * a + 1.0);
    var q = -0.062884666;
    q = q * u + 0.3095748;
    q = q * u - 0.5457702;
    q = q * u + 0.34852394;
    q = q * u - 0.076096855;
    q = q * u + 0.22397712;
    q = q * u + 0.23746085;
    q = q * u + 0.2832647;
    q = q * u + 0.28201082;
    q = q * u + 2.6370756e-6;
    let tail = 0.5 * x * (exp_of(-(a * a)) * q);
    if (x < 0.0) { return tail; }
    return x - tail;
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
