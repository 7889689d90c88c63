//! The kernels that are measured: one list for the report, for criterion and for `--null`.

use crate::report::{Arithmetic, KernelRow, Work};
use half::{bf16, f16};
use kernels::ops::{AdamW, Attention, Binary, BinaryOp, Linear, LinearInt8, Mask, Matmul, Quantize, RmsNorm, Softmax, Upload};
use kernels::weight::{Bits, BlockFormat, Blocks, Pattern, Quant, QuantScheme, Sparse, SparseValues, Values, Zero};
use kernels::{Backend, Buffer, Cost, DType, Error, Op, Packed, Result, Weight, WeightRef};

/// Where the f16 scales lie in a block.
fn scales_of(format: BlockFormat) -> Vec<usize> {
    match format {
        BlockFormat::Q8_0 | BlockFormat::Q4_0 => vec![0],
        BlockFormat::Q4K | BlockFormat::Q5K => vec![0, 2],
        BlockFormat::Q6K => vec![format.block_bytes() - 2],
    }
}

/// How the weight of a linear case is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Storage {
    /// Packed, in the dtype of the activations.
    Dense,
    /// Integer codes.
    Quant(QuantScheme),
    /// A block format of GGUF.
    Blocks(BlockFormat),
    /// Sparse, in the dtype of the activations.
    Sparse(Places),
    /// Sparse, as codes of 8 bits.
    SparseInt8(Places),
}

/// Where a sparse weight stores values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Places {
    /// Compressed rows with this share of zeros.
    Csr(f64),
    /// Blocks of 16 outputs × 1 input with this share of zeros.
    Block16(f64),
    /// Two of every four.
    TwoOfFour,
}

impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Places::Csr(zeros) => write!(f, "csr-{:.0}", zeros * 100.0),
            Places::Block16(zeros) => write!(f, "block16x1-{:.0}", zeros * 100.0),
            Places::TwoOfFour => f.write_str("2:4"),
        }
    }
}

impl Storage {
    fn name(self) -> String {
        match self {
            Storage::Dense => "dense".into(),
            Storage::Quant(scheme) => scheme.to_string(),
            Storage::Blocks(format) => format.to_string(),
            Storage::Sparse(places) => places.to_string(),
            Storage::SparseInt8(places) => format!("{places}-int8"),
        }
    }
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `[M, K] · [K, N]`.
    Matmul { m: usize, n: usize, k: usize },
    /// `[M, K]` through a packed weight `[N, K]`.
    Linear { m: usize, n: usize, k: usize, storage: Storage },
    /// The same in 8-bit integers.
    LinearInt8 { m: usize, n: usize, k: usize },
    /// The same from float activations, quantized in the call.
    DynamicInt8 { m: usize, n: usize, k: usize, storage: Storage },
    /// Causal attention of one sequence.
    Attention { heads: usize, head_dim: usize, seq_q: usize, seq_k: usize },
    /// `[rows, d]`.
    RmsNorm { rows: usize, d: usize },
    /// `[rows, d]`.
    Softmax { rows: usize, d: usize },
    /// One step on so many parameters.
    AdamW { params: usize },
    /// An op on no elements: what the door itself costs.
    Door,
}

/// One kernel measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Dtype of the activations.
    pub(crate) dtype: DType,
    /// What is computed.
    pub(crate) kind: Kind,
}

pub(crate) const INT8: QuantScheme = QuantScheme::per_channel(Bits::Int8);
const INT4: QuantScheme = QuantScheme { bits: Bits::Int4, group_size: 64, zero: Zero::Symmetric };

