//! Gradients against differences of the forward op, and what a tape must refuse.
//!
//! The five-point difference (8·(f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h is within h⁴/30·|f⁽⁵⁾| of the derivative, and the rounding
//! of f adds at most 1.5·δ/h, where δ is the error of f in f32. With h = 2⁻⁵, |f⁽⁵⁾| up to a few hundred and δ about 2⁻²² of the
//! outputs, both stay below 2·10⁻⁵ of the largest output or derivative here; `TOLERANCE` is ten times that. Inputs are multiples
//! of 2⁻⁸, so that the steps are exact.

use kernels::ops::{Act, BinaryOp, Mask, Pairing, ReduceOp, UnaryOp};
use kernels::weight::Values;
use kernels::{Backend, Buffer, DType, Op, Weight};
use kernels_cpu::CpuBackend;
use model_zoo::autograd::{Error, Result, Tape, Target, Var};
use model_zoo::random::Random;
use std::sync::Arc;

const H: f32 = 1.0 / 32.0;
const TOLERANCE: f64 = 2e-4;

fn cpu() -> Arc<dyn Backend> {
    Arc::new(CpuBackend::new().unwrap())
}

/// `count` multiples of 2⁻⁸ in [low, high).
fn numbers(seed: u64, count: usize, low: f64, high: f64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| ((low + (high - low) * random.unit()) * 256.0).floor() as f32 / 256.0).collect()
}

fn buffer(on: &Arc<dyn Backend>, values: &[f32]) -> Arc<Buffer> {
    let mut buffer = on.alloc(DType::F32, values.len()).unwrap();
    kernels::ops::Upload::new(values, buffer.view_mut([values.len()]).unwrap()).run(&**on).unwrap();
    Arc::new(buffer)
}

