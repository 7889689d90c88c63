//! Weights as the kernels of linear layers read them: sections of one allocation, codes in the order of `cu/coded.cuh`.

use crate::CudaBackend;
use crate::driver::Address;
use crate::lattice::count;
use crate::memory::Storage;
use kernels::weight::{Bits, BlockFormat, Blocks, Coded, Pattern, Quant, Sparse, Values};
use kernels::{Backend, DType, Packed, Result, Weight};

const OP: &str = "pack";

/// Rows and inputs of a tile of codes, and of a record of a 2:4 weight.
const TILE_ROWS: usize = 16;
const TILE_INPUTS: usize = 32;

/// The form of 2:4 weights in `linear_sparse.cu`.
pub(crate) const TWO_OF_FOUR: u32 = 2;

/// How the values of a packed weight are found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Rows of values, each beginning at a multiple of 16 bytes.
    Dense { dtype: DType, row: u64 },
    /// Integer codes, by their number in `coded.cuh`. Free groups have a size and a count.
    Coded { form: u32, group_size: u32, groups: u32, sections: CodedSections },
    /// Stored values and their places, by their number in `linear_sparse.cu`; those of 2:4 weights are together at `values`.
    Sparse { form: u32, dtype: DType, block: [u32; 2], row_starts: Address, places: Address, values: Address, scales: Address },
}

/// Addresses; 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CodedSections {
    pub codes: Address,
    pub high: Address,
    pub scales: Address,
    pub zeros: Address,
}

/// A packed weight.
pub(crate) struct PackedWeight {
    pub form: Form,
    storage: Storage,
}

/// Sections in the making: offsets until they are on the device.
#[derive(Default)]
struct Sections(Vec<u8>);

impl Sections {
    /// Adds a section, and gives its offset.
    fn add(&mut self, bytes: &[u8]) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(16), 0);
        let at = self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        at
    }
}

/// Number of a form in `coded.cuh`.
pub(crate) fn form_of_blocks(format: BlockFormat) -> u32 {
    match format {
        BlockFormat::Q8_0 => 3,
        BlockFormat::Q4_0 => 4,
        BlockFormat::Q4K => 5,
        BlockFormat::Q5K => 6,
        BlockFormat::Q6K => 7,
    }
}

/// Codes and their upper bits, tile by tile.
fn codes(coded: Coded<'_>) -> (Vec<u8>, Vec<u8>) {
    let (n, k) = (coded.n(), coded.k());
    let upper_bits = match coded.max_code() {
        255 => 4,
        63 => 2,
        31 => 1,
        _ => 0,
    };
    let (lane_bytes, high_bytes) = if upper_bits == 4 { (16, 0) } else { (8, 2 * upper_bits) };
    let lanes = n.div_ceil(TILE_ROWS) * k.div_ceil(TILE_INPUTS) * 32;
    let (mut low, mut high) = (vec![0; lanes * lane_bytes], vec![0; lanes * high_bytes]);
    for row in 0..n {
        let (tile, g, second) = (row / TILE_ROWS, row % 8, row / 8 % 2);
        for l in 0..k {
            let (step, q, i) = (l % 32 / 16, l % 16 / 4, l % 4);
            let lane = (tile * k.div_ceil(TILE_INPUTS) + l / TILE_INPUTS) * 32 + 4 * g + q;
            let code = coded.code(row, l);
            match upper_bits {
                4 => low[lane * 16 + 4 * (2 * step + second) + i] = code,
                _ => low[lane * 8 + 4 * step + i] |= (code & 15) << (4 * second),
            }
            match upper_bits {
                1 => high[lane * 2 + step] |= (code >> 4) << (4 * second + i),
                2 => high[lane * 4 + i] |= (code >> 4) << (4 * step + 2 * second),
                _ => {}
            }
        }
    }
    (low, high)
}

