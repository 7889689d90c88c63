//! Stochastic gradient descent.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::{Lattice, SgdParams};
use crate::source::{Source, by_float, source};
use kernels::ops::{Momentum, Sgd};
use kernels::{Checked, DType, Launch, Op, Result, Support, ViewMut};

pub(crate) static SOURCE: Source = source!("sgd");

impl Launch<Sgd<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Sgd<'_>>) -> Result<()> {
        const OP: &str = Sgd::NAME;
        self.queue.faults().enter(OP)?;
        let param = args.param.as_view();
        let velocity = args.velocity.as_ref().map(ViewMut::as_view);
        let both = [self.part(OP, "grad", &args.grad)?, self.part(OP, "param", &param)?];
        let lattice = match &velocity {
            Some(velocity) => Lattice::new(OP, param.shape(), &[both[0], both[1], self.part(OP, "velocity", velocity)?])?,
            None => Lattice::new(OP, param.shape(), &both)?,
        };
        let (lr, momentum, l2, l1) = (args.lr, args.momentum, args.l2, args.l1);
        let nesterov = u32::from(args.form == Momentum::Nesterov);
        let params = SgdParams { lattice, lr, momentum, l2, l1, nesterov, unused: 0 };
        self.elementwise(OP, (&SOURCE, by_float!("sgd", args.grad.dtype())), &lattice, &params)
    }
}
