//! The conformance suite can fail: a right backend passes, and each planted fault is caught, for the reason it was planted for.

#[path = "../../examples/toy-backend/src/lib.rs"]
mod toy;

use kernels::conformance::{self, Filter, Outcome};
use kernels::ops::*;
use kernels::{
    Backend, Buffer, Checked, DType, DeviceId, DeviceInfo, Error, Launch, Memory, MemoryStats, Op, Packed, Result, Support,
    Weight,
};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use toy::{Bytes, Toy};

/// What is wrong with a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// matmul leaves out the last of K where K is odd and above 16.
    WrongIndex,
    /// axpy subtracts.
    WrongSign,
    /// softmax writes one element behind its output.
    WriteBehind,
    /// softmax writes into the gap between rows.
    WriteBetween,
    /// unary leaves the last element of a row of 17 unwritten.
    UnwrittenTail,
    /// matmul reads `out` though beta = 0.
    StaleRead,
    /// linear forgets the bias of more than 8 rows.
    NoBias,
    /// linear applies GELU of the wrong kind.
    WrongAct,
    /// attention ignores the mask.
    NoMask,
    /// attention ignores the lengths for more than 8 queries.
    NoLengths,
    /// attention reads the first key head for every group.
    WrongGroup,
    /// random ignores the stream.
    NoStream,
    /// layer_norm forgets eps.
    NoEps,
    /// reduce leaves out the last element.
    ShortSum,
    /// fill gives other bits each time it runs.
    Random,
    /// Every hundredth zero is negative.
    Seldom,
    /// layer_norm depends on whether there are other rows.
    BatchDependent,
    /// adamw corrects the bias of the wrong step.
    WrongStep,
    /// matmul rounds its inputs to bf16.
    LowPrecision,
    /// gather reads row 0 for an index out of range.
    SilentIndex,
    /// copy is said to be native and returns `Unsupported`.
    EmptyPromise,
    /// clip_norm scales without looking whether it must.
    AlwaysClips,
    /// cast rounds towards zero.
    Truncates,
    /// binary drops NaN in max.
    NanLost,
    /// scatter_add forgets what `out` held.
    Overwrites,
    /// forest leaves out what is beyond 64 trees.
    FewTrees,
    /// quantize shifts its input by a little.
    QuantizeShifts,
}

struct Faulty {
    toy: Toy,
    fault: Fault,
    runs: AtomicU32,
}

impl Memory for Faulty {
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        self.toy.alloc(dtype, len)
    }
    fn pack(&self, weight: &Weight) -> Result<Packed> {
        self.toy.pack(weight)
    }
    fn sync(&self) -> Result<()> {
        self.toy.sync()
    }
    fn memory_stats(&self) -> MemoryStats {
        self.toy.memory_stats()
    }
}

impl Backend for Faulty {
    fn id(&self) -> DeviceId {
        self.toy.id()
    }
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn info(&self) -> &DeviceInfo {
        self.toy.info()
    }
}

/// Ops that no fault touches.
macro_rules! pass_on {
    ($($op:ident),*) => {$(
        impl Launch<$op<'_>> for Faulty {
            fn support(&self, dtype: DType) -> Support {
                Launch::<$op<'_>>::support(&self.toy, dtype)
            }
            fn launch(&self, args: Checked<$op<'_>>) -> Result<()> {
                self.toy.launch(args)
            }
        }
    )*};
}
pass_on!(
    Upload,
    Download,
    LinearInt8,
    AttentionBackward,
    Rope,
    LayerNormBackward,
    RmsNorm,
    RmsNormBackward,
    SoftmaxBackward,
    UnaryBackward,
    CrossEntropy,
    CrossEntropyBackward,
    Sgd
);

/// Ops that some fault touches: `change` alters the arguments before the toy runs them; what it returns ends the call.
macro_rules! faulty {
    ($($op:ident |$self:ident, $args:ident| $change:block)*) => {$(
        impl Launch<$op<'_>> for Faulty {
            fn support(&self, dtype: DType) -> Support {
                Launch::<$op<'_>>::support(&self.toy, dtype)
            }
            #[allow(unused_mut, reason = "some faults replace the call and leave its arguments as they are")]
            fn launch(&$self, mut $args: Checked<$op<'_>>) -> Result<()> {
                $change
                $self.toy.launch($args)
            }
        }
    )*};
}

