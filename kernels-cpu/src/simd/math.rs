//! Elementary functions on vectors of f32.
//!
//! Argument reduction, then a polynomial that is minimax for the relative error of the result (Remez' exchange algorithm; each is
//! named with the error of the exact polynomial). Bounds are of the whole function, over every f32, measured by the tests.
//! NaN gives NaN; signed zeros, infinities and denormals are as in C's `math.h`.
//!
//! | function | largest error of all f32, in ULP, the same on every instruction set |
//! |---|---|
//! | exp, log | 0.972, 0.824 |
//! | tanh, erf | 1.445, 1.418 |
//! | sigmoid, silu | 2.642, 3.550 |
//! | gelu by tanh, gelu by erf | 2.267, 1.259 (or below 2⁻²³) |

use super::Simd;
use std::f32::consts::LOG2_E;

/// c₀ + c₁x + c₂x² + …
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, c: [f32; N]) -> S::V {
    let mut sum = s.splat(c[N - 1]);
    for k in (0..N - 1).rev() {
        sum = s.fma(sum, x, s.splat(c[k]));
    }
    sum
}

/// ln 2 = LN_2_HIGH + LN_2_LOW; n·LN_2_HIGH is exact for |n| < 2¹⁴.
const LN_2_HIGH: f32 = 0.693_359_375;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// 2^(j/4), rounded.
const QUARTER_POWERS: [f32; 4] = [1.0, 1.189_207_1, std::f32::consts::SQRT_2, 1.681_792_9];

/// Numbers below 2²⁰ added to it are rounded to quarters, and their lowest two bits number the quarter.
const QUARTERS: f32 = 3_145_728.0;

/// eˣ = p·2^⌊n⌋ with p in [0.91, 1.84], n a multiple of ¼, for |x| ≤ 150. At NaN p is NaN.
///
/// Of several vectors step by step, so that the operations of one need not be waited for.
#[inline(always)]
fn exp_parts_of<S: Simd, const N: usize>(s: S, x: [S::V; N]) -> ([S::V; N], [S::V; N]) {
    // x = n·ln 2 + r with |r| ≤ ln 2 / 8: eˣ = 2^⌊n⌋·2^(j/4)·eʳ, whose second factor from a table replaces two degrees.
    let (mut powers, mut n, mut p) = (x, x, x);
    for i in 0..N {
        powers[i] = s.fma(x[i], s.splat(LOG2_E), s.splat(QUARTERS));
    }
    for i in 0..N {
        n[i] = powers[i] - s.splat(QUARTERS);
    }
    let mut r = x;
    for i in 0..N {
        r[i] = s.fma(n[i], s.splat(-LN_2_HIGH), r[i]);
    }
    for i in 0..N {
        r[i] = s.fma(n[i], s.splat(-LN_2_LOW), r[i]);
    }
    // (eʳ − 1) / r, to 2⁻²⁷ of eʳ, and above it where r is largest, as 2^¼ is below its power
    for i in 0..N {
        p[i] = s.fma(r[i], s.splat(0.041_649_25), s.splat(0.166_731_45));
    }
    for i in 0..N {
        p[i] = s.fma(r[i], p[i], s.splat(0.500_000_7));
    }
    for i in 0..N {
        p[i] = s.fma(r[i], p[i], s.splat(0.999_999_94));
    }
    // SAFETY: four numbers are readable.
    let table = unsafe { s.load_four(QUARTER_POWERS.as_ptr()) };
    for i in 0..N {
        powers[i] = s.pick(table, s.bits(powers[i]));
    }
    for i in 0..N {
        p[i] = s.fma(powers[i], r[i] * p[i], powers[i]);
    }
    (p, n)
}

/// As [`exp_parts_of`], of one vector.
#[inline(always)]
fn exp_parts<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let ([p], [n]) = exp_parts_of(s, [x]);
    (p, n)
}

/// x, but not below `low` nor above `high`; NaN stays NaN.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::V, low: f32, high: f32) -> S::V {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

/// eˣ within 1 ULP, denormal results included.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // e⁻¹⁰⁵ rounds to 0, e⁸⁹ to ∞.
    let (p, n) = exp_parts(s, clamp(s, x, -105.0, 89.0));
    s.scale2(p, n)
}

/// eˣ of vectors of x ≤ 0 and NaN, within 1 ULP.
#[inline(always)]
pub(crate) fn exp_of_negatives<S: Simd, const N: usize>(s: S, mut x: [S::V; N]) -> [S::V; N] {
    for x in &mut x {
        *x = s.max(s.splat(-105.0), *x);
    }
    let (mut p, n) = exp_parts_of(s, x);
    for i in 0..N {
        p[i] = s.scale2(p[i], n[i]);
    }
    p
}