/// The cases of a run. `full` adds the larger shapes.
pub fn cases(full: bool) -> Vec<Case> {
    let f32 = |kind| Case { dtype: DType::F32, kind };
    let bf16 = |kind| Case { dtype: DType::Bf16, kind };
    let square = |size| Kind::Matmul { m: size, n: size, k: size };
    let linear = |m, n, k, storage| Kind::Linear { m, n, k, storage };
    let mut list: Vec<Case> = [8, 64, 256, 512].map(|size| f32(square(size))).into();
    list.extend([bf16(square(512)), Case { dtype: DType::I8, kind: square(512) }]);
    for m in [1, 32] {
        let (n, k) = (3072, 768);
        list.extend([f32(linear(m, n, k, Storage::Dense)), bf16(linear(m, n, k, Storage::Dense))]);
        list.extend([INT8, INT4].map(|scheme| f32(linear(m, n, k, Storage::Quant(scheme)))));
        list.push(f32(Kind::LinearInt8 { m, n, k }));
        let places = [Places::Csr(0.9), Places::Block16(0.9), Places::TwoOfFour];
        list.extend(
            [Storage::Sparse, Storage::SparseInt8].into_iter().flat_map(|form| places.map(form)).map(|s| f32(linear(m, n, k, s))),
        );
    }
    let attention = |seq_q, seq_k| Kind::Attention { heads: 12, head_dim: 64, seq_q, seq_k };
    list.extend([f32(attention(128, 128)), f32(attention(512, 512)), f32(attention(1, 1024)), bf16(attention(1, 1024))]);
    list.push(f32(Kind::RmsNorm { rows: 4096, d: 768 }));
    list.push(f32(Kind::Softmax { rows: 4096, d: 768 }));
    list.push(f32(Kind::AdamW { params: 1 << 22 }));
    list.push(f32(Kind::Door));
    if full {
        list.extend([1024, 2048].map(|size| f32(square(size))));
        list.push(bf16(square(1024)));
        list.push(f32(Kind::DynamicInt8 { m: 32, n: 3072, k: 768, storage: Storage::Quant(INT8) }));
        for storage in [BlockFormat::Q4_0, BlockFormat::Q4K, BlockFormat::Q8_0].map(Storage::Blocks) {
            list.extend([1, 32].map(|m| f32(Kind::DynamicInt8 { m, n: 4096, k: 4096, storage })));
        }
        for storage in [Storage::Dense, Storage::Quant(INT8), Storage::Quant(INT4)] {
            list.extend([1, 8, 128].map(|m| f32(linear(m, 4096, 4096, storage))));
        }
        for zeros in [0.5, 0.65, 0.8, 0.95] {
            list.extend([Places::Csr(zeros), Places::Block16(zeros)].map(|s| f32(linear(64, 2048, 2048, Storage::Sparse(s)))));
        }
        list.push(f32(linear(64, 2048, 2048, Storage::Dense)));
        list.extend([f32(attention(1024, 1024)), f32(attention(1, 4096))]);
    }
    list
}

/// More of a full run on a GPU: shapes by which GPU kernels are commonly compared (cuBLAS, FlashAttention, Marlin).
pub fn gpu_cases() -> Vec<Case> {
    let bf16 = |kind| Case { dtype: DType::Bf16, kind };
    let square = |dtype, size| Case { dtype, kind: Kind::Matmul { m: size, n: size, k: size } };
    let linear = |m, size, storage| bf16(Kind::Linear { m, n: size, k: size, storage });
    let attention = |heads, head_dim, seq_q, seq_k| bf16(Kind::Attention { heads, head_dim, seq_q, seq_k });
    let int4 = QuantScheme { group_size: 128, ..INT4 };
    let mut list = vec![square(DType::F32, 4096), square(DType::Bf16, 4096), square(DType::F16, 4096)];
    list.extend([square(DType::Bf16, 8192), square(DType::I8, 8192)]);
    for storage in [Storage::Dense, Storage::Quant(INT8), Storage::Quant(int4), Storage::Blocks(BlockFormat::Q4K)] {
        list.extend([1, 16, 64].map(|m| linear(m, 8192, storage)));
    }
    let places = [Places::TwoOfFour, Places::Block16(0.8), Places::Block16(0.9)];
    list.extend([Storage::Dense].into_iter().chain(places.map(Storage::Sparse)).map(|storage| linear(4096, 4096, storage)));
    list.push(Case { dtype: DType::F32, kind: Kind::LinearInt8 { m: 4096, n: 4096, k: 4096 } });
    list.extend([1024, 4096, 16384].map(|seq| attention(32, 64, seq, seq)));
    list.extend([attention(16, 128, 4096, 4096), attention(32, 128, 1, 32768)]);
    list.extend([Kind::RmsNorm { rows: 16384, d: 4096 }, Kind::Softmax { rows: 16384, d: 4096 }].map(bf16));
    list.push(Case { dtype: DType::F32, kind: Kind::AdamW { params: 1 << 26 } });
    list
}

