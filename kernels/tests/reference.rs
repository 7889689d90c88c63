//! The reference against hand-computed and published values: the specification's own specification.

use kernels::ops::{Act, BinaryOp, Distribution, Mask, ReduceOp, UnaryOp};
use kernels::reference as spec;
use kernels::weight::{Bits, Pattern, Quant, QuantScheme, Sparse, SparseValues, Values, Weight, Zero};

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "element {i}: want {want}, got {got}");
    }
}

#[test]
fn matmul_by_hand() {
    let dims = spec::MatmulDims { batch: 1, m: 2, n: 2, k: 3 };
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
    let mut out = [f64::NAN; 4];
    spec::matmul(dims, &a, &b, 1.0, 0.0, &mut out);
    assert_eq!(out, [58.0, 64.0, 139.0, 154.0]);
    spec::matmul(dims, &a, &b, 2.0, -1.0, &mut out);
    assert_eq!(out, [58.0, 64.0, 139.0, 154.0]);
    let empty = spec::MatmulDims { k: 0, ..dims };
    spec::matmul(empty, &[], &[], 1.0, 3.0, &mut out);
    assert_eq!(out, [174.0, 192.0, 417.0, 462.0]);
    // Nothing is skipped because it would be multiplied by zero.
    let mut out = [0.0];
    spec::matmul(spec::MatmulDims { batch: 1, m: 1, n: 1, k: 1 }, &[f64::INFINITY], &[0.0], 1.0, 0.0, &mut out);
    assert!(out[0].is_nan());
    assert_eq!(spec::wrap_i32(2f64.powi(31)), -(2f64.powi(31)));
    assert_eq!(spec::wrap_i32(-1.0), -1.0);
}

#[test]
fn linear_reads_each_form_of_a_weight() {
    // [[1, 0, 2], [0, -3, 0]] in every form, on the row [1, 10, 100].
    let dense = Weight::dense(2, 3, Values::F32(vec![1.0, 0.0, 2.0, 0.0, -3.0, 0.0])).unwrap();
    let pattern = Pattern::Csr { row_ptr: vec![0, 2, 3], col: vec![0, 2, 1] };
    let csr = Weight::Sparse(Sparse::new(2, 3, pattern, Values::F32(vec![1.0, 2.0, -3.0])).unwrap());
    let pattern = Pattern::TwoOfFour { places: vec![0b1000, 0b0100] };
    let codes = SparseValues::Int8 { codes: vec![2, 4, 0, -12], scales: vec![0.5, 0.25] };
    let pairs = Weight::Sparse(Sparse::new(2, 3, pattern, codes).unwrap());
    let scheme = QuantScheme { bits: Bits::Int4, group_size: 2, zero: Zero::Symmetric };
    // Codes minus 8, low nibble first: rows (2, 0 | 2 pad) · (½, 1) and (0, -3 | 0 pad) · (1, 1).
    let quant = Quant::new(2, 3, scheme, vec![0x8A, 0x8A, 0x58, 0x88], vec![0.5, 1.0, 1.0, 1.0], vec![]).unwrap();
    for weight in [dense, csr, pairs, Weight::Quant(quant)] {
        let mut out = [0.0; 2];
        spec::linear(&[1.0, 10.0, 100.0], 3, &spec::stored(&weight), Some(&[0.5, 0.25]), &mut out);
        assert_eq!(out, [201.5, -29.75], "{}", weight.format());
    }
    // What is not stored contributes nothing, even to infinity.
    let pattern = Pattern::Csr { row_ptr: vec![0, 1], col: vec![0] };
    let one = Weight::Sparse(Sparse::new(1, 2, pattern, Values::F32(vec![2.0])).unwrap());
    let mut out = [0.0];
    spec::linear(&[1.0, f64::INFINITY], 2, &spec::stored(&one), None, &mut out);
    assert_eq!(out, [2.0]);
    close(&[spec::activate(Act::Relu, -1.0), spec::activate(Act::None, -1.0)], &[0.0, -1.0]);
}

