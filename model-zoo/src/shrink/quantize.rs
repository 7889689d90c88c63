//! Post-training quantization by rounding to nearest.

use crate::{Error, Result};
use kernels::Weight;
use kernels::weight::{Bits, Quant, QuantScheme, Sparse, SparseValues, Zero};

/// Rounds every weight to the nearest code of its group.
///
/// Symmetric: `scale = max|w| / (2^(b−1) − 1)`, `code = round(w / scale) + 2^(b−1)`. Asymmetric: `scale = (max − min) / (2^b − 1)`
/// over a range that includes 0, `zero_point = round(−min / scale)`, `code = round(w / scale) + zero_point`. So 0 is always
/// represented exactly, and `|w − ŵ| ≤ scale / 2` (asymmetric: up to `scale` at the ends, where the zero point was rounded).
///
/// Source: round-to-nearest as in Dettmers et al., *LLM.int8()* (2022), and the baselines of Frantar et al., *GPTQ* (2022).
///
/// The stored values of a sparse weight become codes of the same scheme, if that is symmetric int8 with one scale per row.
///
/// # Errors
/// `Config` if the weight is neither dense nor sparse, a value is not finite, the group size is 0, or sparse weights have no such
/// scheme.
pub fn quantize(weight: &Weight, scheme: QuantScheme) -> Result<Weight> {
    if let Weight::Sparse(sparse) = weight {
        return quantize_sparse(sparse, scheme);
    }
    let Weight::Dense { n, k, values } = weight else {
        return Err(Error::config("quantize", format!("a dense weight is needed, got {}", weight.format())));
    };
    if scheme.group_size == 0 {
        return Err(Error::config("group_size", "must be at least 1"));
    }
    let (n, k) = (*n, *k);
    let dense = values.to_f32(); // [N, K]
    if let Some(at) = dense.iter().position(|w| !w.is_finite()) {
        return Err(Error::config("quantize", format!("weight [{}, {}] is {}", at / k, at % k, dense[at])));
    }
    let mut codes = vec![0u8; n * scheme.row_bytes(k)];
    let mut scales = Vec::with_capacity(n * scheme.groups(k));
    let mut zero_points = Vec::new();
    for row in 0..n {
        let packed_row = &mut codes[row * scheme.row_bytes(k)..(row + 1) * scheme.row_bytes(k)];
        for (g, group) in dense[row * k..(row + 1) * k].chunks(scheme.group_size).enumerate() {
            let (scale, zero) = fit(group, scheme);
            scales.push(scale);
            if scheme.zero == Zero::Asymmetric {
                zero_points.push(zero);
            }
            for (i, &w) in group.iter().enumerate() {
                let steps = if scale > 0.0 { (w / scale).round_ties_even() } else { 0.0 };
                let code = (steps + f32::from(zero)).clamp(0.0, f32::from(scheme.max_code())) as u8;
                let at = g * scheme.group_size + i;
                match scheme.bits {
                    Bits::Int8 => packed_row[at] = code,
                    Bits::Int4 => packed_row[at / 2] |= code << (4 * (at % 2)),
                }
            }
        }
    }
    Ok(Weight::Quant(Quant::new(n, k, scheme, codes, scales, zero_points)?))
}

fn quantize_sparse(sparse: &Sparse, scheme: QuantScheme) -> Result<Weight> {
    let per_row = QuantScheme::per_channel(Bits::Int8);
    if scheme != per_row {
        return Err(Error::config("quantize", format!("sparse weights are quantized to {per_row} alone, not to {scheme}")));
    }
    let mut ranges = vec![(0f32, 0f32); sparse.n()];
    let mut infinite = None;
    sparse.for_each(|n, k, at| {
        let w = sparse.value(n, at);
        if !w.is_finite() {
            infinite.get_or_insert((n, k, w));
        }
        ranges[n] = (ranges[n].0.min(w), ranges[n].1.max(w));
    });
    if let Some((n, k, w)) = infinite {
        return Err(Error::config("quantize", format!("weight [{n}, {k}] is {w}")));
    }
    let scales: Vec<f32> = ranges.iter().map(|&(low, high)| fit(&[low, high], scheme).0).collect();
    let mut codes = vec![0i8; sparse.values().len()];
    sparse.for_each(|n, _, at| {
        let steps = if scales[n] > 0.0 { (sparse.value(n, at) / scales[n]).round_ties_even() } else { 0.0 };
        codes[at] = steps as i8; // |steps| ≤ 127, or a little more where the scale is subnormal: then it saturates
    });
    let values = SparseValues::Int8 { codes, scales };
    Ok(Weight::Sparse(Sparse::new(sparse.n(), sparse.k(), sparse.pattern().clone(), values)?))
}

