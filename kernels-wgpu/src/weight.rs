//! Weights as the kernels of linear layers read them: as they are stored, section after section in one buffer.

use crate::WgpuBackend;
use crate::memory::{KERNELS, Storage, VECTOR_BYTES};
use crate::operand::{Operand, count};
use kernels::weight::{Bits, BlockFormat, Pattern, Sparse, SparseValues, Values, Zero};
use kernels::{Backend, DType, Error, Packed, Result, Weight};

const OP: &str = "pack";

/// How the values of a packed weight are found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// `values` `[N, K]`.
    Dense { dtype: DType },
    /// `codes` (bytes or nibbles, rows of whole bytes), `scales` `[N, groups]`, `zeros` (bytes) `[N, groups]`.
    Quant { bits: Bits, zero: Zero, group_size: u32, groups: u32, scales: u32, zeros: u32 },
    /// Blocks as GGUF has them, `[N, K / block]`.
    Blocks { format: BlockFormat },
    /// `row_ptr` `[N + 1]`, `col`, `values`.
    Csr { values: Stored, col: u32 },
    /// `row_ptr`, `col`, `values` `[blocks, rows, cols]`.
    Block { values: Stored, rows: u32, cols: u32, col: u32 },
    /// `places` (bytes) `[N, ceil(K/4)]`, `values` `[N, ceil(K/4), 2]`.
    TwoOfFour { values: Stored },
}

/// Values of a sparse weight, and f32 scales `[N]` behind them if they are codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub dtype: DType,
    pub values: u32,
    pub scales: u32,
}

/// A packed weight. Sections other than the first start at the word the form names.
pub(crate) struct PackedWeight {
    storage: Storage,
    pub form: Form,
}

impl PackedWeight {
    /// The whole weight, bound.
    pub fn operand(&self) -> Operand<'_> {
        Operand::whole(&self.storage.buffer)
    }
}

/// Sections in the making.
#[derive(Default)]
struct Sections(Vec<u8>);

impl Sections {
    /// Adds a section and gives back its first word.
    fn add(&mut self, bytes: &[u8]) -> Result<u32> {
        let word = count(OP, "words of a weight", self.0.len() / 4)?;
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(word)
    }
    fn add_words(&mut self, words: &[u32]) -> Result<u32> {
        self.add(bytemuck::cast_slice(words))
    }
    fn add_values(&mut self, values: &Values) -> Result<u32> {
        count(OP, "values of a weight", values.len())?;
        self.add(values.as_bytes())
    }
    fn add_stored(&mut self, values: &SparseValues) -> Result<Stored> {
        count(OP, "values of a weight", values.len())?;
        let at = self.add(values.as_bytes())?;
        let scales = self.add(bytemuck::cast_slice(values.scales().unwrap_or_default()))?;
        Ok(Stored { dtype: values.dtype(), values: at, scales })
    }
}

fn sparse(sections: &mut Sections, sparse: &Sparse) -> Result<Form> {
    let values = sparse.values();
    Ok(match sparse.pattern() {
        Pattern::Csr { row_ptr, col } => {
            sections.add_words(row_ptr)?;
            Form::Csr { col: sections.add_words(col)?, values: sections.add_stored(values)? }
        }
        Pattern::Block { rows, cols, row_ptr, col } => {
            sections.add_words(row_ptr)?;
            let (rows, cols) = (count(OP, "rows of a block", *rows)?, count(OP, "columns of a block", *cols)?);
            let col = sections.add_words(col)?;
            Form::Block { rows, cols, col, values: sections.add_stored(values)? }
        }
        Pattern::TwoOfFour { places } => {
            sections.add(places)?;
            Form::TwoOfFour { values: sections.add_stored(values)? }
        }
    })
}

/// Lays a weight out on the device.
///
/// # Errors
/// `Limit` if it is larger than one binding; `OutOfMemory`; the first fault so far.
pub(crate) fn pack(on: &WgpuBackend, weight: &Weight) -> Result<Packed> {
    on.queue.faults().enter(OP)?;
    let limit = on.queue.limits().max_storage_buffer_binding_size;
    let stored = weight.stored_bytes() as u64;
    if stored > limit {
        return Err(Error::Limit { op: OP, what: "bytes a kernel can bind of one weight", limit, got: stored });
    }
    let mut sections = Sections::default();
    let form = match weight {
        Weight::Dense { values, .. } => {
            sections.add_values(values)?;
            Form::Dense { dtype: values.dtype() }
        }
        Weight::Quant(quant) => {
            let (scheme, k) = (quant.scheme(), quant.k());
            count(OP, "codes of a weight", quant.n().saturating_mul(k))?;
            sections.add(quant.codes())?;
            Form::Quant {
                bits: scheme.bits,
                zero: scheme.zero,
                group_size: count(OP, "group size", scheme.group_size.min(k.max(1)))?,
                groups: count(OP, "groups", scheme.groups(k))?,
                scales: sections.add(bytemuck::cast_slice(quant.scales()))?,
                zeros: sections.add(quant.zero_points())?,
            }
        }
        Weight::Blocks(blocks) => {
            count(OP, "codes of a weight", blocks.n().saturating_mul(blocks.k()))?;
            sections.add(blocks.bytes())?;
            Form::Blocks { format: blocks.format() }
        }
        Weight::Sparse(of) => sparse(&mut sections, of)?,
    };
    let bytes = sections.0;
    let got = (bytes.len() as u64).next_multiple_of(VECTOR_BYTES);
    if got > limit {
        return Err(Error::Limit { op: OP, what: "bytes a kernel can bind of one weight", limit, got });
    }
    let storage = on.queue.allocate(OP, bytes.len() as u64, KERNELS)?;
    on.queue.write(&storage.buffer, 0, &bytes)?;
    on.queue.faults().check()?;
    let size = storage.buffer.size();
    Ok(Packed::new(on.id(), weight, size, PackedWeight { storage, form }))
}