impl Case {
    /// Name of the op.
    pub fn op(&self) -> &'static str {
        match self.kind {
            Kind::Matmul { .. } => Matmul::NAME,
            Kind::Linear { .. } => Linear::NAME,
            Kind::LinearInt8 { .. } | Kind::DynamicInt8 { .. } => LinearInt8::NAME,
            Kind::Attention { .. } => Attention::NAME,
            Kind::RmsNorm { .. } => RmsNorm::NAME,
            Kind::Softmax { .. } => Softmax::NAME,
            Kind::AdamW { .. } => AdamW::NAME,
            Kind::Door => Binary::NAME,
        }
    }

    /// The family of kernels the case belongs to; `None` for what surrounds the four.
    pub fn family(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Matmul { .. } => Some("matmul"),
            Kind::Attention { .. } => Some("attention"),
            Kind::Linear { storage: Storage::Dense, .. } => Some("matmul"),
            Kind::Linear { storage: Storage::Quant(_) | Storage::Blocks(_), .. }
            | Kind::LinearInt8 { .. }
            | Kind::DynamicInt8 { .. } => Some("quantized"),
            Kind::Linear { .. } => Some("sparse"),
            Kind::RmsNorm { .. } | Kind::Softmax { .. } | Kind::AdamW { .. } | Kind::Door => None,
        }
    }

    fn weight(&self) -> String {
        match self.kind {
            Kind::Linear { storage, .. } => storage.name(),
            Kind::LinearInt8 { .. } => INT8.to_string(),
            Kind::DynamicInt8 { storage, .. } => format!("{}-dynamic", storage.name()),
            Kind::Door => "door: no elements".into(),
            _ => "dense".into(),
        }
    }

    fn shape(&self) -> Vec<(&'static str, u64)> {
        let dims: &[(&'static str, usize)] = match self.kind {
            Kind::Matmul { m, n, k }
            | Kind::Linear { m, n, k, .. }
            | Kind::LinearInt8 { m, n, k }
            | Kind::DynamicInt8 { m, n, k, .. } => &[("m", m), ("n", n), ("k", k)],
            Kind::Attention { heads, head_dim, seq_q, seq_k } => {
                &[("heads", heads), ("head_dim", head_dim), ("seq_q", seq_q), ("seq_k", seq_k)]
            }
            Kind::RmsNorm { rows, d } | Kind::Softmax { rows, d } => &[("rows", rows), ("d", d)],
            Kind::AdamW { params } => &[("params", params)],
            Kind::Door => &[("n", 0)],
        };
        dims.iter().map(|&(name, dim)| (name, dim as u64)).collect()
    }

    fn arithmetic(&self) -> Arithmetic {
        match (self.kind, self.dtype) {
            (Kind::LinearInt8 { .. } | Kind::DynamicInt8 { .. }, _) | (_, DType::I8) => Arithmetic::Int8,
            (Kind::Matmul { .. } | Kind::Linear { storage: Storage::Dense, .. }, DType::Bf16) => Arithmetic::Bf16,
            _ => Arithmetic::F32,
        }
    }

    /// The dtype the op is looked up by, in the support table and in the conformance suite.
    pub fn op_dtype(&self) -> DType {
        match self.kind {
            Kind::LinearInt8 { .. } | Kind::DynamicInt8 { .. } => DType::I8,
            _ => self.dtype,
        }
    }

    /// An empty row of the report for this case.
    pub fn row(&self, backend: &str, threads: u32) -> KernelRow {
        KernelRow::new(self.op(), backend, self.dtype.name(), &self.weight(), &self.shape(), threads)
    }

    /// Uploads operands and packs weights.
    ///
    /// # Errors
    /// What the backend says: unsupported, out of memory, …
    pub fn prepare<'b>(&self, on: &'b (dyn Backend + 'static)) -> Result<Prepared<'b>> {
        let mut values = Source(fastrand::Rng::with_seed(42));
        let mut buffers = Vec::new();
        let mut packed = None;
        let out_dtype = if self.dtype == DType::I8 { DType::I32 } else { self.dtype };
        match self.kind {
            Kind::Matmul { m, n, k } => {
                buffers.push(values.upload(on, self.dtype, m * k)?);
                buffers.push(values.upload(on, self.dtype, k * n)?);
                buffers.push(on.alloc(out_dtype, m * n)?);
            }
            Kind::Linear { m, n, k, storage } => {
                packed = Some(on.pack(&values.weight(self.dtype, n, k, storage)?)?);
                buffers.push(values.upload(on, self.dtype, m * k)?);
                buffers.push(on.alloc(self.dtype, m * n)?);
            }
            Kind::LinearInt8 { m, n, k } => {
                packed = Some(on.pack(&values.weight(DType::F32, n, k, Storage::Quant(INT8))?)?);
                buffers.push(values.upload(on, DType::I8, m * k)?);
                buffers.push(values.upload(on, DType::F32, m)?);
                buffers.push(on.alloc(DType::F32, m * n)?);
            }
            Kind::DynamicInt8 { m, n, k, storage } => {
                packed = Some(on.pack(&values.weight(DType::F32, n, k, storage)?)?);
                buffers.push(values.upload(on, self.dtype, m * k)?);
                buffers.push(on.alloc(DType::I8, m * k)?);
                buffers.push(on.alloc(DType::F32, m)?);
                buffers.push(on.alloc(DType::F32, m * n)?);
            }
            Kind::Attention { heads, head_dim, seq_q, seq_k } => {
                buffers.push(values.upload(on, self.dtype, seq_q * heads * head_dim)?);
                buffers.push(values.upload(on, self.dtype, seq_k * heads * head_dim)?);
                buffers.push(values.upload(on, self.dtype, seq_k * heads * head_dim)?);
                buffers.push(on.alloc(self.dtype, seq_q * heads * head_dim)?);
            }
            Kind::RmsNorm { rows, d } | Kind::Softmax { rows, d } => {
                buffers.push(values.upload(on, self.dtype, rows * d)?);
                buffers.push(values.upload(on, self.dtype, d)?);
                buffers.push(on.alloc(self.dtype, rows * d)?);
            }
            Kind::AdamW { params } => {
                for _ in 0..2 {
                    buffers.push(values.upload(on, DType::F32, params)?);
                }
                for _ in 0..2 {
                    buffers.push(on.alloc(DType::F32, params)?);
                }
            }
            Kind::Door => {
                for _ in 0..3 {
                    buffers.push(values.upload(on, self.dtype, 1)?);
                }
            }
        }
        on.sync()?;
        Ok(Prepared { case: *self, on, buffers, packed })
    }
}

/// A case with its operands on a device.
pub struct Prepared<'b> {
    case: Case,
    on: &'b (dyn Backend + 'static),
    buffers: Vec<Buffer>,
    packed: Option<Packed>,
}

