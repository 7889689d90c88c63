//! Functions of [`math`](super::math) on every instruction set against f64.
//!
//! Each run takes all bf16 and f16 values and 2²⁰ f32 values spread over all bit patterns. `cargo test --release -p kernels-cpu --lib
//! every_f32 -- --ignored --nocapture --test-threads 1` takes all 2³² on all processors and prints the largest errors, a minute or
//! two per function on two; `every_f32_exp` and so on name one.

use super::*;
use half::{bf16, f16};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    Log,
    Tanh,
    Sigmoid,
    Silu,
    Erf,
    Gelu,
    GeluErf,
}
use Function::*;

impl Function {
    const ALL: [Function; 8] = [Exp, Log, Tanh, Sigmoid, Silu, Erf, Gelu, GeluErf];

    fn exact(self, x: f64) -> f64 {
        let sigmoid = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        match self {
            Exp => x.exp(),
            Log => x.ln(),
            Tanh => x.tanh(),
            Sigmoid => sigmoid(x),
            Silu => x * sigmoid(x),
            Erf => libm::erf(x),
            Gelu => x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)),
            GeluErf => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        }
    }

    /// Largest error in ULP, and the absolute error that is always allowed.
    fn bound(self) -> (f64, f64) {
        match self {
            Exp | Log => (1.0, 0.0),
            Tanh | Erf => (2.0, 0.0),
            Sigmoid => (3.5, 0.0),
            Silu => (4.0, 0.0),
            Gelu | GeluErf => (4.0, 2f64.powi(-23)),
        }
    }
}

simd_fn! {
    fn apply(s, f: Function, x: &[f32], out: &mut [f32]) {
        match f {
            Exp => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::exp(s, x)),
            Log => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::log(s, x)),
            Tanh => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::tanh(s, x)),
            Sigmoid => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::sigmoid(s, x)),
            Silu => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::silu(s, x)),
            Erf => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::erf(s, x)),
            Gelu => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::gelu(s, x)),
            GeluErf => map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::gelu_erf(s, x)),
        }
    }
    fn turns(s, k: &[f32], sin: &mut [f32], cos: &mut [f32]) {
        for at in (0..k.len()).step_by(S::LANES) {
            let (a, b) = math::sin_cos_turn(s, load(s, k, at));
            store(s, sin, at, a);
            store(s, cos, at, b);
        }
    }
}

simd_fn! {
    fn powers(s, x: &[f32], out: &mut [f32]) {
        map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::exp2(s, x));
    }
}

simd_fn! {
    /// out[i] = eˣ of x ≤ 0, four vectors at once.
    fn negatives(s, x: &[f32], out: &mut [f32]) {
        for at in (0..x.len()).step_by(4 * lanes(s)) {
            let mut spans = [s.zero(); 4];
            for (k, v) in spans.iter_mut().enumerate() {
                *v = load(s, x, at + k * lanes(s));
            }
            let exps = math::exp_of_negatives(s, spans);
            for (k, v) in exps.into_iter().enumerate() {
                store(s, out, at + k * lanes(s), v);
            }
        }
    }
    fn exps(s, x: &[f32], out: &mut [f32]) {
        map(s, Stores::Cached, [x], out, #[inline(always)] |[x]| math::exp(s, x));
    }
}

/// Lanes of a vector.
fn lanes<S: Simd>(_: S) -> usize {
    S::LANES
}

#[test]
fn exponentials_of_negatives_are_those_of_all() {
    let mut x: Vec<f32> = (1 << 31..=u32::MAX).step_by(4099).map(f32::from_bits).collect();
    x.push(0.0);
    x.resize(x.len().next_multiple_of(64), f32::NAN);
    for isa in Isa::available() {
        let (mut got, mut want) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        negatives(isa, &x, &mut got);
        exps(isa, &x, &mut want);
        for ((x, got), want) in x.iter().zip(got).zip(want) {
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{isa:?}: e^{x} is {want}, here {got}");
        }
    }
}

#[test]
fn powers_of_two() {
    let spread = (0..=u32::MAX).step_by(4099).map(f32::from_bits);
    let fine = (-1520..1280).map(|i| i as f32 * 0.1 + 1e-3);
    let x: Vec<f32> = spread.chain(fine).chain((-152..128).map(|n| n as f32)).filter(|x| x.is_nan() || *x < 128.0).collect();
    for isa in Isa::available() {
        let mut out = vec![0.0; x.len()];
        powers(isa, &x, &mut out);
        for (&x, &got) in x.iter().zip(&out) {
            let want = f64::from(x).exp2();
            assert!(ulp(got, want) <= 2.0, "{isa:?}: 2^{x} = {want}, got {got}");
        }
        powers(isa, &[0.0], &mut out[..1]);
        assert_eq!(out[0], 1.0);
    }
}

/// Error in units of the spacing of f32 at `want`.
fn ulp(got: f32, want: f64) -> f64 {
    if got.is_nan() && want.is_nan() || got as f64 == want || got == want as f32 {
        return 0.0;
    }
    let exponent = (want.abs().to_bits() >> 52).clamp(1023 - 126, 1023 + 127);
    let spacing = f64::from_bits((exponent - 23) << 52);
    let error = (got as f64 - want).abs() / spacing;
    if error.is_nan() || got.is_infinite() { f64::INFINITY } else { error }
}

/// Largest error over `x` beyond what is always allowed, and where, of each instruction set.
fn worst(isas: &[Isa], f: Function, x: &[f32]) -> Vec<(f64, f32)> {
    let wanted: Vec<f64> = x.iter().map(|&x| f.exact(x as f64)).collect();
    let (_, slack) = f.bound();
    let mut out = vec![0f32; x.len()];
    let mut of = |isa| {
        apply(isa, f, x, &mut out);
        let errors = x.iter().zip(&out).zip(&wanted).map(|((&x, &got), &want)| {
            let error = if (got as f64 - want).abs() <= slack { 0.0 } else { ulp(got, want) };
            (error, x)
        });
        errors.fold((0.0, 0.0), |worst, this| if this.0 > worst.0 { this } else { worst })
    };
    isas.iter().map(|&isa| of(isa)).collect()
}

#[test]
fn functions_are_within_their_bounds() {
    let narrow = (0..=u16::MAX).flat_map(|bits| [bf16::from_bits(bits).to_f32(), f16::from_bits(bits).to_f32()]);
    let spread = (0..1u32 << 20).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b1)));
    let x: Vec<f32> = narrow.chain(spread).collect();
    let isas: Vec<_> = Isa::available().collect();
    for f in Function::ALL {
        for (isa, (error, at)) in isas.iter().zip(worst(&isas, f, &x)) {
            println!("{} {f:?}: {error:.3} ULP at {at:e}", isa.name());
            assert!(error <= f.bound().0, "{} {f:?}({at:e}): {error} ULP", isa.name());
        }
    }
}

