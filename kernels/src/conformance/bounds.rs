//! How far a result may be from the reference: formulas, each with its derivation, never a number tried until it passed.
//!
//! `u` = 2⁻²⁴ is the unit roundoff of f32, in which every backend computes; the reference is f64 from the same rounded inputs.
//!
//! **Sums.** For K terms with S = Σ|terms|, any order of summation, fused or not:
//! - hard: |err| ≤ γ_K·S with γ_K = K·u / (1 − K·u) (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, lemma 3.1).
//!   A violation is a proven bug.
//! - statistical: |err| ≤ λ·√K·u·S with λ = 8. Rounding errors of mean zero add up as a random walk (Higham, Mary, 2019); the chance
//!   of a false alarm under that model is at most 2K·exp(−λ²/2) ≈ K·2.5e-14.
//!
//! The smaller of the two is the bound; structured inputs (all equal), whose roundings are not independent, have the hard one.
//!
//! **Underflow.** A product below 2⁻¹²⁶ may lose up to 2⁻¹⁴⁹ absolutely, or all of 2⁻¹²⁶ on devices that flush subnormals.
//!
//! **Matrix products of bf16** may be of instructions that flush subnormals, whatever the device does elsewhere
//! ([`Model::products`]). A term is then lost whole if one of its factors is subnormal ([`flushed`] sums those); any other may lose
//! 2⁻¹²⁶ as a product and as much as it is added. Products of bf16 are exact and each is rounded at most once as it is added, so that
//! what is left of the sum has the bound above: |err| ≤ γ_K·S + K·2⁻¹²⁵ + Σ|terms with a subnormal factor|.
//!
//! **Matrix products of 16-bit floats on tensor cores.** A step takes b products and the sum so far, aligns them to the largest, cuts
//! what lies below at least one bit behind f32's last place, adds, and cuts the sum to f32 (Fasi, Higham, Mikaitis, Pranesh,
//! *Numerical behavior of NVIDIA tensor cores*, 2021; b ≥ 4 and one extra bit from sm_80 on). A step then loses at most
//! (b + 1)·u·S + 2·u·S, and K products in K/b steps at most K·u·(1 + 3/b)·S ≤ γ_K·S with 2·u for u; for K < b it is K·u·S + 2·u·S,
//! which is no more from K = 2 on, and a single product is exact. Cutting errs to one side: only the hard bound holds
//! ([`Model::tensor_cores`]). What is largest is told by the exponents of the factors, and the exponent of a subnormal is that of the
//! smallest normal number: in S such a factor counts as that ([`Model::raised`]; an H200 was seen to do so).
//!
//! **Fused ops** carry the bound of each intermediate to the result by the triangle inequality, to first order; the derivation stands
//! where it is computed (`cases`). **Store.** One rounding to the dtype of the output is added when comparing ([`Want::accept`]).

use super::host::round_to;
use super::recipe::Spread;
use crate::DType;

/// Unit roundoff of f32.
pub const U: f64 = 1.0 / (1u64 << 24) as f64;

/// Standard deviations allowed to a random walk of roundings.
pub const LAMBDA: f64 = 8.0;

/// The arithmetic a device promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// IEEE 754: subnormals kept, +, −, ·, /, √ correctly rounded.
    #[default]
    Ieee,
    /// As WGSL allows: subnormals may be read and written as zero, division is within 2.5 ULP, √ within 4.
    Wgsl,
    /// IEEE 754, but for products of matrices of 16-bit floats, whose sums tensor cores cut.
    TensorCores,
}

/// What bounds depend on beside the values.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Only the hard bound holds.
    pub structured: bool,
    /// Arithmetic of the device.
    pub arithmetic: Arithmetic,
    /// What one addition may lose, relative to the sum.
    unit: f64,
}

impl Model {
    /// The model for inputs of this spread.
    pub fn new(spread: Spread, arithmetic: Arithmetic) -> Self {
        // One huge value dominates its sum: roundings of the rest are no random walk around zero either.
        Model { structured: matches!(spread, Spread::Equal | Spread::HugeAndTiny), arithmetic, unit: U }
    }