impl Prepared<'_> {
    /// Runs the op once and waits for it.
    ///
    /// # Errors
    /// What the backend says.
    pub fn call(&mut self) -> Result<()> {
        self.start()?;
        self.wait()
    }

    /// Runs the op once; where the backend [queues](Prepared::queues), it may not be done yet.
    ///
    /// # Errors
    /// What the backend says.
    pub fn start(&mut self) -> Result<()> {
        self.with(Action::Run).map(|_| ())
    }

    /// Waits for every call that was started.
    ///
    /// # Errors
    /// What the backend says.
    pub fn wait(&self) -> Result<()> {
        self.on.sync()
    }

    /// Whether calls come back before they are done.
    pub fn queues(&self) -> bool {
        self.on.name() != "cpu"
    }

    /// Work of one call, by the op's own account.
    ///
    /// # Errors
    /// None in practice: the views are those of [`Prepared::call`].
    pub fn work(&mut self) -> Result<Work> {
        let cost = self.with(Action::Cost)?;
        Ok(Work { arithmetic: self.case.arithmetic(), flop: cost.flop as f64, bytes: cost.bytes as f64 })
    }

    fn with(&mut self, action: Action) -> Result<Cost> {
        let on = self.on;
        let Some((last, inputs)) = self.buffers.split_last_mut() else {
            return Ok(Cost::default());
        };
        match (self.case.kind, &self.packed) {
            (Kind::Matmul { m, n, k }, _) => {
                let (a, b) = (inputs[0].view([m, k])?, inputs[1].view([k, n])?);
                action.on(on, Matmul::new(a, b, last.view_mut([m, n])?))
            }
            (Kind::Linear { m, n, k, .. }, Some(packed)) => {
                let weight = WeightRef::Packed(packed);
                let (x, out) = (inputs[0].view([m, k])?, last.view_mut([m, n])?);
                action.on(on, Linear { x, weight, bias: None, act: Default::default(), out })
            }
            (Kind::LinearInt8 { m, n, k }, Some(weight)) => {
                let (x, x_scale) = (inputs[0].view([m, k])?, inputs[1].view([m])?);
                let out = last.view_mut([m, n])?;
                action.on(on, LinearInt8 { x, x_scale, weight, bias: None, act: Default::default(), out })
            }
            (Kind::DynamicInt8 { m, n, k, .. }, Some(weight)) => {
                let [x, q, scale] = inputs else {
                    return Ok(Cost::default());
                };
                let quantize = Quantize { x: x.view([m, k])?, q: q.view_mut([m, k])?, scale: scale.view_mut([m])? };
                let first = action.on(on, quantize)?;
                let (x, x_scale, out) = (q.view([m, k])?, scale.view([m])?, last.view_mut([m, n])?);
                let second = action.on(on, LinearInt8 { x, x_scale, weight, bias: None, act: Default::default(), out })?;
                Ok(Cost { flop: first.flop + second.flop, bytes: first.bytes + second.bytes })
            }
            (Kind::Attention { heads, head_dim, seq_q, seq_k }, _) => {
                let q = inputs[0].view([1, seq_q, heads, head_dim])?;
                let k = inputs[1].view([1, seq_k, heads, head_dim])?;
                let v = inputs[2].view([1, seq_k, heads, head_dim])?;
                let out = last.view_mut([1, seq_q, heads, head_dim])?;
                let scale = (head_dim as f32).sqrt().recip();
                action.on(on, Attention { q, k, v, lengths: None, mask: Mask::Causal, scale, out, lse: None })
            }
            (Kind::RmsNorm { rows, d }, _) => {
                let (x, weight) = (inputs[0].view([rows, d])?, inputs[1].view([d])?);
                action.on(on, RmsNorm { x, weight, eps: 1e-5, out: last.view_mut([rows, d])?, rstd: None })
            }
            (Kind::Softmax { rows, d }, _) => {
                action.on(on, Softmax { x: inputs[0].view([rows, d])?, out: last.view_mut([rows, d])? })
            }
            (Kind::AdamW { params }, _) => {
                let [param, grad, m] = inputs else {
                    return Ok(Cost::default());
                };
                let step = AdamW {
                    param: param.view_mut([params])?,
                    grad: grad.view([params])?,
                    m: m.view_mut([params])?,
                    v: last.view_mut([params])?,
                    lr: 1e-4,
                    beta1: 0.9,
                    beta2: 0.95,
                    eps: 1e-8,
                    weight_decay: 0.1,
                    l1: 0.0,
                    step: 10,
                };
                action.on(on, step)
            }
            (Kind::Door, _) => {
                let (a, b) = (inputs[0].view([0])?, inputs[1].view([0])?);
                action.on(on, Binary { op: BinaryOp::Add, a, b, out: last.view_mut([0])? })
            }
            (Kind::Linear { .. } | Kind::LinearInt8 { .. } | Kind::DynamicInt8 { .. }, None) => Ok(Cost::default()),
        }
    }
}

