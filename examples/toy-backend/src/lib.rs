//! The smallest complete backend: it shows what a device must implement, and nothing else.
//!
//! Memory is a `Vec<u8>`. Each op reads its views into `Vec<f64>`, calls the reference, and rounds the result into its output: slow, and
//! right by definition. A real backend replaces one `launch` after the other and keeps its conformance test green.

use half::{bf16, f16};
use kernels::ops::*;
use kernels::{
    Backend, Buffer, Checked, DType, DeviceId, DeviceInfo, Element, Error, Launch, Layout, Memory, MemoryStats, Packed, Result,
    Support, View, ViewMut, Weight, WeightRef, reference,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The device.
pub struct Toy {
    id: DeviceId,
    info: DeviceInfo,
    allocations: AtomicU64,
}

impl Toy {
    /// A device of its own.
    pub fn new() -> Self {
        let info = DeviceInfo { name: "toy".into(), threads: 1, ..DeviceInfo::default() };
        Toy { id: DeviceId::unique(), info, allocations: AtomicU64::new(0) }
    }
}

impl Default for Toy {
    fn default() -> Self {
        Toy::new()
    }
}

/// The device's own memory object.
pub struct Bytes(pub Vec<u8>);

fn zeroed(bytes: usize) -> Result<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).map_err(|_| Error::OutOfMemory { backend: "toy", wanted_bytes: bytes as u64 })?;
    memory.resize(bytes, 0);
    Ok(memory)
}

impl Memory for Toy {
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        let bytes = len.saturating_mul(dtype.size_bytes());
        self.allocations.fetch_add(1, Relaxed);
        Ok(Buffer::new(self.id, dtype, len, Bytes(zeroed(bytes)?)))
    }

    fn pack(&self, weight: &Weight) -> Result<Packed> {
        Ok(Packed::new(self.id, weight, weight.stored_bytes() as u64, weight.clone()))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn memory_stats(&self) -> MemoryStats {
        MemoryStats { allocations: self.allocations.load(Relaxed), ..MemoryStats::default() }
    }
}

impl Backend for Toy {
    fn id(&self) -> DeviceId {
        self.id
    }
    fn name(&self) -> &'static str {
        "toy"
    }
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
}

/// A buffer that carries this device's id but not its memory: nothing a safe caller can make us misuse.
fn foreign(op: &'static str) -> Error {
    Error::Fault { backend: "toy", op, what: "a buffer of this device holds memory of another".into() }
}

fn element(dtype: DType, bytes: &[u8]) -> f64 {
    fn read<T: Element>(bytes: &[u8]) -> f64 {
        bytemuck::pod_read_unaligned::<T>(bytes).to_f64()
    }
    match dtype {
        DType::F32 => read::<f32>(bytes),
        DType::Bf16 => read::<bf16>(bytes),
        DType::F16 => read::<f16>(bytes),
        DType::I8 => read::<i8>(bytes),
        DType::U8 => read::<u8>(bytes),
        DType::I32 => read::<i32>(bytes),
        DType::U32 => read::<u32>(bytes),
    }
}

fn set_element(dtype: DType, value: f64, bytes: &mut [u8]) {
    fn write<T: Element>(value: f64, bytes: &mut [u8]) {
        bytes.copy_from_slice(bytemuck::bytes_of(&T::from_f64(value)));
    }
    match dtype {
        DType::F32 => write::<f32>(value, bytes),
        DType::Bf16 => write::<bf16>(value, bytes),
        DType::F16 => write::<f16>(value, bytes),
        DType::I8 => write::<i8>(value, bytes),
        DType::U8 => write::<u8>(value, bytes),
        DType::I32 => write::<i32>(value, bytes),
        DType::U32 => write::<u32>(value, bytes),
    }
}

/// Byte ranges of a window's elements, row-major. The door has checked that they lie within the buffer.
fn ranges(layout: &Layout, dtype: DType) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let size = dtype.size_bytes();
    layout.indices().map(move |at| at * size..(at + 1) * size)
}

