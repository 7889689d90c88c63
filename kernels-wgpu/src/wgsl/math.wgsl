// Elementary functions, written out: those of WGSL have accuracies and special values of their own on every device. Minimax
// polynomials; errors are of the exact polynomial. NaN gives NaN.

// By its bits: compilers of shaders may assume that no number is NaN.
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

// Infinity, kept from the compiler, which refuses constants that are not finite.
var<private> infinity_bits: u32 = 0x7f800000u;

fn infinity() -> f32 { return bitcast<f32>(infinity_bits); }

const LOG2_E = 1.4426950408889634;
// ln 2 in two parts; a whole number below 2¹⁴ times the first is exact.
const LN_2_HIGH = 0.693359375;
const LN_2_LOW = -2.12194440e-4;

// eˣ = m · 2ⁿ with m from 0.7 to 1.42, for |x| ≤ 150. At NaN m is NaN.
struct Power { m: f32, n: i32 }

fn exp_parts(x: f32) -> Power {
    let n = round(x * LOG2_E);
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // (eʳ − 1 − r) / r² on |r| ≤ ln 2 / 2, to 2⁻³⁴
    var q = 0.00019790245;
    q = q * r + 0.0013944758;
    q = q * r + 0.008333498;
    q = q * r + 0.041666295;
    q = q * r + 0.16666666;
    q = q * r + 0.5;
    return Power((r * r * q + r) + 1.0, i32(n));
}

// x · 2ⁿ in two factors, for |n| ≤ 252.
fn scaled(x: f32, n: i32) -> f32 {
    let half = n / 2;
    return x * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(n - half + 127) << 23u);
}

// eˣ; results below 2⁻¹²⁶ are 0.
fn exp_of(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    if (x > 88.72284) { return infinity(); }
    if (x < -87.33654) { return 0.0; }
    let p = exp_parts(x);
    return scaled(p.m, p.n);
}

// ln x for normal x > 0.
fn ln_of(x: f32) -> f32 {
    if (is_nan(x)) { return x; }
    // x = (1 + f)·2ⁿ with 1 + f in [√½, √2): the bits above those of √½ count in powers of two.
    let bits = bitcast<i32>(x);
    let top = (bits - 0x3f3504f3i) & bitcast<i32>(0xff800000u);
    let n = f32(top >> 23u);
    let f = bitcast<f32>(bits - top) - 1.0;
    // (ln(1 + f) − f + f²/2) / f³ on [√½ − 1, √2 − 1], to 2⁻³⁰
    var q = 0.069155414;
    q = q * f - 0.117898546;
    q = q * f + 0.1187292;
    q = q * f - 0.123843364;
    q = q * f + 0.14218666;
    q = q * f - 0.16669251;
    q = q * f + 0.20002227;
    q = q * f - 0.24999987;
    q = q * f + 0.3333331;
    let square = f * f;
    return n * LN_2_HIGH + (f + (n * LN_2_LOW + (f * square * q - 0.5 * square)));
}

// Φ(x) = 0.5·(1 + erf(x/√2)), the standard normal distribution.
fn normal_below(x: f32) -> f32 {
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
        return 0.5 * (t * q) + 0.5;
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
    let tail = 0.5 * (exp_of(-(a * a)) * q);
    return select(1.0 - tail, tail, x < 0.0);
}