    /// Bound of a sum of `k` terms whose absolute values sum to `s`.
    pub fn sum(self, k: usize, s: f64) -> f64 {
        self.factor(k) * s + k as f64 * self.tiny()
    }

    /// The factor of S in [`Model::sum`].
    pub fn factor(self, k: usize) -> f64 {
        let k = k as f64;
        let hard = k * self.unit / (1.0 - k * self.unit);
        if self.structured { hard } else { hard.min(LAMBDA * k.sqrt() * self.unit) }
    }

    /// The model of sums of products of elements of this dtype, or of rows of it with decoded weights, where a kernel may use tensor
    /// cores for them.
    pub fn tensor_cores(self, dtype: DType) -> Self {
        let cuts = self.arithmetic == Arithmetic::TensorCores && matches!(dtype, DType::Bf16 | DType::F16);
        if cuts { Model { structured: true, unit: 2.0 * U, ..self } } else { self }
    }

    /// By how much Σ|terms| grows where tensor cores take factors of this dtype that are subnormal for the smallest normal number.
    pub fn raised(self, dtype: DType, factors: impl Iterator<Item = (f64, f64)>) -> f64 {
        let normal = match (self.arithmetic, dtype) {
            (Arithmetic::TensorCores, DType::F16) => 2f64.powi(-14),
            (Arithmetic::TensorCores, DType::Bf16) => 2f64.powi(-126),
            _ => return 0.0,
        };
        let terms = factors.filter(|&(x, y)| x * y != 0.0 && (x.abs() < normal || y.abs() < normal));
        terms.map(|(x, y)| x.abs().max(normal) * y.abs().max(normal) - (x * y).abs()).sum()
    }

    /// The model of matrix products of elements of this dtype.
    pub fn products(self, dtype: DType) -> Self {
        if dtype == DType::Bf16 { Model { arithmetic: Arithmetic::Wgsl, ..self } } else { self }
    }

    /// What an operation that only moves a value may change: nothing, or a subnormal to zero.
    pub fn flushed(self) -> f64 {
        match self.arithmetic {
            Arithmetic::Ieee | Arithmetic::TensorCores => 0.0,
            Arithmetic::Wgsl => self.tiny(),
        }
    }

    /// What one operation may lose to underflow.
    pub fn tiny(self) -> f64 {
        match self.arithmetic {
            Arithmetic::Ieee | Arithmetic::TensorCores => 2f64.powi(-149),
            Arithmetic::Wgsl => 2f64.powi(-125),
        }
    }
}

impl Model {
    /// A result of one operation in f32, correctly rounded where the device does so, before it is stored as `dtype`.
    pub fn one_rounding(self, dtype: DType, value: f64) -> Want {
        match (self.arithmetic, dtype) {
            (Arithmetic::Ieee | Arithmetic::TensorCores, DType::F32) => Want::exactly(value),
            // Rounded twice: to f32, then to the narrower type.
            (Arithmetic::Ieee | Arithmetic::TensorCores, _) => Want { value, bound: U * value.abs() + self.tiny() },
            (Arithmetic::Wgsl, _) => Want { value, bound: 4.0 * ulp(value) + self.tiny() },
        }
    }
}

/// Σ|terms| of those products of two factors that count as zero where factors of this dtype may be flushed.
pub fn flushed(dtype: DType, factors: impl Iterator<Item = (f64, f64)>) -> f64 {
    let subnormal = |v: f64| dtype == DType::Bf16 && v.abs() < 2f64.powi(-126);
    factors.filter(|&(x, y)| subnormal(x) || subnormal(y)).map(|(x, y)| (x * y).abs()).sum()
}

/// Distance of f32 numbers at `value`.
pub fn ulp(value: f64) -> f64 {
    if !value.is_finite() {
        return f64::INFINITY;
    }
    2f64.powi((value.abs().max(2f64.powi(-126)).log2().floor() as i32).min(127) - 23)
}