/// Values of a view, row-major.
fn read(op: &'static str, view: &View<'_>) -> Result<Vec<f64>> {
    let Bytes(bytes) = view.storage().ok_or_else(|| foreign(op))?;
    Ok(ranges(view.layout(), view.dtype()).map(|range| element(view.dtype(), &bytes[range])).collect())
}

fn read_indices(op: &'static str, view: &View<'_>) -> Result<Vec<usize>> {
    Ok(read(op, view)?.into_iter().map(|index| index as usize).collect())
}

/// Overwrites a view.
fn write(op: &'static str, view: &mut ViewMut<'_>, values: &[f64]) -> Result<()> {
    let (layout, dtype) = (*view.layout(), view.dtype());
    let Bytes(bytes) = view.storage_mut().ok_or_else(|| foreign(op))?;
    ranges(&layout, dtype).zip(values).for_each(|(range, &value)| set_element(dtype, value, &mut bytes[range]));
    Ok(())
}

/// The first index that is not below `limit`, as the error it is.
fn in_range(op: &'static str, arg: &'static str, indices: &[usize], limit: usize) -> Result<()> {
    match indices.iter().position(|&index| index >= limit) {
        None => Ok(()),
        Some(at) => Err(Error::Index { op, arg, at, limit, got: indices[at] as u64 }),
    }
}

/// Rows of `width` elements (one row of none if the width is 0 would change nothing: there is nothing to write).
fn rows(values: &[f64], width: usize) -> std::slice::ChunksExact<'_, f64> {
    values.chunks_exact(width.max(1))
}

fn width(view: &View<'_>) -> usize {
    view.shape().last().copied().unwrap_or(1)
}

/// One `Launch` per op: `name` is [`Op::NAME`](kernels::Op::NAME), for errors.
macro_rules! launch {
    ($($op:ident($args:ident, $name:ident) $body:block)*) => {$(
        impl Launch<$op<'_>> for Toy {
            fn support(&self, _: DType) -> Support {
                Support::Native
            }
            fn launch(&self, args: Checked<$op<'_>>) -> Result<()> {
                let $name = <$op<'_> as kernels::Op>::NAME;
                #[allow(unused_mut, reason = "not every op writes through its struct")]
                let mut $args = args.into_inner();
                $body
                Ok(())
            }
        }
    )*};
}

