//! Layer normalization.

use crate::CudaBackend;
use crate::lattice::{Team, count, floats, row_kernel};
use crate::norm::vector;
use crate::params::{Lattice, NormParams};
use crate::source::{Source, source};
use kernels::ops::LayerNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support, ViewMut};

pub(crate) static SOURCE: Source = source!("layer_norm");

impl Launch<LayerNorm<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<LayerNorm<'_>>) -> Result<()> {
        const OP: &str = LayerNorm::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let (lead, width) = out.shape().split_at(out.shape().rank() - 1);
        let width = count(OP, "elements of a row", width[0])?;
        let (mean, rstd) = (args.mean.as_ref().map(ViewMut::as_view), args.rstd.as_ref().map(ViewMut::as_view));

        let mean = mean.as_ref().map(|view| self.part(OP, "mean", view)).transpose()?.flatten();
        let rstd = rstd.as_ref().map(|view| self.part(OP, "rstd", view)).transpose()?.flatten();
        let rows = Lattice::new(OP, lead, &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?, mean, rstd])?;
        let (weight, weight_step) = vector(self, OP, "weight", Some(&args.weight))?;
        let (bias, bias_step) = vector(self, OP, "bias", args.bias.as_ref())?;
        let params = NormParams { rows, weight, bias, weight_step, bias_step, width, eps: args.eps };
        let team = Team::holding(width, out.dtype());
        self.rowwise(OP, (&SOURCE, row_kernel!("layer_norm", team, out.dtype())), (&rows, team), &params)
    }
}