/// What belongs to groups: `[tile of rows, group, row, bytes]` of what `bytes(row, group)` gives, which is as long as `size`.
fn by_group<'a>(n: usize, groups: usize, size: usize, bytes: impl Fn(usize, usize) -> std::borrow::Cow<'a, [u8]>) -> Vec<u8> {
    let mut all = vec![0; n.next_multiple_of(TILE_ROWS) * groups * size];
    for row in 0..n {
        for group in 0..groups {
            let at = ((row / TILE_ROWS * groups + group) * TILE_ROWS + row % TILE_ROWS) * size;
            all[at..at + size].copy_from_slice(&bytes(row, group));
        }
    }
    all
}

fn quant(sections: &mut Sections, quant: &Quant) -> Result<Form> {
    let (scheme, n, k) = (quant.scheme(), quant.n(), quant.k());
    let groups = scheme.groups(k);
    let scales = by_group(n, groups, 4, |row, group| quant.scales()[row * groups + group].to_ne_bytes().to_vec().into());
    let zeros = match quant.zero_points() {
        [] => None,
        zeros => Some(by_group(n, groups, 1, |row, group| zeros[row * groups + group..][..1].into())),
    };
    let form = match scheme.bits {
        Bits::Int8 => 1,
        Bits::Int4 => 2,
    };
    Ok(Form::Coded {
        form,
        group_size: count(OP, "group size", scheme.group_size.min(k.max(1)))?,
        groups: count(OP, "groups", groups)?,
        sections: CodedSections {
            codes: sections.add(&codes(Coded::Quant(quant)).0),
            high: 0,
            scales: sections.add(&scales),
            zeros: zeros.map_or(0, |zeros| sections.add(&zeros)),
        },
    })
}

fn blocks(sections: &mut Sections, blocks: &Blocks) -> Form {
    let (format, n) = (blocks.format(), blocks.n());
    let size = format.block_bytes();
    let per_row = blocks.k() / format.block_size();
    let part = |range: std::ops::Range<usize>| {
        move |row: usize, block: usize| blocks.bytes()[(row * per_row + block) * size..][range.clone()].into()
    };
    let (low, high) = codes(Coded::Blocks(blocks));
    let (codes, high) = (sections.add(&low), sections.add(&high));
    let scales = sections.add(&match format {
        BlockFormat::Q8_0 | BlockFormat::Q4_0 => by_group(n, per_row, 2, part(0..2)),
        BlockFormat::Q4K | BlockFormat::Q5K => by_group(n, per_row, 16, part(0..16)),
        BlockFormat::Q6K => by_group(n, per_row, 2, part(208..210)),
    });
    let factors = match format {
        BlockFormat::Q6K => {
            let pairs = |row: usize, at: usize| part(192 + at % 8 * 2..194 + at % 8 * 2)(row, at / 8);
            sections.add(&by_group(n, 8 * per_row, 2, pairs))
        }
        _ => 0,
    };
    Form::Coded {
        form: form_of_blocks(format),
        group_size: format.group_size() as u32,
        groups: (blocks.k() / format.group_size()) as u32,
        sections: CodedSections { codes, high, scales, zeros: factors },
    }
}

/// The records of a 2:4 weight, as `cu/two_of_four.cuh` has them.
fn records(sparse: &Sparse, places: &[u8]) -> Vec<u8> {
    let (k, bytes, size) = (sparse.k(), sparse.values().as_bytes(), sparse.values().dtype().size_bytes());
    let (fours, along) = (k.div_ceil(4), k.div_ceil(TILE_INPUTS));
    let values_bytes = TILE_ROWS * TILE_INPUTS / 2 * size;
    let record_bytes = values_bytes + 4 * TILE_ROWS;
    let mut all = vec![0; sparse.n().div_ceil(TILE_ROWS) * along * record_bytes];
    for record in all.chunks_exact_mut(record_bytes) {
        // Two places, as every four has them.
        record[values_bytes..].fill(0b0100_0100);
    }
    for (at, &place) in places.iter().enumerate() {
        let (row, four) = (at / fours, at % fours);
        let record = (row / TILE_ROWS * along + four / 8) * record_bytes;
        let (r, f) = (row % TILE_ROWS, four % 8);
        for (i, offset) in [place & 3, place >> 2].into_iter().enumerate() {
            if 4 * four + usize::from(offset) < k {
                let to = record + (2 * (8 * r + f % 4 * 2 + f / 4) + i) * size;
                all[to..to + size].copy_from_slice(&bytes[(2 * at + i) * size..][..size]);
            }
        }
        let byte = record + values_bytes + 4 * (r % 8 * 2 + f / 4) + r / 8 * 2 + f % 4 / 2;
        all[byte] = if f % 2 == 0 { all[byte] & 0xF0 | place } else { all[byte] & 0x0F | place << 4 };
    }
    all
}

