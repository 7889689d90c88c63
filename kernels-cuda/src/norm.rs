//! What the launchers of norms share.

use crate::CudaBackend;
use crate::driver::Address;
use crate::lattice::{Team, count};
use crate::params::{Lattice, NormBackwardParams};
use crate::queue::Dispatch;
use crate::source::Source;
use kernels::{Result, View};

/// Rows of a chunk of the sums over rows.
const CHUNK: u32 = 128;

/// Kernels of a gradient.
pub(crate) struct Kernels {
    pub source: &'static Source,
    /// Of the rows, and who does one.
    pub rows: (&'static str, Team),
    pub columns: &'static str,
    pub join: &'static str,
}

/// A vector of parameters: address and stride; zeros for one left out.
pub(crate) fn vector(on: &CudaBackend, op: &'static str, arg: &'static str, view: Option<&View<'_>>) -> Result<(Address, u64)> {
    match view {
        Some(view) => Ok((on.operand(op, arg, view)?, view.layout().strides()[0] as u64)),
        None => Ok((0, 0)),
    }
}

/// Gradients of a norm.
pub(crate) struct Backward<'a, 'b> {
    pub op: &'static str,
    pub kernels: Kernels,
    pub x: &'a View<'b>,
    pub weight: &'a View<'b>,
    pub mean: Option<&'a View<'b>>,
    pub rstd: &'a View<'b>,
    pub dout: &'a View<'b>,
    pub dx: &'a View<'b>,
    pub dweight: &'a View<'b>,
    pub dbias: Option<&'a View<'b>>,
}

impl Backward<'_, '_> {
    /// Queues the rows' gradient, the sums over chunks of rows, and their join.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`, a fault.
    pub fn run(self, on: &CudaBackend) -> Result<()> {
        let op = self.op;
        let (lead, width) = self.x.shape().split_at(self.x.shape().rank() - 1);
        let width = count(op, "elements of a row", width[0])?;
        let operands = [on.part(op, "x", self.x)?, on.part(op, "dout", self.dout)?, on.part(op, "dx", self.dx)?];
        let rows = Lattice::new(op, lead, &operands)?;
        let mean = self.mean.map(|mean| on.part(op, "mean", mean)).transpose()?.flatten();
        let stats = Lattice::new(op, lead, &[mean, on.part(op, "rstd", self.rstd)?])?;
        if width == 0 {
            return Ok(());
        }
        let chunks = rows.count.div_ceil(CHUNK).max(1);
        let scratch = on.scratch(op, u64::from(chunks) * 2 * u64::from(width) * 4)?;
        let (weight, weight_step) = vector(on, op, "weight", Some(self.weight))?;
        let (dweight, dweight_step) = vector(on, op, "dweight", Some(self.dweight))?;
        let (dbias, dbias_step) = vector(on, op, "dbias", self.dbias)?;
        let partial = scratch.address();
        #[rustfmt::skip]
        let params = NormBackwardParams {
            rows, stats, weight, dweight, dbias, weight_step, dweight_step, dbias_step, partial, width, chunk: CHUNK, chunks, unused: 0,
        };
        let Kernels { source, rows: (of_rows, team), columns, join } = self.kernels;
        on.rowwise(op, (source, of_rows), (&rows, team), &params)?;
        let groups = u64::from(width).div_ceil(32);
        let params = bytemuck::bytes_of(&params);
        on.queue.dispatch(&Dispatch { op, source, kernel: columns, threads: 256, blocks: groups * u64::from(chunks), params })?;
        on.queue.dispatch(&Dispatch { op, source, kernel: join, threads: 256, blocks: groups, params })
    }
}