launch! {
    Upload(args, op) {
        let (layout, dtype) = (*args.out.layout(), args.out.dtype());
        let Bytes(bytes) = args.out.storage_mut().ok_or_else(|| foreign(op))?;
        let data = args.data.as_bytes().chunks_exact(dtype.size_bytes());
        ranges(&layout, dtype).zip(data).for_each(|(range, element)| bytes[range].copy_from_slice(element));
    }
    Download(args, op) {
        let dtype = args.x.dtype();
        let Bytes(bytes) = args.x.storage().ok_or_else(|| foreign(op))?;
        let data = args.data.as_bytes_mut().chunks_exact_mut(dtype.size_bytes());
        ranges(args.x.layout(), dtype).zip(data).for_each(|(range, element)| element.copy_from_slice(&bytes[range]));
    }
    Copy(args, op) {
        let (layout, dtype) = (*args.out.layout(), args.out.dtype());
        let Bytes(from) = args.x.storage().ok_or_else(|| foreign(op))?;
        let Bytes(to) = args.out.storage_mut().ok_or_else(|| foreign(op))?;
        ranges(args.x.layout(), dtype).zip(ranges(&layout, dtype)).for_each(|(x, out)| to[out].copy_from_slice(&from[x]));
    }
    Fill(args, op) {
        let values = vec![args.value; args.out.numel()];
        write(op, &mut args.out, &values)?;
    }
    Cast(args, op) {
        let x = read(op, &args.x)?;
        write(op, &mut args.out, &x)?;
    }
    Matmul(args, op) {
        let (a, b, mut out) = (read(op, &args.a)?, read(op, &args.b)?, read(op, &args.out.as_view())?);
        let (lead, mk) = args.a.shape().split_at(args.a.shape().rank() - 2);
        let dims = reference::MatmulDims { batch: lead.iter().product(), m: mk[0], n: width(&args.b), k: mk[1] };
        reference::matmul(dims, &a, &b, args.alpha.into(), args.beta.into(), &mut out);
        if args.out.dtype() == DType::I32 {
            out.iter_mut().for_each(|c| *c = reference::wrap_i32(*c));
        }
        write(op, &mut args.out, &out)?;
    }
    Linear(args, op) {
        let (x, k) = (read(op, &args.x)?, args.x.shape()[1]);
        let weight = match args.weight {
            WeightRef::Packed(packed) => reference::stored(packed.storage::<Weight>().ok_or_else(|| foreign(op))?),
            WeightRef::Dense(view) => {
                let values = read(op, &view)?;
                (0..view.shape()[0]).map(|n| (0..k).map(|at| (at, values[n * k + at])).collect()).collect()
            }
        };
        let bias = args.bias.as_ref().map(|bias| read(op, bias)).transpose()?;
        let mut out = vec![0.0; args.out.numel()];
        reference::linear(&x, k, &weight, bias.as_deref(), &mut out);
        out.iter_mut().for_each(|y| *y = reference::activate(args.act, *y));
        write(op, &mut args.out, &out)?;
    }
    LinearInt8(args, op) {
        let (x, k, scale) = (read(op, &args.x)?, args.x.shape()[1], read(op, &args.x_scale)?);
        let Some(codes) = args.weight.storage::<Weight>().and_then(Weight::coded) else { return Err(foreign(op)) };
        let n = codes.n();
        let weight: Vec<Vec<(usize, f64)>> = (0..n).map(|n| (0..k).map(|at| {
            let group = codes.group(n, at / codes.group_size());
            (at, f64::from(group.scale) * (f64::from(codes.code(n, at)) - f64::from(group.zero)) - f64::from(group.min))
        }).collect()).collect();
        let bias = args.bias.as_ref().map(|bias| read(op, bias)).transpose()?;
        let mut out = vec![0.0; args.out.numel()];
        reference::linear(&x, k, &weight, None, &mut out);
        for (at, y) in out.iter_mut().enumerate() {
            *y = reference::activate(args.act, *y * scale[at / n] + bias.as_ref().map_or(0.0, |bias| bias[at % n]));
        }
        write(op, &mut args.out, &out)?;
    }
    Quantize(args, op) {
        let (x, k) = (read(op, &args.x)?, width(&args.x));
        let (mut q, mut scale) = (vec![0.0; x.len()], vec![0.0; args.scale.numel()]);
        for ((x, q), scale) in rows(&x, k).zip(q.chunks_exact_mut(k.max(1))).zip(&mut scale) {
            *scale = reference::quantize_row(x, q);
        }
        write(op, &mut args.q, &q)?;
        write(op, &mut args.scale, &scale)?;
    }
    Attention(args, op) {
        let dims = attention_dims(op, &args.q, &args.k, &args.lengths, args.mask, args.scale)?;
        let (q, k, v) = (read(op, &args.q)?, read(op, &args.k)?, read(op, &args.v)?);
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; dims.batch * dims.heads * dims.seq_q]);
        reference::attention(&dims, &q, &k, &v, &mut out, &mut lse);
        write(op, &mut args.out, &out)?;
        if let Some(view) = &mut args.lse {
            write(op, view, &lse)?;
        }
    }
    AttentionBackward(args, op) {
        let dims = attention_dims(op, &args.q, &args.k, &args.lengths, args.mask, args.scale)?;
        let (q, k, v) = (read(op, &args.q)?, read(op, &args.k)?, read(op, &args.v)?);
        let (out, lse, dout) = (read(op, &args.out)?, read(op, &args.lse)?, read(op, &args.dout)?);
        let of = reference::Forward { q: &q, k: &k, v: &v, out: &out, lse: &lse, dout: &dout };
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        reference::attention_backward(&dims, of, &mut dq, &mut dk, &mut dv);
        write(op, &mut args.dq, &dq)?;
        write(op, &mut args.dk, &dk)?;
        write(op, &mut args.dv, &dv)?;
    }
    Rope(args, op) {
        let (x, shape) = (read(op, &args.x)?, args.x.shape());
        let rotation = reference::Rotation {
            position: args.position, theta: args.theta.into(), pairing: args.pairing, direction: args.direction,
        };
        let mut out = vec![0.0; x.len()];
        reference::rope([shape[0], shape[1], shape[2], shape[3]], rotation, &x, &mut out);
        write(op, &mut args.out, &out)?;
    }
    LayerNorm(args, op) {
        let (x, weight, d) = (read(op, &args.x)?, read(op, &args.weight)?, width(&args.x));
        let bias = args.bias.as_ref().map(|bias| read(op, bias)).transpose()?;
        let (mut out, mut mean, mut rstd) = (vec![0.0; x.len()], Vec::new(), Vec::new());
        for (x, out) in rows(&x, d).zip(out.chunks_exact_mut(d.max(1))) {
            let (m, r) = reference::layer_norm_row(x, &weight, bias.as_deref(), args.eps.into(), out);
            mean.push(m);
            rstd.push(r);
        }
        write(op, &mut args.out, &out)?;
        for (view, values) in [(&mut args.mean, &mean), (&mut args.rstd, &rstd)] {
            if let Some(view) = view {
                write(op, view, values)?;
            }
        }
    }
    LayerNormBackward(args, op) {
        let (x, weight, dout, d) = (read(op, &args.x)?, read(op, &args.weight)?, read(op, &args.dout)?, width(&args.x));
        let (mean, rstd) = (read(op, &args.mean)?, read(op, &args.rstd)?);
        let (mut dx, mut dweight, mut dbias) = (vec![0.0; x.len()], vec![0.0; d], vec![0.0; d]);
        for (row, dx) in dx.chunks_exact_mut(d.max(1)).enumerate() {
            let (x, dout) = (&x[row * d..][..d], &dout[row * d..][..d]);
            reference::layer_norm_backward_row(x, &weight, (mean[row], rstd[row]), dout, dx, &mut dweight, &mut dbias);
        }
        write(op, &mut args.dx, &dx)?;
        write(op, &mut args.dweight, &dweight)?;
        if let Some(view) = &mut args.dbias {
            write(op, view, &dbias)?;
        }
    }
    RmsNorm(args, op) {
        let (x, weight, d) = (read(op, &args.x)?, read(op, &args.weight)?, width(&args.x));
        let (mut out, mut rstd) = (vec![0.0; x.len()], Vec::new());
        for (x, out) in rows(&x, d).zip(out.chunks_exact_mut(d.max(1))) {
            rstd.push(reference::rms_norm_row(x, &weight, args.eps.into(), out));
        }
        write(op, &mut args.out, &out)?;
        if let Some(view) = &mut args.rstd {
            write(op, view, &rstd)?;
        }
    }
    RmsNormBackward(args, op) {
        let (x, weight, dout, d) = (read(op, &args.x)?, read(op, &args.weight)?, read(op, &args.dout)?, width(&args.x));
        let rstd = read(op, &args.rstd)?;
        let (mut dx, mut dweight) = (vec![0.0; x.len()], vec![0.0; d]);
        for (row, dx) in dx.chunks_exact_mut(d.max(1)).enumerate() {
            reference::rms_norm_backward_row(&x[row * d..][..d], &weight, rstd[row], &dout[row * d..][..d], dx, &mut dweight);
        }
        write(op, &mut args.dx, &dx)?;
        write(op, &mut args.dweight, &dweight)?;
    }
    Softmax(args, op) {
        let (mut x, d) = (read(op, &args.x)?, width(&args.x));
        x.chunks_exact_mut(d.max(1)).for_each(|row| {
            reference::softmax_row(row);
        });
        write(op, &mut args.out, &x)?;
    }
    SoftmaxBackward(args, op) {
        let (y, dout, d) = (read(op, &args.y)?, read(op, &args.dout)?, width(&args.y));
        let mut dx = vec![0.0; y.len()];
        for ((y, dout), dx) in rows(&y, d).zip(rows(&dout, d)).zip(dx.chunks_exact_mut(d.max(1))) {
            reference::softmax_backward_row(y, dout, dx);
        }
        write(op, &mut args.dx, &dx)?;
    }
    Unary(args, op) {
        let x: Vec<f64> = read(op, &args.x)?.into_iter().map(|x| reference::unary(args.op, x)).collect();
        write(op, &mut args.out, &x)?;
    }
    UnaryBackward(args, op) {
        let (x, dout) = (read(op, &args.x)?, read(op, &args.dout)?);
        let dx: Vec<f64> = x.iter().zip(&dout).map(|(&x, dout)| reference::unary_derivative(args.op, x) * dout).collect();
        write(op, &mut args.dx, &dx)?;
    }
    Binary(args, op) {
        let (a, b) = (read(op, &args.a)?, read(op, &args.b)?);
        let out: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| reference::binary(args.op, a, b)).collect();
        write(op, &mut args.out, &out)?;
    }
    Axpy(args, op) {
        let (x, mut out) = (read(op, &args.x)?, read(op, &args.out.as_view())?);
        out.iter_mut().zip(&x).for_each(|(out, x)| *out += f64::from(args.alpha) * x);
        write(op, &mut args.out, &out)?;
    }
    Reduce(args, op) {
        let last = args.x.shape().rank() - 1;
        // With the axis last, its elements are neighbours in the order of reading, and `out` is read in the same order.
        let n = args.x.shape()[args.axis];
        let x = read(op, &args.x.transpose(args.axis, last)?)?;
        let mut out = args.out.transpose(args.axis, last)?;
        let values: Vec<f64> =
            (0..out.numel()).map(|at| reference::reduce(args.op, x[at * n..(at + 1) * n].iter().copied())).collect();
        write(op, &mut out, &values)?;
    }
    Gather(args, op) {
        let (table, index) = (read(op, &args.table)?, read_indices(op, &args.index)?);
        in_range(op, "index", &index, args.table.shape()[0])?;
        let mut out = vec![0.0; args.out.numel()];
        reference::gather(&table, width(&args.table), &index, &mut out);
        write(op, &mut args.out, &out)?;
    }
    ScatterAdd(args, op) {
        let (x, index, mut out) = (read(op, &args.x)?, read_indices(op, &args.index)?, read(op, &args.out.as_view())?);
        in_range(op, "index", &index, args.out.shape()[0])?;
        reference::scatter_add(&x, width(&args.x), &index, &mut out);
        write(op, &mut args.out, &out)?;
    }
    Forest(args, op) {
        let (x, roots, leaves) = (read(op, &args.x)?, read_indices(op, &args.roots)?, read(op, &args.leaves)?);
        let nodes: Vec<[u32; 3]> =
            read_indices(op, &args.nodes)?.chunks_exact(3).map(|node| [node[0], node[1], node[2]].map(|word| word as u32)).collect();
        let (features, classes) = (width(&args.x), width(&args.leaves));
        let trees = reference::Trees { roots: &roots, nodes: &nodes, leaves: &leaves, classes };
        let mut out = vec![0.0; args.out.numel()];
        for (row, out) in out.chunks_exact_mut(classes.max(1)).enumerate() {
            let judged = trees.judge(&x[row * features..][..features], args.leaves.shape()[0], args.scale.into(), out);
            judged.map_err(|(arg, at, limit, got)| Error::Index { op, arg, at, limit, got })?;
        }
        write(op, &mut args.out, &out)?;
    }
    CrossEntropy(args, op) {
        let (logits, targets) = (read(op, &args.logits)?, Targets::read(op, &args.target, &args.logits)?);
        let (m, v) = (args.logits.shape()[0], args.logits.shape()[1]);
        let (loss, lse): (Vec<f64>, Vec<f64>) = (0..m)
            .map(|row| reference::cross_entropy_row(&logits[row * v..][..v], targets.row(row), args.scale.into()))
            .unzip();
        write(op, &mut args.loss, &loss)?;
        write(op, &mut args.lse, &lse)?;
    }
    CrossEntropyBackward(args, op) {
        let (logits, targets) = (read(op, &args.logits)?, Targets::read(op, &args.target, &args.logits)?);
        let (lse, dloss, v) = (read(op, &args.lse)?, read(op, &args.dloss)?, width(&args.logits));
        let mut dlogits = vec![0.0; logits.len()];
        for (row, dx) in dlogits.chunks_exact_mut(v.max(1)).enumerate() {
            let logits = &logits[row * v..][..v];
            reference::cross_entropy_backward_row(logits, targets.row(row), args.scale.into(), lse[row], dloss[row], dx);
        }
        write(op, &mut args.dlogits, &dlogits)?;
    }
    Random(args, op) {
        let values = reference::random(args.seed, args.stream, args.distribution, args.out.numel());
        write(op, &mut args.out, &values)?;
    }
    Sgd(args, op) {
        let (mut param, grad) = (read(op, &args.param.as_view())?, read(op, &args.grad)?);
        let mut velocity = args.velocity.as_ref().map(|velocity| read(op, &velocity.as_view())).transpose()?;
        let rates = reference::SgdRates {
            lr: args.lr.into(), momentum: args.momentum.into(), form: args.form, l2: args.l2.into(), l1: args.l1.into(),
        };
        for (i, param) in param.iter_mut().enumerate() {
            reference::sgd(rates, grad[i], param, velocity.as_mut().map(|velocity| &mut velocity[i]));
        }
        write(op, &mut args.param, &param)?;
        if let (Some(view), Some(velocity)) = (&mut args.velocity, &velocity) {
            write(op, view, velocity)?;
        }
    }
    AdamW(args, op) {
        let (mut param, grad) = (read(op, &args.param.as_view())?, read(op, &args.grad)?);
        let (mut m, mut v) = (read(op, &args.m.as_view())?, read(op, &args.v.as_view())?);
        let rates = reference::AdamWRates {
            lr: args.lr.into(), beta1: args.beta1.into(), beta2: args.beta2.into(), eps: args.eps.into(),
            weight_decay: args.weight_decay.into(), l1: args.l1.into(), step: args.step,
        };
        for (i, param) in param.iter_mut().enumerate() {
            reference::adamw(rates, grad[i], param, &mut m[i], &mut v[i]);
        }
        write(op, &mut args.param, &param)?;
        write(op, &mut args.m, &m)?;
        write(op, &mut args.v, &v)?;
    }
    ClipNorm(args, op) {
        let mut grads = args.grads.iter().map(|grad| read(op, &grad.as_view())).collect::<Result<Vec<_>>>()?;
        let norm = reference::clip_norm(&mut grads, args.max_norm.into());
        write(op, &mut args.norm, &[norm])?;
        for (view, grad) in args.grads.iter_mut().zip(&grads) {
            write(op, view, grad)?;
        }
    }
}