struct Input {
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn input(shape: &[usize], low: f64, high: f64) -> Input {
    let count = shape.iter().product();
    Input { shape: shape.to_vec(), values: numbers(count as u64 + 17 * shape.len() as u64, count, low, high) }
}

fn signed(shape: &[usize]) -> Input {
    input(shape, -1.0, 1.0)
}

/// Compares the gradient of Σ cᵢ·outᵢ for each input with differences.
fn check(name: &str, inputs: &[Input], f: impl Fn(&mut Tape, &[Var]) -> Result<Var>) {
    let on = cpu();
    let shape = |input: &Input| kernels::Shape::new(&input.shape).unwrap();
    let run = |values: &[Vec<f32>]| -> Vec<f32> {
        let mut tape = Tape::inference(Arc::clone(&on));
        let vars: Vec<Var> = inputs.iter().zip(values).map(|(i, v)| tape.constant(&buffer(&on, v), shape(i)).unwrap()).collect();
        let out = f(&mut tape, &vars).unwrap();
        assert!(!out.needs_gradient());
        tape.download(&out).unwrap()
    };
    let mut tape = Tape::new(Arc::clone(&on));
    let leaves: Vec<Var> = inputs.iter().map(|i| tape.leaf(&buffer(&on, &i.values), shape(i)).unwrap()).collect();
    let out = f(&mut tape, &leaves).unwrap();
    let count = out.layout().numel();
    let weights = numbers(99, count, 0.25, 1.75);
    let constant = tape.upload(&weights, *out.shape()).unwrap();
    let weighted = tape.mul(&out, &constant).unwrap();
    let weighted = tape.reshape(&weighted, [count]).unwrap();
    let loss = tape.reduce(ReduceOp::Sum, &weighted, 0).unwrap();
    let gradients = tape.backward(&loss).unwrap();

    let base: Vec<Vec<f32>> = inputs.iter().map(|input| input.values.clone()).collect();
    let sum = |values: &[Vec<f32>]| -> f64 {
        run(values).iter().zip(&weights).map(|(&out, &weight)| f64::from(out) * f64::from(weight)).sum()
    };
    let scale = run(&base).iter().fold(1f64, |largest, out| largest.max(f64::from(out.abs())));
    for (which, leaf) in leaves.iter().enumerate() {
        let mut got = vec![0f32; base[which].len()];
        let gradient = gradients.get(leaf).unwrap_or_else(|| panic!("{name}: no gradient of input {which}"));
        kernels::ops::Download::new(gradient.view().unwrap(), &mut got).run(&*on).unwrap();
        for at in 0..got.len() {
            let shifted = |steps: f32| {
                let mut values = base.clone();
                values[which][at] += steps * H;
                sum(&values)
            };
            let wanted = (8.0 * (shifted(1.0) - shifted(-1.0)) - (shifted(2.0) - shifted(-2.0))) / (12.0 * f64::from(H));
            let error = (f64::from(got[at]) - wanted).abs();
            assert!(error <= TOLERANCE * scale.max(wanted.abs()), "{name}: input {which}[{at}]: {} instead of {wanted}", got[at]);
        }
    }
}

#[test]
fn matmul() {
    check("matmul", &[signed(&[2, 3, 4]), signed(&[2, 4, 5])], |tape, x| tape.matmul(&x[0], &x[1]));
    check("transposed", &[signed(&[4, 3]), signed(&[5, 4])], |tape, x| {
        let (a, b) = (tape.transpose(&x[0], 0, 1)?, tape.transpose(&x[1], 0, 1)?);
        tape.matmul(&a, &b)
    });
    check("squared", &[signed(&[3, 3])], |tape, x| tape.matmul(&x[0], &x[0]));
}

#[test]
fn linear_with_every_activation() {
    for act in [Act::None, Act::Gelu, Act::GeluErf, Act::Silu] {
        let inputs = [signed(&[2, 3, 4]), signed(&[5, 4]), signed(&[5])];
        check("linear", &inputs, |tape, x| tape.linear(&x[0], &x[1], Some(&x[2]), act));
    }
    // All arguments of relu are well above 0.
    let inputs = [input(&[3, 4], 0.5, 1.0), input(&[2, 4], 0.5, 1.0)];
    check("relu", &inputs, |tape, x| tape.linear(&x[0], &x[1], None, Act::Relu));
    check("constant weight", &[signed(&[3, 4])], |tape, x| {
        let w = tape.upload(&[0.5f32, -1.0, 2.0, 0.25, 1.0, 1.5, -0.5, 0.75], [2, 4])?;
        tape.linear(&x[0], &w, None, Act::None)
    });
}

#[test]
fn attention_masked_grouped_and_padded() {
    let inputs = || [signed(&[2, 3, 4, 4]), signed(&[2, 5, 2, 4]), input(&[2, 5, 2, 4], 0.0, 2.0)];
    for mask in [Mask::None, Mask::Causal] {
        check("attention", &inputs(), |tape, x| tape.attention(&x[0], &x[1], &x[2], None, mask, 0.5));
        check("padded", &inputs(), |tape, x| {
            let lengths = tape.upload(&[4u32, 2], [2])?;
            tape.attention(&x[0], &x[1], &x[2], Some(&lengths), mask, 0.5)
        });
    }
}

#[test]
fn rope_both_pairings() {
    for pairing in [Pairing::Halves, Pairing::Interleaved] {
        check("rope", &[signed(&[2, 3, 2, 4])], |tape, x| tape.rope(&x[0], 3, 100.0, pairing));
    }
}

#[test]
fn norms_and_softmax() {
    let inputs = || [input(&[3, 5], 1.0, 3.0), signed(&[5]), signed(&[5])];
    check("layer_norm", &inputs(), |tape, x| tape.layer_norm(&x[0], &x[1], Some(&x[2]), 0.5));
    check("without bias", &inputs()[..2], |tape, x| tape.layer_norm(&x[0], &x[1], None, 0.5));
    check("rms_norm", &inputs()[..2], |tape, x| tape.rms_norm(&x[0], &x[1], 0.5));
    check("softmax", &[signed(&[2, 3, 4])], |tape, x| tape.softmax(&x[0]));
}

#[test]
fn unary_functions() {
    let smooth = [
        UnaryOp::Neg,
        UnaryOp::Square,
        UnaryOp::Exp,
        UnaryOp::Tanh,
        UnaryOp::Sigmoid,
        UnaryOp::Gelu,
        UnaryOp::GeluErf,
        UnaryOp::Silu,
        UnaryOp::Affine { scale: -1.5, shift: 0.5 },
    ];
    for op in smooth {
        check(&format!("{op:?}"), &[signed(&[3, 4])], |tape, x| tape.unary(op, &x[0]));
    }
    for op in [UnaryOp::Sqrt, UnaryOp::Rsqrt, UnaryOp::Recip, UnaryOp::Log, UnaryOp::Abs, UnaryOp::Relu] {
        check(&format!("{op:?}"), &[input(&[3, 4], 1.0, 2.0)], |tape, x| tape.unary(op, &x[0]));
    }
    check("scale", &[signed(&[3])], |tape, x| tape.scale(&x[0], -2.5));
}

#[test]
fn binary_functions_broadcast() {
    for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div] {
        for (a, b) in [(&[2, 3, 4][..], &[2, 3, 4][..]), (&[2, 3, 4], &[4]), (&[3, 1], &[2, 1, 4]), (&[1], &[2, 3])] {
            check(&format!("{op:?}"), &[signed(a), input(b, 1.0, 2.0)], |tape, x| tape.binary(op, &x[0], &x[1]));
        }
    }
    // Far from equal, in either order.
    for op in [BinaryOp::Max, BinaryOp::Min] {
        check(&format!("{op:?}"), &[input(&[3, 2], 0.0, 1.0), input(&[2], 2.0, 3.0)], |tape, x| {
            let left = tape.binary(op, &x[0], &x[1])?;
            let right = tape.binary(op, &x[1], &x[0])?;
            tape.mul(&left, &right)
        });
    }
}