/// Scale and zero point of a group.
fn fit(group: &[f32], scheme: QuantScheme) -> (f32, u8) {
    let (low, high) = group.iter().fold((0f32, 0f32), |(low, high), &w| (low.min(w), high.max(w)));
    match scheme.zero {
        Zero::Symmetric => (high.max(-low) / f32::from(scheme.middle() - 1), scheme.middle()),
        Zero::Asymmetric => {
            // The range of two finite extremes may overflow f32.
            let scale = ((f64::from(high) - f64::from(low)) / f64::from(scheme.max_code())) as f32;
            let zero = if scale > 0.0 { (-low / scale).round_ties_even().clamp(0.0, f32::from(scheme.max_code())) } else { 0.0 };
            (scale, zero as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shrink::prune::{Pruning, prune};
    use kernels::weight::{Pattern, Values};
    use proptest::prelude::*;

    fn schemes() -> Vec<QuantScheme> {
        let groups = [1, 7, 32, usize::MAX];
        let all = |bits, zero| groups.map(|group_size| QuantScheme { bits, group_size, zero });
        [
            all(Bits::Int8, Zero::Symmetric),
            all(Bits::Int8, Zero::Asymmetric),
            all(Bits::Int4, Zero::Symmetric),
            all(Bits::Int4, Zero::Asymmetric),
        ]
        .concat()
    }

    proptest! {
        #[test]
        fn every_weight_moves_by_at_most_its_step(
            k in 1usize..80,
            seed in proptest::collection::vec(-10f32..10.0, 160),
        ) {
            let n = 2;
            let dense: Vec<f32> = seed.into_iter().take(n * k).collect();
            let weight = Weight::dense(n, k, Values::F32(dense.clone())).unwrap();
            for scheme in schemes() {
                let Weight::Quant(quant) = quantize(&weight, scheme).unwrap() else { panic!("not quantized") };
                let back = quant.to_f32();
                for (at, (w, q)) in dense.iter().zip(&back).enumerate() {
                    let (scale, _) = quant.group(at / k, at % k / scheme.group_size);
                    let steps = if scheme.zero == Zero::Symmetric { 0.5 } else { 1.0 };
                    // A few roundings of w / scale and of the product beside the step itself.
                    prop_assert!((w - q).abs() <= scale * steps + 20.0 * f32::EPSILON * w.abs().max(scale), "{scheme}: {w} -> {q}");
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zero_and_extremes_are_kept() {
        let weight = Weight::dense(1, 4, Values::F32(vec![0.0, -7.0, 3.5, 7.0])).unwrap();
        for scheme in schemes() {
            assert_eq!(quantize(&weight, scheme).unwrap().to_f32()[0], 0.0, "{scheme}");
        }
        let int4 = quantize(&weight, QuantScheme::per_channel(Bits::Int4)).unwrap();
        assert_eq!(int4.to_f32(), [0.0, -7.0, 4.0, 7.0]);
        assert_eq!(int4.stored_bytes(), 2 + 4);
    }

    #[test]
    fn what_cannot_be_quantized_is_refused() {
        let nan = Weight::dense(1, 2, Values::F32(vec![1.0, f32::NAN])).unwrap();
        assert!(quantize(&nan, QuantScheme::per_channel(Bits::Int8)).is_err());
        let quantized = quantize(&Weight::dense(1, 1, Values::F32(vec![1.0])).unwrap(), QuantScheme::per_channel(Bits::Int8));
        assert!(quantize(&quantized.unwrap(), QuantScheme::per_channel(Bits::Int8)).is_err());
    }

    #[test]
    fn sparse_weights_keep_their_places_and_move_by_half_a_step() {
        let dense: Vec<f32> = (0..5 * 12).map(|i| ((i * 37) % 61) as f32 - 30.0).collect();
        let dense = Weight::dense(5, 12, Values::F32(dense)).unwrap();
        let per_row = QuantScheme::per_channel(Bits::Int8);
        let blocks = Pruning::Blocks { rows: 2, cols: 5, zeros: 0.5 };
        for pruning in [Pruning::Unstructured { zeros: 0.6 }, Pruning::TwoOfFour, blocks] {
            let Weight::Sparse(pruned) = prune(&dense, pruning).unwrap() else { panic!("not sparse") };
            let Weight::Sparse(codes) = quantize(&Weight::Sparse(pruned.clone()), per_row).unwrap() else { panic!("not sparse") };
            assert_eq!(codes.pattern(), pruned.pattern());
            let scales = codes.values().scales().unwrap();
            for (at, (w, q)) in pruned.to_f32().into_iter().zip(codes.to_f32()).enumerate() {
                assert!((w - q).abs() <= 0.501 * scales[at / 12], "{pruning}: {w} -> {q}");
            }
            for scheme in schemes().into_iter().filter(|&scheme| scheme != per_row) {
                assert!(quantize(&Weight::Sparse(pruned.clone()), scheme).is_err(), "{scheme}");
            }
        }
        let pattern = Pattern::Csr { row_ptr: vec![0, 1], col: vec![1] };
        let nan = Sparse::new(1, 2, pattern, Values::F32(vec![f32::NAN])).unwrap();
        assert!(quantize(&Weight::Sparse(nan), per_row).is_err());
    }

    #[test]
    fn the_largest_floats_have_a_finite_scale() {
        let weight = Weight::dense(1, 2, Values::F32(vec![f32::MAX, -f32::MAX])).unwrap();
        for scheme in schemes() {
            assert!(quantize(&weight, scheme).unwrap().to_f32().iter().all(|w| !w.is_nan()), "{scheme}");
        }
    }
}