fn attention_dims(
    op: &'static str,
    q: &View<'_>,
    k: &View<'_>,
    lengths: &Option<View<'_>>,
    mask: Mask,
    scale: f32,
) -> Result<reference::AttentionDims> {
    Ok(reference::AttentionDims {
        batch: q.shape()[0],
        seq_q: q.shape()[1],
        seq_k: k.shape()[1],
        heads: q.shape()[2],
        kv_heads: k.shape()[2],
        head_dim: q.shape()[3],
        mask,
        scale: scale.into(),
        lengths: lengths.as_ref().map(|lengths| read_indices(op, lengths)).transpose()?,
    })
}

/// Targets of cross entropy in host memory.
enum Targets {
    Class(Vec<usize>),
    Distribution(Vec<f64>, usize),
}

impl Targets {
    fn read(op: &'static str, target: &Target<'_>, logits: &View<'_>) -> Result<Self> {
        let classes = logits.shape()[1];
        match target {
            Target::Distribution(view) => Ok(Targets::Distribution(read(op, view)?, classes)),
            Target::Class(view) => {
                let class = read_indices(op, view)?;
                let counted: Vec<usize> = class.iter().map(|&c| if c == u32::MAX as usize { 0 } else { c }).collect();
                in_range(op, "target", &counted, classes.max(1))?;
                Ok(Targets::Class(class))
            }
        }
    }

    fn row(&self, row: usize) -> reference::TargetRow<'_> {
        match self {
            Targets::Class(class) => reference::TargetRow::Class(Some(class[row]).filter(|&c| c != u32::MAX as usize)),
            Targets::Distribution(weights, classes) => reference::TargetRow::Distribution(&weights[row * classes..][..*classes]),
        }
    }
}