#[test]
fn reductions_gather_and_views() {
    for axis in 0..3 {
        for op in [ReduceOp::Sum, ReduceOp::Mean] {
            check("reduce", &[signed(&[2, 3, 4])], |tape, x| tape.reduce(op, &x[0], axis));
        }
    }
    check("gather", &[signed(&[4, 3])], |tape, x| {
        let index = tape.upload(&[2u32, 0, 2, 3, 2], [5])?;
        tape.gather(&x[0], &index)
    });
    check("views", &[signed(&[2, 3, 4])], |tape, x| {
        let turned = tape.permute(&x[0], &[2, 0, 1])?; // [4, 2, 3]
        let part = tape.narrow(&turned, 0, 1, 2)?; // [2, 2, 3]
        let flat = tape.contiguous(&part)?;
        let flat = tape.reshape(&flat, [4, 3])?;
        let other = tape.narrow(&x[0], 1, 0, 2)?; // [2, 2, 4]
        let other = tape.reshape(&other, [2, 2, 2, 2])?;
        let other = tape.contiguous(&other)?;
        let other = tape.reshape(&other, [4, 4])?;
        let other = tape.transpose(&other, 0, 1)?;
        tape.matmul(&other, &flat)
    });
}

#[test]
fn a_variable_used_often_gets_the_sum() {
    check("sum", &[signed(&[2, 6]), signed(&[2, 2])], |tape, x| {
        let parts = [tape.narrow(&x[0], 1, 0, 2)?, tape.narrow(&x[0], 1, 2, 2)?, tape.narrow(&x[0], 1, 3, 2)?];
        let product = tape.mul(&parts[0], &parts[1])?;
        let sum = tape.add(&product, &parts[2])?;
        let sum = tape.add(&sum, &x[1])?;
        let twice = tape.add(&sum, &sum)?;
        let square = tape.unary(UnaryOp::Square, &x[1])?;
        tape.mul(&twice, &square)
    });
}

#[test]
fn cross_entropy_of_classes_and_distributions() {
    check("classes", &[signed(&[3, 5])], |tape, x| {
        let class = tape.upload(&[4u32, u32::MAX, 0], [3])?;
        tape.cross_entropy(&x[0], Target::Class(&class), 1.0)
    });
    let teacher: Vec<f32> = numbers(5, 15, 0.0, 0.5);
    check("distributions", &[signed(&[3, 5])], |tape, x| {
        let target = tape.upload(&teacher, [3, 5])?;
        let rows = tape.cross_entropy(&x[0], Target::Distribution(&target), 0.5)?;
        let weights = tape.upload(&[0.5f32, 2.0, 1.0], [3])?;
        let rows = tape.mul(&rows, &weights)?;
        tape.mean(&rows)
    });
}

