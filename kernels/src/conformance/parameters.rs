//! Negative twins of parameters and data: values out of range, indices out of range, sizes that contradict each other.

use super::Device;
use super::twins::Wanted;
use crate::ops::*;
use crate::weight::Values;
use crate::{Buffer, DType, Op, Result, Weight};

/// Small operands that fit every op below.
struct Bench<'a> {
    on: &'a Device,
    a: Buffer,
    b: Buffer,
    c: Buffer,
    outs: [Buffer; 4],
    index: Buffer,
}

impl<'a> Bench<'a> {
    fn new(on: &'a Device) -> Result<Self> {
        let float = || -> Result<Buffer> {
            let mut buffer = on.alloc(DType::F32, 64)?;
            Upload::new(&[0.5f32; 64], buffer.view_mut([64])?).run(on)?;
            Ok(buffer)
        };
        let mut index = on.alloc(DType::U32, 4)?;
        Upload::new(&[0u32, 1, 7, 1], index.view_mut([4])?).run(on)?;
        Ok(Bench { on, a: float()?, b: float()?, c: float()?, outs: [float()?, float()?, float()?, float()?], index })
    }
}

type Trial = (&'static str, Wanted, Result<()>);

/// Breaks each rule about parameters and data of an op.
///
/// # Errors
/// The first twin that ran or gave another error.
pub fn parameters(on: &Device, op: &str) -> std::result::Result<(), String> {
    let trials = trials(on, op).map_err(|e| format!("{op}: {e}"))?;
    for (breaks, wanted, got) in trials {
        wanted.check(op, breaks, got)?;
    }
    Ok(())
}

fn trials(on: &Device, op: &str) -> Result<Vec<Trial>> {
    use Wanted::{Index, Layout, Limit, Shape, Value};
    let mut bench = Bench::new(on)?;
    let Bench { on, a, b, c, outs: [out, out2, out3, out4], index } = &mut bench;
    let on = *on;
    let mut trials: Vec<Trial> = Vec::new();
    let mut add = |breaks, wanted, got| trials.push((breaks, wanted, got));
    match op {
        "matmul" => {
            for (breaks, arg, alpha, beta) in [("alpha NaN", "alpha", f32::NAN, 0.0), ("beta ∞", "beta", 1.0, f32::INFINITY)] {
                let call = Matmul { a: a.view([2, 3])?, b: b.view([3, 4])?, alpha, beta, out: out.view_mut([2, 4])? };
                add(breaks, Value(arg), call.run(on));
            }
            add("K ≠ K", Shape("b"), Matmul::new(a.view([2, 3])?, b.view([4, 4])?, out.view_mut([2, 4])?).run(on));
            add("M ≠ M", Shape("out"), Matmul::new(a.view([2, 3])?, b.view([3, 4])?, out.view_mut([3, 4])?).run(on));
            add("one dimension", Shape("a"), Matmul::new(a.view([3])?, b.view([3, 4])?, out.view_mut([2, 4])?).run(on));
            let (x, mut y) = (on.alloc(DType::I8, 12)?, on.alloc(DType::I32, 8)?);
            for (breaks, arg, alpha, beta) in
                [("alpha 2 for integers", "alpha", 2.0, 0.0), ("beta ½ for integers", "beta", 1.0, 0.5)]
            {
                let call = Matmul { a: x.view([2, 3])?, b: x.view([3, 4])?, alpha, beta, out: y.view_mut([2, 4])? };
                add(breaks, Value(arg), call.run(on));
            }
        }
        "linear" => {
            let weight = crate::WeightRef::Dense(b.view([4, 5])?);
            let call = Linear { x: a.view([2, 3])?, weight, bias: None, act: Act::None, out: out.view_mut([2, 4])? };
            add("K ≠ K", Shape("x"), call.run(on));
        }
        "linear_int8" => {
            let (x, k) = (on.alloc(DType::I8, 1 << 17)?, (1 << 16) + 1);
            let dense = |n, k| Weight::dense(n, k, Values::F32(vec![0.0; n * k])).and_then(|weight| on.pack(&weight));
            let call = |x, k, weight: &crate::Packed, out: &mut Buffer| -> Result<()> {
                let x: &Buffer = x;
                let (x, x_scale, out) = (x.view([1, k])?, a.view([1])?, out.view_mut([1, 1])?);
                LinearInt8 { x, x_scale, weight, bias: None, act: Act::None, out }.run(on)
            };
            let weight = dense(1, 8)?;
            add("a dense weight", Value("weight"), call(&x, 8, &weight, out));
            add("K ≠ K", Shape("x"), call(&x, 9, &weight, out));
            add("K > 65,536", Limit, call(&x, k, &dense(1, k)?, out));
        }
        "attention" | "attention_backward" => {
            for (breaks, wanted, kv_heads, scale) in [
                ("scale NaN", Value("scale"), 2, f32::NAN),
                ("heads no multiple", Shape("k"), 3, 1.0),
                ("no key heads", Shape("k"), 0, 1.0),
            ] {
                let (q, k, v) = (a.view([1, 2, 4, 2])?, b.view([1, 2, kv_heads, 2])?, b.view([1, 2, kv_heads, 2])?);
                let got = if op == "attention" {
                    let out = out.view_mut([1, 2, 4, 2])?;
                    Attention { q, k, v, lengths: None, mask: Mask::None, scale, out, lse: None }.run(on)
                } else {
                    let (lse, dout, o) = (c.view([1, 4, 2])?, c.view([1, 2, 4, 2])?, c.view([1, 2, 4, 2])?);
                    let (dq, dk, dv) =
                        (out.view_mut([1, 2, 4, 2])?, out2.view_mut([1, 2, kv_heads, 2])?, out3.view_mut([1, 2, kv_heads, 2])?);
                    let (lengths, mask) = (None, Mask::None);
                    AttentionBackward { q, k, v, lengths, mask, scale, out: o, lse, dout, dq, dk, dv }.run(on)
                };
                add(breaks, wanted, got);
            }
        }
        "rope" => {
            for (breaks, wanted, d, theta, position) in [
                ("D odd", Shape("x"), 3, 1e4, 0),
                ("theta 0", Value("theta"), 4, 0.0, 0),
                ("theta NaN", Value("theta"), 4, f32::NAN, 0),
                ("a position beyond 2³²", Value("position"), 4, 1e4, 1usize << 32),
                ("a position that overflows", Value("position"), 4, 1e4, usize::MAX),
            ] {
                let (x, out) = (a.view([1, 2, 1, d])?, out.view_mut([1, 2, 1, d])?);
                let (pairing, direction) = (Pairing::Halves, Direction::Forward);
                add(breaks, wanted, Rope { x, position, theta, pairing, direction, out }.run(on));
            }
        }
        "layer_norm" | "rms_norm" => {
            for (breaks, eps) in [("eps < 0", -1e-5), ("eps NaN", f32::NAN), ("eps ∞", f32::INFINITY)] {
                let (x, weight, out) = (a.view([2, 4])?, b.view([4])?, out.view_mut([2, 4])?);
                let got = match op {
                    "layer_norm" => LayerNorm { x, weight, bias: None, eps, out, mean: None, rstd: None }.run(on),
                    _ => RmsNorm { x, weight, eps, out, rstd: None }.run(on),
                };
                add(breaks, Value("eps"), got);
            }
        }
        "unary" | "unary_backward" => {
            for (breaks, arg, scale, shift) in [("scale NaN", "scale", f32::NAN, 0.0), ("shift ∞", "shift", 1.0, f32::INFINITY)]
            {
                let (x, act) = (a.view([4])?, UnaryOp::Affine { scale, shift });
                let got = match op {
                    "unary" => Unary { op: act, x, out: out.view_mut([4])? }.run(on),
                    _ => UnaryBackward { op: act, x, dout: b.view([4])?, dx: out.view_mut([4])? }.run(on),
                };
                add(breaks, Value(arg), got);
            }
        }
        "axpy" => {
            add("alpha NaN", Value("alpha"), Axpy { alpha: f32::NAN, x: a.view([4])?, out: out.view_mut([4])? }.run(on));
        }
        "reduce" => {
            let call = Reduce { op: ReduceOp::Sum, x: a.view([2, 3])?, axis: 2, out: out.view_mut([2, 1])? };
            add("axis 2 of 2", Value("axis"), call.run(on));
            let call = Reduce { op: ReduceOp::Sum, x: a.view([2, 3])?, axis: 1, out: out.view_mut([2, 3])? };
            add("an unreduced output", Shape("out"), call.run(on));
        }
        "upload" => add("3 elements for 4", Shape("out"), Upload::new(&[0f32; 3], out.view_mut([4])?).run(on)),
        "download" => add("4 elements for 3", Shape("x"), Download::new(a.view([4])?, &mut [0f32; 3]).run(on)),
        "random" => {
            let uniform = |low, high| Distribution::Uniform { low, high };
            let normal = |mean, std| Distribution::Normal { mean, std };
            for (breaks, arg, distribution) in [
                ("low NaN", "low", uniform(f32::NAN, 1.0)),
                ("high ∞", "high", uniform(0.0, f32::INFINITY)),
                ("high < low", "high", uniform(1.0, 0.0)),
                ("mean ∞", "mean", normal(f32::INFINITY, 1.0)),
                ("std < 0", "std", normal(0.0, -1.0)),
                ("std NaN", "std", normal(0.0, f32::NAN)),
            ] {
                add(breaks, Value(arg), Random { seed: 0, stream: 0, distribution, out: out.view_mut([4])? }.run(on));
            }
        }
        "sgd" => {
            for (breaks, arg, at, rate) in [
                ("lr < 0", "lr", 0, -1.0),
                ("momentum NaN", "momentum", 1, f32::NAN),
                ("l2 ∞", "l2", 2, f32::INFINITY),
                ("l1 < 0", "l1", 3, -1.0),
            ] {
                let mut rates = [0.1f32; 4];
                rates[at] = rate;
                let [lr, momentum, l2, l1] = rates;
                let (param, grad) = (out.view_mut([4])?, a.view([4])?);
                add(breaks, Value(arg), Sgd { param, grad, velocity: None, lr, momentum, form: Momentum::Heavy, l2, l1 }.run(on));
            }
        }
        "adamw" => {
            let names = ["lr", "beta1", "beta2", "eps", "weight_decay", "l1"];
            let mut bad: Vec<(&'static str, usize, f32, u32)> =
                names.iter().enumerate().map(|(i, &arg)| (arg, i, -0.5, 1)).collect();
            bad.extend([("beta1", 1, 1.0, 1), ("beta2", 2, 1.0, 1), ("lr", 0, f32::NAN, 1), ("step", 0, 0.1, 0)]);
            for (arg, at, rate, step) in bad {
                let mut rates = [0.1f32; 6];
                rates[at] = rate;
                let [lr, beta1, beta2, eps, weight_decay, l1] = rates;
                let (param, grad, m, v) = (out.view_mut([4])?, a.view([4])?, out2.view_mut([4])?, out3.view_mut([4])?);
                add(arg, Value(arg), AdamW { param, grad, m, v, lr, beta1, beta2, eps, weight_decay, l1, step }.run(on));
            }
        }
        "clip_norm" => {
            for (breaks, max_norm) in [("max_norm 0", 0.0), ("max_norm NaN", f32::NAN), ("max_norm < 0", -1.0)] {
                let mut grads = [out.view_mut([4])?];
                add(breaks, Value("max_norm"), ClipNorm { grads: &mut grads, max_norm, norm: out2.view_mut([1])? }.run(on));
            }
        }
        "cross_entropy" | "cross_entropy_backward" => {
            let bad_class = index.view([4])?; // 7 among 4 classes
            for (breaks, wanted, scale, classes) in
                [("scale NaN", Value("scale"), f32::NAN, bad_class), ("class 7 of 4", Index("target"), 1.0, bad_class)]
            {
                let (logits, target) = (a.view([4, 4])?, Target::Class(classes));
                let got = match op {
                    "cross_entropy" => {
                        CrossEntropy { logits, target, scale, loss: out.view_mut([4])?, lse: out2.view_mut([4])? }.run(on)
                    }
                    _ => {
                        let (lse, dloss, dlogits) = (b.view([4])?, b.view([4])?, out.view_mut([4, 4])?);
                        CrossEntropyBackward { logits, target, scale, lse, dloss, dlogits }.run(on)
                    }
                };
                // Asynchronous devices find a bad index when they are next waited for.
                add(breaks, wanted, got.and_then(|()| on.sync()));
            }
        }
        "gather" => {
            let call = Gather { table: a.view([4, 4])?, index: index.view([4])?, out: out.view_mut([4, 4])? };
            add("index 7 of 4", Index("index"), call.run(on).and_then(|()| on.sync()));
            let call = Gather { table: a.view([0, 4])?, index: index.view([4])?, out: out.view_mut([4, 4])? };
            add("an index into nothing", Index("index"), call.run(on).and_then(|()| on.sync()));
        }
        "scatter_add" => {
            let call = ScatterAdd { index: index.view([4])?, x: a.view([4, 4])?, out: out.view_mut([4, 4])? };
            add("index 7 of 4", Index("index"), call.run(on).and_then(|()| on.sync()));
        }
        "forest" => {
            // Of rows of 4 columns, two leaves of 4 classes and three nodes: a split whose children are leaves.
            let (right, leaf) = ([[0, 1, 0], [0, Forest::LEAF, 0], [0, Forest::LEAF, 1]], Forest::LEAF);
            let with = |at: usize, node: [u32; 3]| {
                let mut nodes = right;
                nodes[at] = node;
                nodes
            };
            let broken = [
                ("a root that is no node", Index("roots"), 3u32, right),
                ("a column that x has not", Index("nodes"), 0, with(0, [0, 4, 0])),
                ("a child beyond the last node", Index("nodes"), 0, with(0, [0, 1, 1])),
                ("a child far beyond", Index("nodes"), 0, with(0, [0, 1, u32::MAX - 1])),
                (
                    "a leaf that is none",
                    Index("nodes"),
                    0,
                    with(1, [0, leaf, 2]).map(|node| if node[1] == leaf { [0, leaf, 2] } else { node }),
                ),
            ];
            for (breaks, wanted, root, nodes) in broken {
                let (mut roots, mut buffer) = (on.alloc(DType::U32, 1)?, on.alloc(DType::U32, 9)?);
                Upload::new(&[root], roots.view_mut([1])?).run(on)?;
                Upload::new(nodes.as_flattened(), buffer.view_mut([9])?).run(on)?;
                let (x, leaves, nodes) = (a.view([2, 4])?, b.view([2, 4])?, buffer.view([3, 3])?);
                let call = Forest { x, roots: roots.view([1])?, nodes, leaves, scale: 1.0, out: out.view_mut([2, 4])? };
                add(breaks, wanted, call.run(on).and_then(|()| on.sync()));
            }
            let (x, roots, leaves) = (a.view([2, 4])?, index.view([4])?, b.view([2, 4])?);
            for (breaks, scale) in [("scale NaN", f32::NAN), ("scale infinite", f32::INFINITY)] {
                let (nodes, out) = (index.view([0, 3])?, out.view_mut([2, 4])?);
                add(breaks, Value("scale"), Forest { x, roots, nodes, leaves, scale, out }.run(on));
            }
        }
        "softmax" => {
            let overlapping = crate::Layout::strided([2, 4], &[2, 1], 0)?;
            add("rows that overlap", Layout("out"), Softmax { x: a.view([2, 4])?, out: out4.view_mut_as(overlapping)? }.run(on));
        }
        _ => {}
    }
    // Whatever went wrong, the device is still usable.
    let mut host = [0f32; 4];
    let alive = Unary { op: UnaryOp::Neg, x: c.view([4])?, out: out4.view_mut([4])? }.run(on);
    let supported = !matches!(alive, Err(crate::Error::Unsupported { .. }));
    alive.or_else(|e| if supported { Err(e) } else { Ok(()) })?;
    Download::new(if supported { out4.view([4])? } else { c.view([4])? }, &mut host).run(on)?;
    let right = if supported { -0.5 } else { 0.5 };
    match host == [right; 4] {
        true => Ok(trials),
        false => Err(crate::Error::Fault { backend: on.name(), op: "unary", what: format!("wrong after an error: {host:?}") }),
    }
}
