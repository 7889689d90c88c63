//! Gradient of softmax.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::operand::{code, count};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, OUTPUT, ROW_WORDS, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use crate::softmax::Params;
use kernels::ops::SoftmaxBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: SoftmaxBackward::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROWS, ROW_WORDS, include_str!("softmax_backward.wgsl")],
    constants: &["X", "OUT", "LANES"],
};

impl Launch<SoftmaxBackward<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<SoftmaxBackward<'_>>) -> Result<()> {
        const OP: &str = SoftmaxBackward::NAME;
        self.queue.faults().enter(OP)?;
        let dx_view = args.dx.as_view();
        if dx_view.numel() == 0 {
            return Ok(());
        }
        let (y, dout) = (self.operand(OP, "y", &args.y)?, self.operand(OP, "dout", &args.dout)?);
        let dx = self.operand(OP, "dx", &dx_view)?;
        let slots = [
            Slot::new(&y, args.y.layout()),
            Slot::new(&dout, args.dout.layout()),
            Slot::default(),
            Slot::new(&dx, dx_view.layout()),
        ];
        let (rows, width) = dx_view.shape().split_at(dx_view.shape().rank() - 1);
        let lattice = Lattice::new(OP, rows, slots)?;
        let width = count(OP, "elements of a row", width[0])?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.y.dtype()), code(dx_view.dtype()), lanes(width), 0],
            operands: &[y, dout, dx],
            params: bytemuck::bytes_of(&Params { lattice, width }),
            groups: lattice.count().into(),
        })
    }
}