#[test]
fn a_cast_parameter_gets_its_gradient_in_f32() {
    let on = cpu();
    let mut tape = Tape::new(Arc::clone(&on));
    let leaf = tape.leaf(&buffer(&on, &[1.0, 2.0, 3.0]), [3]).unwrap();
    let narrow = tape.cast(&leaf, DType::Bf16).unwrap();
    assert_eq!(narrow.dtype(), DType::Bf16);
    let squared = tape.unary(UnaryOp::Square, &narrow).unwrap();
    let loss = tape.mean(&squared).unwrap();
    let gradients = tape.backward(&loss).unwrap();
    let gradient = gradients.get(&leaf).unwrap();
    let mut got = [0f32; 3];
    kernels::ops::Download::new(gradient.view().unwrap(), &mut got).run(&*on).unwrap();
    for (got, wanted) in got.iter().zip([2.0 / 3.0, 4.0 / 3.0, 2.0]) {
        assert!((got - wanted).abs() <= 4.0 * wanted / 256.0, "{got} instead of {wanted}"); // four roundings to bf16
    }
}

#[test]
fn what_has_no_gradient_is_refused() {
    let on = cpu();
    let mut tape = Tape::new(Arc::clone(&on));
    let x = tape.leaf(&buffer(&on, &[1.0; 8]), [2, 4]).unwrap();
    let packed = on.pack(&Weight::dense(3, 4, Values::F32(vec![1.0; 12])).unwrap()).unwrap();
    let refused = |result: Result<Var>| matches!(result, Err(Error::NotDifferentiable { .. }));
    assert!(refused(tape.linear(&x, &packed, None, Act::None)));
    assert!(refused(tape.reduce(ReduceOp::Max, &x, 1)));
    assert!(tape.linear(&x.detach(), &packed, None, Act::Gelu).is_ok());
    let target = tape.leaf(&buffer(&on, &[0.5; 8]), [2, 4]).unwrap();
    assert!(refused(tape.cross_entropy(&x, Target::Distribution(&target), 1.0)));

    assert!(matches!(tape.backward(&x), Err(Error::Loss { .. }))); // not one element
    assert!(matches!(tape.unary(UnaryOp::Exp, &x), Err(Error::Stale { .. }))); // of the step that has ended
    let constant = tape.full(1.0, DType::F32, [1]).unwrap();
    assert!(matches!(tape.backward(&constant), Err(Error::Loss { .. }))); // depends on nothing
    let a = tape.leaf(&buffer(&on, &[1.0; 2]), [2]).unwrap();
    let b = tape.leaf(&buffer(&on, &[1.0; 3]), [3]).unwrap();
    assert!(matches!(tape.add(&a, &b), Err(Error::Kernel(kernels::Error::Shape { .. }))));
}

#[test]
fn a_leaf_the_loss_does_not_depend_on_gets_no_gradient() {
    let on = cpu();
    let mut tape = Tape::new(Arc::clone(&on));
    let (used, unused) = (buffer(&on, &[1.0]), buffer(&on, &[1.0]));
    let (used, unused) = (tape.leaf(&used, [1]).unwrap(), tape.leaf(&unused, [1]).unwrap());
    let loss = tape.unary(UnaryOp::Exp, &used).unwrap();
    let gradients = tape.backward(&loss).unwrap();
    assert!(gradients.get(&used).is_some() && gradients.get(&unused).is_none());
    assert_eq!(gradients.iter().len(), 1);
}

#[test]
fn the_second_step_allocates_nothing_on_the_device() {
    let on = cpu();
    let mut tape = Tape::new(Arc::clone(&on));
    let weights = [buffer(&on, &numbers(1, 32, -1.0, 1.0)), buffer(&on, &numbers(2, 32, -1.0, 1.0))];
    let mut step = || {
        let w = [tape.leaf(&weights[0], [8, 4]).unwrap(), tape.leaf(&weights[1], [4, 8]).unwrap()];
        let x = tape.upload(&numbers(3, 20, -1.0, 1.0), [5, 4]).unwrap();
        let hidden = tape.linear(&x, &w[0], None, Act::Gelu).unwrap();
        let out = tape.linear(&hidden, &w[1], None, Act::None).unwrap();
        let out = tape.add(&out, &x).unwrap();
        let class = tape.upload(&[0u32, 1, 2, 3, 0], [5]).unwrap();
        let rows = tape.cross_entropy(&out, Target::Class(&class), 1.0).unwrap();
        let loss = tape.mean(&rows).unwrap();
        let gradients = tape.backward(&loss).unwrap();
        tape.recycle(gradients);
        tape.download::<f32>(&loss).unwrap()[0]
    };
    let first = step();
    step();
    let before = on.memory_stats().allocations;
    assert_eq!(step(), first);
    assert_eq!(on.memory_stats().allocations, before);
}
