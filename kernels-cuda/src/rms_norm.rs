//! Root-mean-square normalization.

use crate::CudaBackend;
use crate::lattice::{Team, count, floats, row_kernel};
use crate::norm::vector;
use crate::params::{Lattice, NormParams};
use crate::source::{Source, source};
use kernels::ops::RmsNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support, ViewMut};

pub(crate) static SOURCE: Source = source!("rms_norm");

impl Launch<RmsNorm<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<RmsNorm<'_>>) -> Result<()> {
        const OP: &str = RmsNorm::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let (lead, width) = out.shape().split_at(out.shape().rank() - 1);
        let width = count(OP, "elements of a row", width[0])?;
        let rstd = args.rstd.as_ref().map(ViewMut::as_view);

        let rstd = rstd.as_ref().map(|view| self.part(OP, "rstd", view)).transpose()?.flatten();
        let rows = Lattice::new(OP, lead, &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?, None, rstd])?;
        let (weight, weight_step) = vector(self, OP, "weight", Some(&args.weight))?;
        let (bias, bias_step) = (0, 0);
        let params = NormParams { rows, weight, bias, weight_step, bias_step, width, eps: args.eps };
        let team = Team::holding(width, out.dtype());
        self.rowwise(OP, (&SOURCE, row_kernel!("rms_norm", team, out.dtype())), (&rows, team), &params)
    }
}
