//! Gradients of root-mean-square normalization.

use crate::CudaBackend;
use crate::lattice::{Team, count, floats, row_kernel};
use crate::norm::{Backward, Kernels};
use crate::source::{Source, by_float, source};
use kernels::ops::RmsNormBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("rms_norm_backward");

impl Launch<RmsNormBackward<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<RmsNormBackward<'_>>) -> Result<()> {
        const OP: &str = RmsNormBackward::NAME;
        self.queue.faults().enter(OP)?;
        let (dx, dweight) = (args.dx.as_view(), args.dweight.as_view());
        let width = count(OP, "elements of a row", dweight.numel())?;
        let team = Team::holding(width, dx.dtype());
        let kernels = Kernels {
            source: &SOURCE,
            rows: (row_kernel!("rms_norm_backward", team, dx.dtype()), team),
            columns: by_float!("rms_norm_backward_columns", dx.dtype()),
            join: by_float!("rms_norm_backward_join", dx.dtype()),
        };
        let backward = Backward {
            op: OP,
            kernels,
            x: &args.x,
            weight: &args.weight,
            mean: None,
            rstd: &args.rstd,
            dout: &args.dout,
            dx: &dx,
            dweight: &dweight,
            dbias: None,
        };
        backward.run(self)
    }
}
