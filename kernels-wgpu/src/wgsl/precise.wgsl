// Quotients, roots and functions within the ULP that the ops of one element promise, for every f32, on every device: WGSL's own are
// looser, and undefined beyond 2^±126.

var<private> nan_bits: u32 = 0x7fc00000u;

fn not_a_number() -> f32 { return bitcast<f32>(nan_bits); }

const ABS = 0x7fffffffu;
const SIGN = 0x80000000u;
const INFINITE = 0x7f800000u;

// |x| = m · 2^e with 1 ≤ m < 2, for finite x other than 0, by its bits: a device may read a subnormal number as 0.
struct Parts { m: f32, e: i32 }

fn parts_of(x: f32) -> Parts {
    var bits = bitcast<u32>(x) & ABS;
    var e = i32(bits >> 23u) - 127;
    if (bits < 0x800000u) {
        let top = firstLeadingBit(bits);
        bits <<= 23u - top;
        e = i32(top) - 149;
    }
    return Parts(bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u), e);
}

// a / b where a, b and the quotient are within 2^±100, or a is 0. A step of Newton's method makes the device's 2.5 ULP at most 1.5,
// whether its multiply-add is fused or not.
fn ratio(a: f32, b: f32) -> f32 {
    let q = a / b;
    return q + fma(-q, b, a) / b;
}

// a / b of all numbers.
fn quotient(a: f32, b: f32) -> f32 {
    let sign = (bitcast<u32>(a) ^ bitcast<u32>(b)) & SIGN;
    let above = bitcast<u32>(a) & ABS;
    let below = bitcast<u32>(b) & ABS;
    if (above > INFINITE || below > INFINITE) { return not_a_number(); }
    if (above == below && (above == 0u || above == INFINITE)) { return not_a_number(); }
    if (above == INFINITE || below == 0u) { return bitcast<f32>(sign | INFINITE); }
    if (above == 0u || below == INFINITE) { return bitcast<f32>(sign); }
    let p = parts_of(a);
    let q = parts_of(b);
    let size = scaled(ratio(p.m, q.m), clamp(p.e - q.e, -252, 252));
    return bitcast<f32>(sign | bitcast<u32>(size));
}

// √x of all numbers.
fn root(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if ((bits & ABS) == 0u || bits == INFINITE) { return x; }
    if (bits > INFINITE) { return not_a_number(); }
    let p = parts_of(x);
    let odd = p.e & 1;
    let m = select(p.m, 2.0 * p.m, odd == 1); // from 1 to 4
    let s = sqrt(m);
    return (s + fma(-s, s, m) / (s + s)) * bitcast<f32>(u32((p.e - odd) / 2 + 127) << 23u);
}

// 1/√x of all numbers.
fn inverse_root(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if ((bits & ABS) == 0u) { return bitcast<f32>(bits | INFINITE); }
    if (bits > INFINITE) { return not_a_number(); }
    if (bits == INFINITE) { return 0.0; }
    let p = parts_of(x);
    let odd = p.e & 1;
    let m = select(p.m, 2.0 * p.m, odd == 1); // from 1 to 4
    let y = inverseSqrt(m);
    return (y + 0.5 * y * (1.0 - m * y * y)) * bitcast<f32>(u32((odd - p.e) / 2 + 127) << 23u);
}

// ln x of all numbers.
fn log_of(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if ((bits & ABS) == 0u) { return -infinity(); }
    if (bits > INFINITE) { return not_a_number(); }
    if (bits == INFINITE) { return x; }
    if (bits >= 0x800000u) { return ln_of(x); }
    let p = parts_of(x);
    return f32(p.e) * LN_2_HIGH + (f32(p.e) * LN_2_LOW + ln_of(p.m));
}

fn tanh_of(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    let a = abs(x);
    if (a < 0.625) {
        // (tanh(x)/x − 1)/x² on |x| ≤ 0.625, to 2⁻³³
        let y = x * x;
        var q = 0.0021475418;
        q = q * y - 0.00818268;
        q = q * y + 0.02170297;
        q = q * y - 0.053947207;
        q = q * y + 0.1333321;
        q = q * y - 0.3333333;
        return x * y * q + x;
    }
    // tanh a = 1 − 2 / (e²ᵃ + 1), which is 1 from 10 on.
    let far = 1.0 - ratio(2.0, exp_of(min(a + a, 20.0)) + 1.0);
    return select(far, -far, x < 0.0);
}

// 1 / (1 + e⁻ˣ)
fn sigmoid_of(x: f32) -> f32 {
    let z = exp_of(-abs(x));
    return ratio(select(1.0, z, x < 0.0), 1.0 + z);
}

// x / (1 + e⁻ˣ)
fn silu_of(x: f32) -> f32 {
    if (is_nan(x) || x > 126.0) { return x; }
    if (x < -126.0) { return 0.0; } // below 2⁻¹⁴⁹
    let p = exp_parts(-abs(x));
    let z = 1.0 + scaled(p.m, p.n);
    // For negative x, x·e⁻|ˣ| is normal where e⁻|ˣ| alone is not: scale last.
    if (x < 0.0) { return scaled(x * ratio(p.m, z), p.n); }
    return ratio(x, z);
}