/// 2ˣ for x < 128 within 2 ULP, denormal results included; exactly 1 at 0.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.max(s.splat(-151.0), x); // 2⁻¹⁵¹ rounds to 0
    let n = s.round(x);
    // 2ʳ on |r| ≤ ½, to 2⁻²⁸, the constant term held at 1
    let p =
        polynomial(s, x - n, [1.0, 0.693_147_24, 0.240_226_52, 0.055_503_103, 0.009_617_693, 0.001_340_664_3, 0.000_155_946_78]);
    s.scale2(p, n)
}

/// ln x within 1 ULP.
#[inline(always)]
pub(crate) fn log<S: Simd>(s: S, x: S::V) -> S::V {
    let denormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let scaled = s.select(denormal, x * s.splat(16_777_216.0), x);
    // x = (1 + f)·2ⁿ with 1 + f in [√½, √2): the bits above those of √½ count in powers of two.
    let root_half = s.int(0x3f35_04f3);
    let above = s.bits(scaled) - root_half;
    let top = above & s.int(0xff80_0000_u32 as i32);
    let f = s.from_bits(s.bits(scaled) - top) - s.splat(1.0);
    let biased = s.to_float(s.shr::<23>(top + s.int(0x4000_0000))); // n + 128
    let n = biased - s.select(denormal, s.splat(152.0), s.splat(128.0));
    // (ln(1 + f) − f + f²/2) / f³ on [√½ − 1, √2 − 1], to 2⁻³⁰
    let q = polynomial(
        s,
        f,
        [
            0.333_333_1,
            -0.249_999_87,
            0.200_022_27,
            -0.166_692_51,
            0.142_186_66,
            -0.123_843_364,
            0.118_729_2,
            -0.117_898_546,
            0.069_155_41,
        ],
    );
    let square = f * f;
    let low = s.fma(n, s.splat(LN_2_LOW), s.fma(f * square, q, square * s.splat(-0.5)));
    let y = s.fma(n, s.splat(LN_2_HIGH), f + low);
    let y = s.select(s.eq(x, s.splat(f32::INFINITY)), x, y);
    let y = s.select(s.lt(x, s.zero()), s.splat(f32::NAN), y);
    let y = s.select(s.eq(x, s.zero()), s.splat(f32::NEG_INFINITY), y);
    s.select(s.is_nan(x), x, y)
}

/// tanh x within 2 ULP.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.abs(x);
    let y = x * x;
    // (tanh(x)/x − 1)/x² on |x| ≤ 0.625, to 2⁻³³
    let q = polynomial(s, y, [-0.333_333_3, 0.133_332_1, -0.053_947_207, 0.021_702_97, -0.008_182_68, 0.002_147_541_8]);
    let near = s.fma(x * y, q, x);
    // tanh a = 1 − 2/(e²ᵃ + 1), which is 1 from 10 on.
    let (p, n) = exp_parts(s, clamp(s, a + a, 0.0, 20.0));
    let far = s.splat(1.0) - s.splat(2.0) / (s.scale2(p, n) + s.splat(1.0));
    s.copysign(s.select(s.lt(a, s.splat(0.625)), near, far), x)
}

/// 1 / (1 + e⁻ˣ) within 3.5 ULP, denormal results included: one of the exponential and half of one of the sum can double, when the sum
/// is just above a power of two and the quotient just below one; half of one is the division's. The most of all f32 is 2.65.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let z = exp(s, -s.abs(x));
    let top = s.select(s.lt(x, s.zero()), z, s.splat(1.0));
    top / (s.splat(1.0) + z)
}

/// x / (1 + e⁻ˣ) within 4 ULP, denormal results included.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    // For negative x, x·e⁻|ˣ| is normal where e⁻|ˣ| alone is not: scale last. From −126 down the result rounds to −0.
    let (p, n) = exp_parts(s, clamp(s, -s.abs(x), -126.0, 0.0));
    let one_more = s.splat(1.0) + s.scale2(p, n);
    let negative = s.scale2(x * (p / one_more), n);
    let y = s.select(s.lt(x, s.zero()), negative, x / one_more);
    s.select(s.lt(x, s.splat(-126.0)), x * s.zero(), y)
}

/// erfc t within 2⁻²² relative, for t in [0.99, ∞).
#[inline(always)]
fn erfc_tail<S: Simd>(s: S, t: S::V) -> S::V {
    let t = s.min(s.splat(10.2), t); // erfc is 0 in f32 from here on
    let u = s.splat(1.0) / s.fma(t, s.splat(0.5), s.splat(1.0));
    // erfc(t)·exp(t²) with t = 2/u − 2 on [0.99, 10.2], to 2⁻³⁰
    let q = polynomial(
        s,
        u,
        [
            2.637_075_6e-6,
            0.282_010_82,
            0.283_264_7,
            0.237_460_85,
            0.223_977_12,
            -0.076_096_855,
            0.348_523_94,
            -0.545_770_2,
            0.309_574_8,
            -0.062_884_666,
        ],
    );
    exp(s, -(t * t)) * q
}