/// Relative error of a device's exp(x): rounding of its argument, |x|·u, and that of the function, for which WGSL allows
/// 3 + 2·|x| ULP (WGSL, *Accuracy of concrete floating point expressions*).
pub fn exp_error(x: f64) -> f64 {
    (4.0 + 3.0 * x.abs().min(110.0)) * 2.0 * U
}

/// Error of a device's gelu, gelu_erf or silu of x, where the function is `value`: relative as for the exponential inside, and
/// absolute where 1 + tanh or 1 + erf cancels, times the factor x.
pub fn activation_error(x: f64, value: f64) -> f64 {
    (8.0 + 3.0 * x.abs().min(20.0)) * 2.0 * U * value.abs() + 2.0 * U * x.abs().clamp(1.0, 16.0)
}

/// What an element of an output must be.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// The reference's value, unrounded.
    pub value: f64,
    /// Largest error before the store; 0 demands the rounded value to the bit; ∞ allows anything (an intermediate overflows, or
    /// the op's documentation leaves it open).
    pub bound: f64,
}

impl Want {
    /// Exactly `value`, rounded once.
    pub fn exactly(value: f64) -> Self {
        Want { value, bound: 0.0 }
    }

    /// Within `bound` of `value`, before the store. An intermediate of size `magnitude` beyond f32 makes the result open.
    pub fn within(value: f64, bound: f64, magnitude: f64) -> Self {
        let overflows = value.is_finite() && magnitude >= f64::from(f32::MAX);
        Want { value, bound: if overflows { f64::INFINITY } else { bound } }
    }

    /// Checks an element; `Ok` carries the share of the bound that was used.
    ///
    /// # Errors
    /// The error allowed and the one found.
    pub fn accept(self, dtype: DType, got: f64) -> Result<f64, String> {
        let rounded = round_to(dtype, self.value);
        if self.value.is_nan() {
            return if got.is_nan() || !dtype.is_float() { Ok(0.0) } else { Err(format!("want NaN, got {got:e}")) };
        }
        if self.value.is_infinite() {
            return if got == self.value { Ok(0.0) } else { Err(format!("want {}, got {got:e}", self.value)) };
        }
        if self.bound == f64::INFINITY || got == rounded {
            return Ok(0.0);
        }
        // Not `self.bound > 0.0`: a bound that is NaN proves nothing and must fail.
        let exact = self.bound == 0.0 || self.bound.is_nan();
        if exact {
            return Err(format!("want exactly {rounded:e}, got {got:e}"));
        }
        // Rounding is monotonic: a result between the rounded ends of the interval is one rounding away from a point in it.
        let (low, high) = (round_to(dtype, self.value - self.bound), round_to(dtype, self.value + self.bound));
        if low <= got && got <= high {
            let ulp = half_ulp(dtype, self.value);
            let used = if got.is_finite() { ((got - self.value).abs() - ulp).max(0.0) / self.bound } else { 0.0 };
            return Ok(used.min(1.0));
        }
        let (error, allowed) = ((got - self.value).abs(), self.bound);
        Err(format!("want {:e} ± {allowed:.3e}, got {got:e}: off by {error:.3e}, {:.3} × the bound", self.value, error / allowed))
    }
}

