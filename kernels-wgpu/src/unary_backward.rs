//! Gradients of functions of one element.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, MATH, OUTPUT, PRECISE, Shader, WORDS};
use crate::queue::Dispatch;
use crate::unary::{Params, function};
use kernels::ops::UnaryBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: UnaryBackward::NAME,
    pieces: &[
        ELEMENT,
        OUTPUT,
        GROUP,
        LATTICE,
        WORDS,
        ELEMENTWISE,
        MATH,
        PRECISE,
        include_str!("wgsl/function.wgsl"),
        include_str!("unary_backward.wgsl"),
    ],
    constants: &["X", "OUT", "FUNCTION"],
};

impl Launch<UnaryBackward<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<UnaryBackward<'_>>) -> Result<()> {
        const OP: &str = UnaryBackward::NAME;
        self.queue.faults().enter(OP)?;
        let dx_view = args.dx.as_view();
        let (x, dout) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "dout", &args.dout)?);
        let dx = self.operand(OP, "dx", &dx_view)?;
        let slots = [
            Slot::new(&x, args.x.layout()),
            Slot::new(&dout, args.dout.layout()),
            Slot::default(),
            Slot::new(&dx, dx_view.layout()),
        ];
        let lattice = Lattice::new(OP, dx_view.shape(), slots)?;
        let (function, [scale, shift]) = function(args.op);
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), code(dx_view.dtype()), function, 0],
            operands: &[x, dout, dx],
            params: bytemuck::bytes_of(&Params { lattice, scale, shift }),
            groups: lattice.groups(dx_view.dtype()),
        })
    }
}