/// erf x for |x| ≤ 1.
#[inline(always)]
fn erf_near<S: Simd>(s: S, x: S::V) -> S::V {
    // erf(x)/x − 1 as a polynomial of x² on |x| ≤ 1, to 2⁻³⁴
    let c = [
        0.128_379_17,
        -0.376_126_38,
        0.112_837_82,
        -0.026_865_4,
        0.005_220_945_5,
        -0.000_848_282_9,
        0.000_112_569_49,
        -9.641_518e-6,
    ];
    s.fma(x, polynomial(s, x * x, c), x)
}

/// erf x within 2 ULP.
#[inline(always)]
#[allow(dead_code, reason = "tested against f64 beside what it is made of")]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let a = s.abs(x);
    let far = s.copysign(s.splat(1.0) - erfc_tail(s, a), x);
    s.select(s.lt(a, s.splat(1.0)), erf_near(s, x), far)
}

/// 0.5·x·(1 + erf(x/√2)) within 4 ULP or 2⁻²³.
#[inline(always)]
pub(crate) fn gelu_erf<S: Simd>(s: S, x: S::V) -> S::V {
    let t = x * s.splat(std::f32::consts::FRAC_1_SQRT_2);
    let half = x * s.splat(0.5);
    let near = half * (s.splat(1.0) + erf_near(s, t));
    let a = s.abs(t);
    let tail = s.splat(0.5) * erfc_tail(s, a);
    let far = x * s.select(s.lt(x, s.zero()), tail, s.splat(1.0) - tail);
    s.select(s.lt(a, s.splat(1.0)), near, far)
}

/// 2·√(2/π).
pub(crate) const GELU_LINEAR: f32 = 1.595_769_1;
/// 0.044715 times that.
pub(crate) const GELU_CUBIC: f32 = 0.071_354_81;

/// 0.5·x·(1 + tanh u) = x / (1 + e⁻²ᵘ) with u = √(2/π)·(x + 0.044715·x³), within 4 ULP or 2⁻²³.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    x * sigmoid(s, gelu_argument(s, x))
}

/// 2u of [`gelu`].
#[inline(always)]
pub(crate) fn gelu_argument<S: Simd>(s: S, x: S::V) -> S::V {
    x * s.fma(x * x, s.splat(GELU_CUBIC), s.splat(GELU_LINEAR))
}

/// Distribution Φ(x) = 0.5·(1 + erf(x/√2)) and density φ(x) = exp(−x²/2)/√(2π) of the standard normal.
#[inline(always)]
pub(crate) fn normal<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let t = x * s.splat(std::f32::consts::FRAC_1_SQRT_2);
    let (a, half) = (s.abs(t), s.splat(0.5));
    let near = s.fma(half, erf_near(s, t), half);
    let tail = half * erfc_tail(s, a);
    let far = s.select(s.lt(x, s.zero()), tail, s.splat(1.0) - tail);
    let density = exp(s, x * x * s.splat(-0.5)) * s.splat(0.398_942_3);
    (s.select(s.lt(a, s.splat(1.0)), near, far), density)
}

/// sin φ and cos φ of φ = 2π·k·2⁻²⁴ for integers 0 ≤ k < 2²⁴, within 2 ULP.
#[inline(always)]
pub(crate) fn sin_cos_turn<S: Simd>(s: S, k: S::V) -> (S::V, S::V) {
    // φ = quarter·π/2 + r with |r| ≤ π/4, the reduction exact.
    let whole = s.round(k * s.splat(1.0 / 4_194_304.0));
    let r = s.fma(whole, s.splat(-4_194_304.0), k) * s.splat(std::f32::consts::TAU / 16_777_216.0);
    let quarter = s.to_int(whole);
    let y = r * r;
    // (sin(r)/r − 1)/r² to 2⁻³⁷ and (cos(r) − 1 + r²/2)/r⁴ to 2⁻⁴³ on |r| ≤ π/4
    let sin = s.fma(r * y, polynomial(s, y, [-0.166_666_67, 0.008_333_329, -0.000_198_393_35, 2.718_311_6e-6]), r);
    let cos = polynomial(s, y, [0.041_666_668, -0.001_388_888_3, 2.479_952e-5, -2.721_024e-7]);
    let cos = s.fma(y * y, cos, s.fma(y, s.splat(-0.5), s.splat(1.0)));
    let odd = s.eq(s.to_float(quarter & s.int(1)), s.splat(1.0));
    let (a, b) = (s.select(odd, cos, sin), s.select(odd, sin, cos));
    // sin changes its sign in quarters 2 and 3, cos in 1 and 2.
    let sign = |bit: S::I, v: S::V| s.from_bits(s.bits(v) ^ s.shl::<30>(bit & s.int(2)));
    (sign(quarter, a), sign(quarter + s.int(1), b))
}