faulty! {
    Matmul |self, args| {
        let (rank, k) = (args.a.shape().rank(), args.a.shape()[args.a.shape().rank() - 1]);
        if self.fault == Fault::WrongIndex && k % 2 == 1 && k > 16 {
            (args.a, args.b) = (args.a.narrow(rank - 1, 0, k - 1)?, args.b.narrow(rank - 2, 0, k - 1)?);
        }
        if self.fault == Fault::StaleRead && args.beta == 0.0 {
            args.beta = 1e-30;
        }
        if self.fault == Fault::LowPrecision && args.a.dtype() == DType::F32 {
            let mut rounded = self.alloc(DType::Bf16, args.a.numel())?;
            Cast { x: args.a, out: rounded.view_mut(*args.a.shape())? }.run(self)?;
            let mut wide = self.alloc(DType::F32, args.a.numel())?;
            Cast { x: rounded.view(*args.a.shape())?, out: wide.view_mut(*args.a.shape())? }.run(self)?;
            let inner = args.into_inner();
            return Matmul { a: wide.view(*inner.a.shape())?, b: inner.b, alpha: inner.alpha, beta: inner.beta, out: inner.out }
                .run(&self.toy);
        }
    }
    Linear |self, args| {
        if self.fault == Fault::NoBias && args.x.shape()[0] > 8 {
            args.bias = None;
        }
        if self.fault == Fault::WrongAct && args.act == Act::Gelu {
            args.act = Act::GeluErf;
        }
    }
    Attention |self, args| {
        if self.fault == Fault::NoMask {
            args.mask = Mask::None;
        }
        if self.fault == Fault::NoLengths && args.q.shape()[1] > 8 {
            args.lengths = None;
        }
        let (heads, kv_heads) = (args.q.shape()[2], args.k.shape()[2]);
        if self.fault == Fault::WrongGroup && kv_heads > 1 && heads > kv_heads {
            (args.k, args.v) = (args.k.narrow(2, 0, 1)?, args.v.narrow(2, 0, 1)?);
        }
    }
    Softmax |self, args| {
        let (layout, dtype) = (*args.out.layout(), args.out.dtype());
        let rank = layout.shape().rank();
        let at = match self.fault {
            Fault::WriteBehind => layout.end()?,
            Fault::WriteBetween if rank > 1 && layout.strides()[rank - 2] > layout.shape()[rank - 1] => {
                layout.offset() + layout.shape()[rank - 1]
            }
            _ => usize::MAX,
        };
        if at != usize::MAX && layout.numel() > 0 {
            let size = dtype.size_bytes();
            if let Some(Bytes(bytes)) = args.out.storage_mut() {
                bytes[at * size] ^= 1;
            }
        }
    }
    Unary |self, args| {
        let rank = args.x.shape().rank();
        if self.fault == Fault::UnwrittenTail && args.x.shape()[rank - 1] == 17 {
            let inner = args.into_inner();
            let (x, out) = (inner.x.narrow(rank - 1, 0, 16)?, inner.out.narrow(rank - 1, 0, 16)?);
            return Unary { op: inner.op, x, out }.run(&self.toy);
        }
    }
    Axpy |self, args| {
        if self.fault == Fault::WrongSign {
            args.alpha = -args.alpha;
        }
    }
    Random |self, args| {
        if self.fault == Fault::NoStream {
            args.stream = 0;
        }
    }
    LayerNorm |self, args| {
        if self.fault == Fault::NoEps {
            args.eps = 0.0;
        }
        if self.fault == Fault::BatchDependent && args.x.shape()[0] > 1 {
            args.eps *= 1.0 + 1e-6;
        }
    }
    Reduce |self, args| {
        let (axis, n) = (args.axis, args.x.shape()[args.axis]);
        if self.fault == Fault::ShortSum && n > 1 {
            args.x = args.x.narrow(axis, 0, n - 1)?;
        }
    }
    Fill |self, args| {
        if self.fault == Fault::Random && self.runs.fetch_add(1, Relaxed) % 2 == 1 && args.value == 0.0 {
            args.value = -0.0;
        }
        if self.fault == Fault::Seldom && self.runs.fetch_add(1, Relaxed) % 100 == 99 && args.value == 0.0 {
            args.value = -0.0;
        }
    }
    AdamW |self, args| {
        if self.fault == Fault::WrongStep {
            args.step += 1;
        }
    }
    Gather |self, args| {
        if self.fault == Fault::SilentIndex {
            return match self.toy.launch(args) {
                Err(Error::Index { .. }) => Ok(()),
                other => other,
            };
        }
    }
    Copy |self, args| {
        if self.fault == Fault::EmptyPromise {
            let dtype = args.x.dtype();
            return Err(Error::Unsupported { op: "copy", dtype, backend: "faulty", reason: "after all" });
        }
    }
    ClipNorm |self, args| {
        if self.fault == Fault::AlwaysClips && args.max_norm > 100.0 {
            args.max_norm = 1e-3;
        }
    }
    Cast |self, args| {
        if self.fault == Fault::Truncates && args.out.dtype() == DType::Bf16 && args.x.dtype() == DType::F32 {
            let mut host = vec![0f32; args.x.numel()];
            Download::new(args.x, &mut host).run(&self.toy)?;
            let cut: Vec<half::bf16> = host.iter().map(|x| half::bf16::from_bits((x.to_bits() >> 16) as u16)).collect();
            return Upload::new(&cut, args.into_inner().out).run(&self.toy);
        }
    }
    Binary |self, args| {
        if self.fault == Fault::NanLost && args.op == BinaryOp::Max && args.a.dtype() == DType::F32 {
            let (mut a, mut b) = (vec![0f32; args.a.numel()], vec![0f32; args.a.numel()]);
            Download::new(args.a, &mut a).run(&self.toy)?;
            Download::new(args.b, &mut b).run(&self.toy)?;
            let max: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect();
            return Upload::new(&max, args.into_inner().out).run(&self.toy);
        }
    }
    ScatterAdd |self, args| {
        if self.fault == Fault::Overwrites {
            Fill { value: 0.0, out: args.out.reborrow() }.run(&self.toy)?;
        }
    }
    Forest |self, args| {
        if self.fault == Fault::FewTrees {
            args.roots = args.roots.narrow(0, 0, args.roots.numel().min(64))?;
        }
    }
    Quantize |self, args| {
        if self.fault == Fault::QuantizeShifts && args.x.dtype() == DType::F32 {
            let mut less = self.alloc(DType::F32, args.x.numel())?;
            let shifted = UnaryOp::Affine { scale: 1.0, shift: -3e-3 };
            Unary { op: shifted, x: args.x, out: less.view_mut(*args.x.shape())? }.run(&self.toy)?;
            let inner = args.into_inner();
            return Quantize { x: less.view(*inner.x.shape())?, q: inner.q, scale: inner.scale }.run(&self.toy);
        }
    }
}

