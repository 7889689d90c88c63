//! Gradient of root-mean-square normalization.

use crate::WgpuBackend;
use crate::lattice::floats;
use crate::layer_norm_backward::Backward;
use kernels::ops::RmsNormBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

impl Launch<RmsNormBackward<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<RmsNormBackward<'_>>) -> Result<()> {
        self.queue.faults().enter(RmsNormBackward::NAME)?;
        self.queue_norm_backward(&Backward {
            op: RmsNormBackward::NAME,
            x: args.x,
            weight: args.weight,
            mean: None,
            rstd: args.rstd,
            dout: args.dout,
            dx: &args.dx,
            dweight: &args.dweight,
            dbias: None,
        })
    }
}