#[test]
fn functions_of_one_element_at_known_points() {
    // erf: Abramowitz, Stegun, table 7.1; erfc(5): OEIS-quality value 1.5374597944280348502e-12.
    close(
        &[spec::erf(0.5), spec::erf(1.0), spec::erf(2.0), spec::erf(-1.0)],
        &[0.520_499_877_813_046_5, 0.842_700_792_949_714_9, 0.995_322_265_018_952_7, -0.842_700_792_949_714_9],
    );
    assert!((spec::erfc(5.0) / 1.537_459_794_428_034_8e-12 - 1.0).abs() < 1e-12);
    assert!((spec::erfc(2.5) / 4.069_520_174_449_589e-4 - 1.0).abs() < 1e-11);
    // gelu(1) = Φ(1); the tanh form of GPT-2 at 1; silu(1) = 1/(1 + 1/e).
    close(
        &[spec::unary(UnaryOp::GeluErf, 1.0), spec::unary(UnaryOp::Gelu, 1.0), spec::unary(UnaryOp::Silu, 1.0)],
        &[0.841_344_746_068_542_9, 0.841_191_990_608_305_3, 0.731_058_578_630_004_9],
    );
    assert!(spec::unary(UnaryOp::Relu, f64::NAN).is_nan());
    assert!(spec::unary(UnaryOp::Relu, -0.0).is_sign_positive());
    assert!(spec::unary(UnaryOp::Sqrt, -1.0).is_nan());
    assert_eq!(spec::unary_derivative(UnaryOp::Abs, 0.0), 0.0);
    assert_eq!(spec::unary_derivative(UnaryOp::Relu, 0.0), 0.0);
    assert!(spec::binary(BinaryOp::Max, 1.0, f64::NAN).is_nan());
    assert!(spec::binary(BinaryOp::Min, f64::NAN, 1.0).is_nan());
}

#[test]
fn attention_by_hand() {
    let dims = spec::AttentionDims {
        batch: 1,
        seq_q: 2,
        seq_k: 3,
        heads: 1,
        kv_heads: 1,
        head_dim: 1,
        mask: Mask::Causal,
        scale: 1.0,
        lengths: None,
    };
    // Scores of query 0 with the keys it sees: 0, ln 2; of query 1: 0, ln 2, ln 5.
    let (k, v) = ([0.0, 2f64.ln(), 5f64.ln()], [1.0, 10.0, 100.0]);
    let (mut out, mut lse) = ([0.0; 2], [0.0; 2]);
    spec::attention(&dims, &[1.0, 1.0], &k, &v, &mut out, &mut lse);
    close(&out, &[21.0 / 3.0, 521.0 / 8.0]);
    close(&lse, &[3f64.ln(), 8f64.ln()]);
    // More queries than keys under the causal mask: the first sees none.
    let dims = spec::AttentionDims { seq_k: 1, ..dims };
    spec::attention(&dims, &[1.0, 1.0], &k[..1], &v[..1], &mut out, &mut lse);
    assert_eq!((out, lse), ([0.0, 1.0], [f64::NEG_INFINITY, 0.0]));
    let dims = spec::AttentionDims { lengths: Some(vec![0]), ..dims };
    spec::attention(&dims, &[1.0, 1.0], &k[..1], &[f64::NAN], &mut out, &mut lse);
    assert_eq!((out, lse), ([0.0; 2], [f64::NEG_INFINITY; 2]));
}