fn failures(fault: Fault, name: &str, scale: f64) -> Vec<String> {
    let on = Faulty { toy: Toy::new(), fault, runs: AtomicU32::new(0) };
    let report = conformance::run(&on, &Filter { name: name.into(), scale, max_dim: 129, ..Filter::default() });
    assert!(!report.rows.is_empty(), "no suite is named {name}");
    let failed = report.rows.into_iter().filter_map(|row| match row.outcome {
        Outcome::Failed(why) => Some(why),
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_right_backend_passes() {
    assert_eq!(failures(Fault::None, "", 0.02), Vec::<String>::new());
}

#[test]
fn a_quarter_of_the_cases_allows_no_error_at_all() {
    for op in [
        "matmul/f32",
        "linear/f32/view",
        "linear/f32/int4-g32",
        "linear/f32/csr",
        "attention/f32",
        "reduce/f32",
        "scatter_add/f32",
    ] {
        let report = conformance::run(&Toy::new(), &Filter { name: op.into(), scale: 0.5, max_dim: 129, ..Filter::default() });
        let tallies = report.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Passed(tally) => Some((tally.cases, tally.exact)),
            _ => None,
        });
        let (cases, exact) = tallies.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!(4 * exact >= cases && cases > 0, "{op}: {exact} of {cases}");
    }
}

#[test]
fn every_planted_fault_is_caught() {
    let planted = [
        (Fault::WrongIndex, "matmul/f32", "`out`"),
        (Fault::WrongSign, "axpy/bf16", "`out`"),
        (Fault::WriteBehind, "softmax/f32", "outside the window"),
        (Fault::WriteBetween, "softmax/f16", "outside the window"),
        (Fault::UnwrittenTail, "unary/f32", "got NaN"),
        (Fault::StaleRead, "matmul/f32", "got NaN"),
        (Fault::NoBias, "linear/f32/csr", "`out`"),
        (Fault::WrongAct, "linear/f32/packed", "`out`"),
        (Fault::NoMask, "attention/f32", "`out`"),
        (Fault::NoLengths, "attention/bf16", "`out`"),
        (Fault::WrongGroup, "attention/f32", "`out`"),
        (Fault::NoStream, "random/f32", "want exactly"),
        (Fault::NoEps, "layer_norm/f32", "`"),
        (Fault::BatchDependent, "layer_norm/f32", "alone differs"),
        (Fault::ShortSum, "reduce/f16", "`out`"),
        (Fault::Random, "fill/f32", "differs between two runs"),
        (Fault::WrongStep, "adamw/f32", "`param`"),
        (Fault::LowPrecision, "matmul/f32", "× the bound"),
        (Fault::SilentIndex, "gather/f32", "index 7 of 4"),
        (Fault::EmptyPromise, "copy/f32", "after all"),
        (Fault::AlwaysClips, "clip_norm/f32", "`grads`"),
        (Fault::Truncates, "cast/f32", "want exactly"),
        (Fault::NanLost, "binary/f32", "want NaN"),
        (Fault::Overwrites, "scatter_add/f32", "`out`"),
        (Fault::FewTrees, "forest/f32", "`out`"),
        (Fault::QuantizeShifts, "quantize/f32", "`"),
    ];
    let mut missed = Vec::new();
    for (fault, name, reason) in planted {
        let why = failures(fault, name, 0.3);
        if !why.iter().any(|why| why.contains(reason)) {
            missed.push(format!("{fault:?} in {name} was not caught for {reason}: {why:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_fault_that_shows_seldom_is_caught_by_repeating() {
    let on = Faulty { toy: Toy::new(), fault: Fault::Seldom, runs: AtomicU32::new(0) };
    let filter = Filter { name: "fill/f32".into(), scale: 0.1, max_dim: 129, repeats: 100, ..Filter::default() };
    let report = conformance::run(&on, &filter);
    let Outcome::Failed(why) = &report.rows[0].outcome else { panic!("{:?}", report.rows) };
    assert!(why.contains("differs between two runs"), "{why}");
}

#[test]
fn a_failing_case_replays_from_its_line() {
    let on = Faulty { toy: Toy::new(), fault: Fault::WrongIndex, runs: AtomicU32::new(0) };
    let why = failures(Fault::WrongIndex, "matmul/f32", 0.3).join("\n");
    let line =
        why.split("SIZEWISE_REPLAY='").nth(1).and_then(|rest| rest.split('\'').next()).expect("a failure says how to replay it");
    let filter = Filter { max_dim: 129, ..Filter::default() };
    assert!(conformance::replay(&on, &filter, line).is_err());
    assert_eq!(conformance::replay(&Toy::new(), &filter, line), Ok(()));
}

#[test]
fn the_same_backend_gives_the_same_bits_twice() {
    let filter = Filter { max_dim: 65, ..Filter::default() };
    assert_eq!(conformance::same_bits(&Toy::new(), &Toy::new(), &filter, 4), Ok(()));
    let filter = Filter { name: "axpy".into(), ..filter };
    let on = Faulty { toy: Toy::new(), fault: Fault::WrongSign, runs: AtomicU32::new(0) };
    assert!(conformance::same_bits(&Toy::new(), &on, &filter, 8).is_err());
}