#[derive(Clone, Copy)]
enum Action {
    Run,
    Cost,
}

impl Action {
    fn on<O: Op>(self, on: &(dyn Backend + 'static), op: O) -> Result<Cost>
    where
        dyn Backend: kernels::Launch<O>,
    {
        match self {
            Action::Run => op.run(on).map(|()| Cost::default()),
            Action::Cost => Ok(op.cost()),
        }
    }
}

/// Seeded operands.
struct Source(fastrand::Rng);

impl Source {
    fn value(&mut self) -> f32 {
        self.0.f32() * 2.0 - 1.0
    }

    fn upload(&mut self, on: &(dyn Backend + 'static), dtype: DType, len: usize) -> Result<Buffer> {
        let mut buffer = on.alloc(dtype, len)?;
        let values: Vec<f32> = (0..len).map(|_| self.value()).collect();
        let out = buffer.view_mut([len])?;
        match dtype {
            DType::Bf16 => Upload::new(&values.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>(), out).run(on)?,
            DType::F16 => Upload::new(&values.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>(), out).run(on)?,
            DType::I8 => Upload::new(&values.iter().map(|&v| (v * 127.0) as i8).collect::<Vec<_>>(), out).run(on)?,
            _ => Upload::new(&values, out).run(on)?,
        }
        Ok(buffer)
    }

    fn weight(&mut self, dtype: DType, n: usize, k: usize, storage: Storage) -> Result<Weight> {
        let dense = |values: Vec<f32>| {
            Values::from_f32(dtype, &values).ok_or(Error::Unsupported {
                op: "weight",
                dtype,
                backend: "host",
                reason: "weights are floating-point values",
            })
        };
        match storage {
            Storage::Dense => {
                let values = (0..n * k).map(|_| self.value()).collect();
                Weight::dense(n, k, dense(values)?)
            }
            Storage::Quant(scheme) => {
                let codes = (0..n * scheme.row_bytes(k)).map(|_| self.0.u8(..)).collect();
                let scales = (0..n * scheme.groups(k)).map(|_| 0.01 + 0.01 * self.0.f32()).collect();
                let zero_points = match scheme.zero {
                    Zero::Symmetric => Vec::new(),
                    Zero::Asymmetric => (0..n * scheme.groups(k)).map(|_| self.0.u8(..=scheme.max_code())).collect(),
                };
                Ok(Weight::Quant(Quant::new(n, k, scheme, codes, scales, zero_points)?))
            }
            Storage::Blocks(format) => {
                let mut bytes = vec![0; n * (k / format.block_size()) * format.block_bytes()];
                self.0.fill(&mut bytes);
                let scale = f16::from_f32(0.01).to_le_bytes();
                for block in bytes.chunks_exact_mut(format.block_bytes()) {
                    for at in scales_of(format) {
                        block[at..at + 2].copy_from_slice(&scale);
                    }
                }
                Ok(Weight::Blocks(Blocks::new(n, k, format, bytes)?))
            }
            Storage::Sparse(places) => {
                let (pattern, stored) = self.pattern(n, k, places);
                let values = dense((0..stored).map(|_| self.value()).collect())?;
                Ok(Weight::Sparse(Sparse::new(n, k, pattern, values)?))
            }
            Storage::SparseInt8(places) => {
                let (pattern, stored) = self.pattern(n, k, places);
                let codes = (0..stored).map(|_| self.0.i8(..)).collect();
                Ok(Weight::Sparse(Sparse::new(n, k, pattern, SparseValues::Int8 { codes, scales: vec![0.01; n] })?))
            }
        }
    }

    /// A pattern, and how many values it stores.
    fn pattern(&mut self, n: usize, k: usize, places: Places) -> (Pattern, usize) {
        match places {
            Places::Csr(zeros) => {
                let (row_ptr, col) = self.rows(n, k, zeros);
                let stored = col.len();
                (Pattern::Csr { row_ptr, col }, stored)
            }
            Places::Block16(zeros) => {
                let (row_ptr, col) = self.rows(n.div_ceil(16), k, zeros);
                let stored = 16 * col.len();
                (Pattern::Block { rows: 16, cols: 1, row_ptr, col }, stored)
            }
            Places::TwoOfFour => {
                const PLACES: [u8; 6] = [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110];
                let places: Vec<u8> = (0..n * k.div_ceil(4)).map(|_| PLACES[self.0.usize(..6)]).collect();
                let stored = 2 * places.len();
                (Pattern::TwoOfFour { places }, stored)
            }
        }
    }

    /// Offsets and columns of `rows` rows, each entry of `cols` kept with probability 1 − `zeros`.
    fn rows(&mut self, rows: usize, cols: usize, zeros: f64) -> (Vec<u32>, Vec<u32>) {
        let mut row_ptr = vec![0];
        let mut col = Vec::new();
        for _ in 0..rows {
            col.extend((0..cols as u32).filter(|_| self.0.f64() >= zeros));
            row_ptr.push(col.len() as u32);
        }
        (row_ptr, col)
    }
}
