//! Operands of one shape walked together: what `cu/lattice.cuh` reads.

use crate::CudaBackend;
use crate::driver::Address;
use crate::params::Lattice;
use crate::queue::Dispatch;
use crate::source::Source;
use bytemuck::Pod;
use kernels::{DType, Error, Layout, Result, Support};
use std::sync::LazyLock;

/// Threads of a block of elementwise kernels, and the elements it does, as in `cu/lattice.cuh`.
pub(crate) const ELEMENTWISE_THREADS: u32 = 256;
const ELEMENTWISE_BLOCK: u64 = 1024;

/// Threads of a block of kernels on rows, as in `cu/team.cuh`.
pub(crate) const ROWS_THREADS: u32 = 256;

/// One operand of a lattice.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub address: Address,
    pub layout: &'a Layout,
    pub dtype: DType,
}

/// A size as kernels count it. Below 2³¹, so that stepping past the end of a loop cannot wrap.
///
/// # Errors
/// `Limit`.
pub(crate) fn count(op: &'static str, what: &'static str, value: usize) -> Result<u32> {
    const LIMIT: u32 = i32::MAX as u32;
    let narrow = u32::try_from(value).ok().filter(|&value| value <= LIMIT);
    narrow.ok_or(Error::Limit { op, what, limit: LIMIT.into(), got: value as u64 })
}

/// Elements of a shape, which may have huge dimensions beside one of 0.
fn elements(dims: &[usize]) -> usize {
    if dims.contains(&0) { 0 } else { dims.iter().fold(1, |all, &dim| all.saturating_mul(dim)) }
}

impl Lattice {
    /// The elements of up to four operands that share these dimensions, which may be the leading ones of their own. `None` is an
    /// operand left out.
    ///
    /// # Errors
    /// `Limit` for 2³¹ elements or more.
    pub fn new(op: &'static str, dims: &[usize], operands: &[Option<Operand<'_>>]) -> Result<Self> {
        let mut lattice = Lattice { count: count(op, "elements", elements(dims))?, ..Lattice::default() };
        for (first, operand) in lattice.first.iter_mut().zip(operands) {
            *first = operand.map_or(0, |operand| operand.address);
        }
        if lattice.count == 0 {
            return Ok(lattice);
        }
        for (axis, &dim) in dims.iter().enumerate().rev().filter(|&(_, &dim)| dim > 1) {
            let mut here = [0; 4];
            for (stride, operand) in here.iter_mut().zip(operands) {
                *stride = operand.map_or(0, |operand| operand.layout.strides()[axis] as u64);
            }
            let (dim, rank) = (count(op, "size of a dimension", dim)?, lattice.rank as usize);
            // A dimension that goes on where the one before ends is part of it.
            let last = rank.wrapping_sub(1);
            let goes_on = rank > 0 && (0..4).all(|k| here[k] == lattice.strides[last][k].wrapping_mul(lattice.dims[last].into()));
            if goes_on {
                lattice.dims[last] *= dim;
            } else {
                lattice.dims[rank] = dim;
                lattice.strides[rank] = here;
                lattice.rank += 1;
            }
        }
        let neat = |(k, operand): (usize, &Option<Operand<'_>>)| {
            operand.is_some_and(|operand| {
                lattice.strides[0][k] == 1 && operand.address.is_multiple_of(4 * operand.dtype.size_bytes() as u64)
            })
        };
        lattice.dense = u32::from(lattice.rank == 1 && operands.iter().enumerate().all(neat));
        Ok(lattice)
    }

    /// Blocks of an elementwise kernel.
    fn elementwise_blocks(&self) -> u64 {
        u64::from(self.count).div_ceil(ELEMENTWISE_BLOCK)
    }

    /// Blocks of a kernel on rows of this width.
    pub fn row_blocks(&self, width: u32) -> u64 {
        blocks_of_rows(self.count, width)
    }
}

/// Blocks of a kernel on so many rows of this width.
pub(crate) fn blocks_of_rows(rows: u32, width: u32) -> u64 {
    u64::from(rows).div_ceil(if is_short(width) { 8 } else { 1 })
}

/// Longest row that a warp does. Tests set it, as blocks do rows that are long to generate.
static SHORT_ROW: LazyLock<u32> =
    LazyLock::new(|| std::env::var("SIZEWISE_CUDA_SHORT_ROW").ok().and_then(|text| text.parse().ok()).unwrap_or(1024));

/// Whether a warp does a row, and not a block: by its length alone, as the order of its sums follows from it.
pub(crate) fn is_short(width: u32) -> bool {
    width <= *SHORT_ROW
}

/// Name of a kernel on rows: `name_warp_f32`, `name_block_bf16`, ….
macro_rules! row_kernel {
    ($name:literal, $width:expr, $dtype:expr) => {
        match $crate::lattice::is_short($width) {
            true => $crate::source::by_float!(concat!($name, "_warp"), $dtype),
            false => $crate::source::by_float!(concat!($name, "_block"), $dtype),
        }
    };
}
pub(crate) use row_kernel;

impl CudaBackend {
    /// Queues an elementwise kernel.
    ///
    /// # Errors
    /// A fault.
    pub(crate) fn elementwise<P: Pod>(
        &self,
        op: &'static str,
        (source, kernel): (&'static Source, &'static str),
        lattice: &Lattice,
        params: &P,
    ) -> Result<()> {
        self.queue.dispatch(&Dispatch {
            op,
            source,
            kernel,
            threads: ELEMENTWISE_THREADS,
            blocks: lattice.elementwise_blocks(),
            params: bytemuck::bytes_of(params),
        })
    }

    /// Queues a kernel on rows of this width.
    ///
    /// # Errors
    /// A fault.
    pub(crate) fn rowwise<P: Pod>(
        &self,
        op: &'static str,
        (source, kernel): (&'static Source, &'static str),
        (rows, width): (&Lattice, u32),
        params: &P,
    ) -> Result<()> {
        self.queue.dispatch(&Dispatch {
            op,
            source,
            kernel,
            threads: ROWS_THREADS,
            blocks: rows.row_blocks(width),
            params: bytemuck::bytes_of(params),
        })
    }
}

/// Support of ops on floats.
pub(crate) fn floats(dtype: DType) -> Support {
    match dtype.is_float() {
        true => Support::Native,
        false => Support::No("defined for f32, bf16 and f16"),
    }
}