fn sparse(sections: &mut Sections, sparse: &Sparse) -> Result<Form> {
    let words = |words: &[u32]| bytemuck::cast_slice::<u32, u8>(words).to_vec();
    let (form, block, row_starts, places) = match sparse.pattern() {
        Pattern::Csr { row_ptr, col } => (0, [1, 1], words(row_ptr), words(col)),
        Pattern::Block { rows, cols, row_ptr, col } => {
            // Kernels step beyond the last column by less than a block.
            let block = [count(OP, "rows of a block", *rows)?, count(OP, "columns of a block", *cols)?];
            (1, block, words(row_ptr), words(col))
        }
        Pattern::TwoOfFour { .. } => (TWO_OF_FOUR, [1, 1], Vec::new(), Vec::new()),
    };
    let values = match sparse.pattern() {
        Pattern::TwoOfFour { places } => records(sparse, places),
        _ => sparse.values().as_bytes().to_vec(),
    };
    Ok(Form::Sparse {
        form,
        dtype: sparse.values().dtype(),
        block,
        row_starts: sections.add(&row_starts),
        places: sections.add(&places),
        values: sections.add(&values),
        scales: sections.add(bytemuck::cast_slice(sparse.values().scales().unwrap_or_default())),
    })
}

fn dense(sections: &mut Sections, k: usize, values: &Values) -> Form {
    let size = values.dtype().size_bytes();
    let row_bytes = (k * size).next_multiple_of(16);
    let mut bytes = Vec::new();
    for row in values.as_bytes().chunks_exact((k * size).max(1)) {
        bytes.extend_from_slice(row);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
    }
    sections.add(&bytes);
    Form::Dense { dtype: values.dtype(), row: (row_bytes / size) as u64 }
}

/// A form whose offsets have become addresses.
fn placed(form: Form, first: Address) -> Form {
    match form {
        Form::Dense { .. } => form,
        Form::Coded { form, group_size, groups, sections: CodedSections { codes, high, scales, zeros } } => {
            // The codes are the first section: no other begins at 0.
            let address = |offset: u64| if offset == 0 { 0 } else { first + offset };
            let sections =
                CodedSections { codes: first + codes, high: address(high), scales: address(scales), zeros: address(zeros) };
            Form::Coded { form, group_size, groups, sections }
        }
        Form::Sparse { form, dtype, block, row_starts, places, values, scales } => {
            let [row_starts, places, values, scales] = [row_starts, places, values, scales].map(|offset| first + offset);
            Form::Sparse { form, dtype, block, row_starts, places, values, scales }
        }
    }
}

impl PackedWeight {
    /// Address of the first section.
    pub fn address(&self) -> Address {
        self.storage.address
    }
}

/// Lays a weight out on the device.
///
/// # Errors
/// `Limit` for sizes of 2³¹ and more; `OutOfMemory`; the first fault so far.
pub(crate) fn pack(on: &CudaBackend, weight: &Weight) -> Result<Packed> {
    on.queue.faults().enter(OP)?;
    count(OP, "N", weight.n())?;
    count(OP, "K", weight.k())?;
    let mut sections = Sections::default();
    let form = match weight {
        Weight::Dense { k, values, .. } => dense(&mut sections, *k, values),
        Weight::Quant(of) => quant(&mut sections, of)?,
        Weight::Blocks(of) => blocks(&mut sections, of),
        Weight::Sparse(of) => sparse(&mut sections, of)?,
    };
    let bytes = sections.0;
    let storage = on.allocate(OP, bytes.len() as u64)?;
    on.queue.upload(storage.address, &bytes)?;
    let (size, form) = (bytes.len() as u64, placed(form, storage.address));
    Ok(Packed::new(on.id(), weight, size, PackedWeight { form, storage }))
}
