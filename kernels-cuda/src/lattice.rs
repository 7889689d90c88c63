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

/// What [`Lattice::dense`] tells, as there.
const DENSE: u32 = 1;
const ROWS_OF_FOURS: u32 = 2;

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
            operand.is_none_or(|operand| {
                lattice.strides[0][k] == 1 && operand.address.is_multiple_of(4 * operand.dtype.size_bytes() as u64)
            })
        };
        if operands.iter().enumerate().all(neat) {
            let rows = &lattice.strides[1..(lattice.rank as usize).max(1)];
            let fours = lattice.dims[0].is_multiple_of(4) && rows.iter().flatten().all(|stride| stride.is_multiple_of(4));
            lattice.dense = match rows.is_empty() {
                true => DENSE,
                false if fours => ROWS_OF_FOURS,
                false => 0,
            };
        }
        Ok(lattice)
    }

    /// Blocks of an elementwise kernel.
    fn elementwise_blocks(&self) -> u64 {
        u64::from(self.count).div_ceil(ELEMENTWISE_BLOCK)
    }
}

/// Who does a row: by its length alone, as the order of its sums follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Team {
    Warp,
    Block,
    /// A block that reads the row pass by pass, where a shorter one would be held by its threads.
    LongRow,
}

/// What every row is given at least. Tests set it, as teams of many threads do rows that are long to generate.
static LEAST: LazyLock<Team> = LazyLock::new(|| match std::env::var("SIZEWISE_CUDA_ROWS").as_deref() {
    Ok("block") => Team::Block,
    Ok("long") => Team::LongRow,
    _ => Team::Warp,
});

impl Team {
    /// For an op that reads rows pass by pass.
    pub fn reading(width: u32) -> Self {
        let team = if width <= 1024 { Team::Warp } else { Team::Block };
        team.max(LEAST.min(Team::Block))
    }

    /// For an op whose threads hold a row, 64 bytes each, as in `cu/held.cuh`.
    pub fn holding(width: u32, dtype: DType) -> Self {
        let team = match u64::from(width) * dtype.size_bytes() as u64 {
            ..=2048 => Team::Warp,
            2049..=16384 => Team::Block,
            _ => Team::LongRow,
        };
        team.max(*LEAST)
    }

    /// Blocks for so many rows.
    pub fn blocks(self, rows: u32) -> u64 {
        u64::from(rows).div_ceil(if self == Team::Warp { 8 } else { 1 })
    }
}

/// Name of a kernel on rows: `name_warp_f32`, `name_block_bf16`, …, and `name_long_f16` of ops that hold shorter ones.
macro_rules! row_kernel {
    ($name:literal, $team:expr, $dtype:expr) => {
        match $team {
            $crate::lattice::Team::Warp => $crate::source::by_float!(concat!($name, "_warp"), $dtype),
            $crate::lattice::Team::Block => $crate::source::by_float!(concat!($name, "_block"), $dtype),
            $crate::lattice::Team::LongRow => $crate::source::by_float!(concat!($name, "_long"), $dtype),
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

    /// Queues a kernel on rows.
    ///
    /// # Errors
    /// A fault.
    pub(crate) fn rowwise<P: Pod>(
        &self,
        op: &'static str,
        (source, kernel): (&'static Source, &'static str),
        (rows, team): (&Lattice, Team),
        params: &P,
    ) -> Result<()> {
        self.queue.dispatch(&Dispatch {
            op,
            source,
            kernel,
            threads: ROWS_THREADS,
            blocks: team.blocks(rows.count),
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