/// Largest error of rounding a value of this size to a dtype narrower than f32.
fn half_ulp(dtype: DType, value: f64) -> f64 {
    match dtype {
        DType::Bf16 | DType::F16 => dtype.unit_roundoff() * value.abs(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_means_the_rounded_value() {
        let third = Want::exactly(1.0 / 3.0);
        assert!(third.accept(DType::F32, f64::from(1f32 / 3.0)).is_ok());
        assert!(third.accept(DType::F32, f64::from(f32::from_bits((1f32 / 3.0).to_bits() + 1))).is_err());
        assert!(third.accept(DType::Bf16, round_to(DType::Bf16, 1.0 / 3.0)).is_ok());
    }

    #[test]
    fn special_values_are_strict() {
        assert!(Want::within(f64::NAN, 1.0, 1.0).accept(DType::F32, 0.0).is_err());
        assert!(Want::within(f64::INFINITY, f64::INFINITY, f64::INFINITY).accept(DType::F32, f64::NAN).is_err());
        assert!(Want::within(1.0, 0.5, 1.0).accept(DType::F32, f64::NAN).is_err());
        assert!(Want::within(1.0, f64::NAN, 1.0).accept(DType::F32, 2.0).is_err());
        assert!(Want::within(1.0, 1.0, 1e39).accept(DType::F32, f64::INFINITY).is_ok());
        // Overflow of the store alone is rounding, as IEEE 754 has it.
        assert!(Want::within(7e4, 1.0, 7e4).accept(DType::F16, f64::INFINITY).is_ok());
        assert!(Want::within(6e4, 1.0, 6e4).accept(DType::F16, f64::INFINITY).is_err());
    }

    #[test]
    fn short_sums_have_the_hard_bound_and_long_ones_the_statistical() {
        let model = Model::new(Spread::Normal, Arithmetic::Ieee);
        assert!((model.factor(10) - 10.0 * U).abs() < 1e-10);
        assert!((model.factor(6400) - 640.0 * U).abs() < 1e-10);
        assert!(Model::new(Spread::Equal, Arithmetic::Ieee).factor(6400) > 6400.0 * U);
    }

    #[test]
    fn sums_that_are_cut_have_twice_the_hard_bound_and_only_those() {
        let model = Model::new(Spread::Normal, Arithmetic::TensorCores);
        for dtype in [DType::Bf16, DType::F16] {
            assert!((model.tensor_cores(dtype).factor(6400) / (12800.0 * U) - 1.0).abs() < 1e-3);
        }
        assert_eq!(model.tensor_cores(DType::F32).factor(6400), model.factor(6400));
        let ieee = Model::new(Spread::Normal, Arithmetic::Ieee);
        assert_eq!(ieee.tensor_cores(DType::Bf16).factor(6400), ieee.factor(6400));
    }

    #[test]
    fn subnormal_factors_of_tensor_cores_count_as_the_smallest_normal_number() {
        let model = Model::new(Spread::Normal, Arithmetic::TensorCores);
        let (smallest, subnormal) = (2f64.powi(-14), 2f64.powi(-24));
        assert_eq!(model.raised(DType::F16, [(subnormal, -3.0)].into_iter()), 3.0 * (smallest - subnormal));
        assert_eq!(model.raised(DType::F16, [(smallest, 3.0), (0.0, 3.0), (subnormal, 0.0)].into_iter()), 0.0);
        assert_eq!(model.raised(DType::F32, [(subnormal, 3.0)].into_iter()), 0.0);
        let ieee = Model::new(Spread::Normal, Arithmetic::Ieee);
        assert_eq!(ieee.raised(DType::F16, [(subnormal, 3.0)].into_iter()), 0.0);
    }

    /// A sum as the text above describes it, of whole numbers of units: what is cut is what integer division by 2 cuts.
    #[test]
    fn a_sum_cut_step_by_step_keeps_the_bound() {
        let mut random = fastrand::Rng::with_seed(7);
        for k in [2usize, 3, 5, 8, 16, 100, 1000] {
            let terms: Vec<f64> =
                (0..k).map(|_| (random.f64() - 0.3) * 2f64.powi(random.i32(-8..8))).map(|t| round_to(DType::Bf16, t)).collect();
            let (exact, size) = (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
            let mut sum = 0.0f64;
            for step in terms.chunks(4) {
                let largest = step.iter().fold(sum.abs(), |most, t| most.max(t.abs()));
                let cut = |v: f64, bits: i32, at: f64| {
                    let unit = 2f64.powi(at.log2().floor() as i32 - bits);
                    (v / unit).trunc() * unit
                };
                let aligned = step.iter().fold(cut(sum, 24, largest), |sum, &t| sum + cut(t, 24, largest));
                sum = if aligned == 0.0 { 0.0 } else { cut(aligned, 23, aligned.abs()) };
            }
            let bound = Model::new(Spread::Normal, Arithmetic::TensorCores).tensor_cores(DType::Bf16).sum(k, size);
            assert!((sum - exact).abs() <= bound, "K = {k}: {sum} for {exact}");
        }
    }
}