#[test]
fn signs_of_zero_are_kept() {
    for isa in Isa::available() {
        for f in [Tanh, Erf, Silu, Gelu, GeluErf] {
            let mut out = [1f32; 2];
            apply(isa, f, &[0.0, -0.0], &mut out);
            assert_eq!(out.map(f32::to_bits), [0.0f32, -0.0].map(f32::to_bits), "{} {f:?}", isa.name());
        }
    }
}

#[test]
fn turns_are_within_their_bounds() {
    let k: Vec<f32> =
        (0..1 << 24).step_by(7).chain([1 << 21, 1 << 22, 3 << 21, 1 << 23, (1 << 24) - 1]).map(|k| k as f32).collect();
    for isa in Isa::available() {
        let (mut sin, mut cos) = (vec![0f32; k.len()], vec![0f32; k.len()]);
        turns(isa, &k, &mut sin, &mut cos);
        for i in 0..k.len() {
            let angle = k[i] as f64 / (1 << 24) as f64 * std::f64::consts::TAU;
            // Near their zeros the exact value is that of f64, which has an error of its own.
            let near = |got: f32, want: f64| ulp(got, want) <= 2.0 || (got as f64 - want).abs() < 1e-15;
            assert!(near(sin[i], angle.sin()) && near(cos[i], angle.cos()), "{} {}", isa.name(), k[i]);
        }
    }
}

/// All 2³² values, on all processors.
fn every_f32(f: Function) {
    let isas: Vec<_> = Isa::available().collect();
    let next = AtomicU32::new(0);
    let search = || {
        let mut found = vec![(0.0, 0.0); isas.len()];
        loop {
            let high = next.fetch_add(1, Relaxed);
            if high > u16::MAX as u32 {
                return found;
            }
            let x: Vec<f32> = (0..=u16::MAX).map(|low| f32::from_bits(high << 16 | low as u32)).collect();
            for (found, here) in found.iter_mut().zip(worst(&isas, f, &x)) {
                *found = if here.0 > found.0 { here } else { *found };
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<_> = std::thread::scope(|scope| {
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        searches.into_iter().map(|search| search.join().unwrap()).collect()
    });
    for (k, isa) in isas.iter().enumerate() {
        let (error, at) = all.iter().map(|found| found[k]).fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
        println!("{} {f:?}: {error:.3} ULP at {at:e}", isa.name());
        assert!(error <= f.bound().0, "{} {f:?}({at:e}): {error} ULP", isa.name());
    }
}

macro_rules! every_f32 {
    ($($name:ident $function:ident;)*) => {$(
        #[test]
        #[ignore = "minutes: all 2³² values"]
        fn $name() {
            every_f32($function);
        }
    )*};
}
every_f32! {
    every_f32_exp Exp;
    every_f32_log Log;
    every_f32_tanh Tanh;
    every_f32_sigmoid Sigmoid;
    every_f32_silu Silu;
    every_f32_erf Erf;
    every_f32_gelu Gelu;
    every_f32_gelu_erf GeluErf;
}