#[test]
fn rows_by_hand() {
    let mut row = [0.0, 3f64.ln()];
    close(&[spec::softmax_row(&mut row)], &[4f64.ln()]);
    close(&row, &[0.25, 0.75]);
    let mut masked = [f64::NEG_INFINITY; 2];
    assert_eq!(spec::softmax_row(&mut masked), f64::NEG_INFINITY);
    assert_eq!(masked, [0.0; 2]);
    let mut out = [0.0; 4];
    let (mean, rstd) = spec::layer_norm_row(&[1.0, 2.0, 3.0, 4.0], &[1.0; 4], None, 0.0, &mut out);
    close(&[mean, rstd], &[2.5, 1.25f64.sqrt().recip()]);
    close(&out, &[-1.5, -0.5, 0.5, 1.5].map(|x| x / 1.25f64.sqrt()));
    close(&[spec::rms_norm_row(&[3.0, 4.0], &[1.0, 2.0], 0.0, &mut out[..2])], &[12.5f64.sqrt().recip()]);
    close(&out[..2], &[3.0 / 12.5f64.sqrt(), 8.0 / 12.5f64.sqrt()]);
    // −log of probability ¼ and of ¾, and their mean by a distribution.
    let logits = [0.0, 3f64.ln()];
    let loss = |target| spec::cross_entropy_row(&logits, target, 1.0).0;
    close(
        &[
            loss(spec::TargetRow::Class(Some(0))),
            loss(spec::TargetRow::Class(Some(1))),
            loss(spec::TargetRow::Class(None)),
            loss(spec::TargetRow::Distribution(&[0.5, 0.5])),
        ],
        &[4f64.ln(), (4f64 / 3.0).ln(), 0.0, 0.5 * (16f64 / 3.0).ln()],
    );
    assert_eq!(spec::reduce(ReduceOp::Sum, [].into_iter()), 0.0);
    assert!(spec::reduce(ReduceOp::Mean, [].into_iter()).is_nan());
    assert_eq!(spec::reduce(ReduceOp::Max, [].into_iter()), f64::NEG_INFINITY);
    assert!(spec::reduce(ReduceOp::Max, [1.0, f64::NAN, 2.0].into_iter()).is_nan());
    let mut codes = [0.0; 3];
    close(&[spec::quantize_row(&[-2.54, 1.0, 0.03], &mut codes)], &[0.02]);
    assert_eq!(codes, [-127.0, 50.0, 2.0]);
    assert!(spec::quantize_row(&[1.0, f64::INFINITY, 0.0], &mut codes).is_nan());
    assert_eq!(codes, [0.0; 3]);
}

#[test]
fn optimizers_by_hand() {
    // First AdamW step: m̂ = g, v̂ = g², so that the update is lr·sign(g), whatever β.
    let rates = spec::AdamWRates { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 0.0, weight_decay: 0.5, l1: 0.0, step: 1 };
    let (mut p, mut m, mut v) = (2.0, 0.0, 0.0);
    spec::adamw(rates, -3.0, &mut p, &mut m, &mut v);
    close(&[p, m, v], &[2.0 + 0.1 - 0.1 * 0.5 * 2.0, -0.3, 0.009]);
    // Two steps of heavy momentum: v = g, then 0.5·g + g.
    let rates = spec::SgdRates { lr: 1.0, momentum: 0.5, form: kernels::ops::Momentum::Heavy, l2: 0.0, l1: 0.0 };
    let (mut p, mut velocity) = (0.0, 0.0);
    spec::sgd(rates, 1.0, &mut p, Some(&mut velocity));
    spec::sgd(rates, 1.0, &mut p, Some(&mut velocity));
    assert_eq!((p, velocity), (-2.5, 1.5));
    let mut grads = [vec![3.0], vec![4.0]];
    assert_eq!(spec::clip_norm(&mut grads, 1.0), 5.0);
    close(&grads.concat(), &[0.6, 0.8]);
    let mut grads = [vec![f64::NAN, 4.0]];
    assert!(spec::clip_norm(&mut grads, 1.0).is_nan());
    assert_eq!(grads[0][1], 4.0);
}

#[test]
fn philox_gives_the_published_words() {
    // Known answers of Random123 1.14, file kat_vectors, philox4x32 with 10 rounds.
    assert_eq!(spec::philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(spec::philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    assert_eq!(
        spec::philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

#[test]
fn random_numbers_have_their_moments() {
    let normal = spec::random(3, 1, Distribution::Normal { mean: 1.0, std: 2.0 }, 100_000);
    let mean = normal.iter().sum::<f64>() / 1e5;
    let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
    // Five standard errors: 2/√n and 4·√(2/n).
    assert!((mean - 1.0).abs() < 0.032 && (variance - 4.0).abs() < 0.09, "{mean} {variance}");
    let uniform = spec::random(3, 2, Distribution::Uniform { low: -1.0, high: 3.0 }, 100_000);
    assert!(uniform.iter().all(|x| (-1.0..3.0).contains(x)));
    assert!((uniform.iter().sum::<f64>() / 1e5 - 1.0).abs() < 0.019);
    assert_ne!(uniform[..8], spec::random(4, 2, Distribution::Uniform { low: -1.0, high: 3.0 }, 8)[..]);
}
