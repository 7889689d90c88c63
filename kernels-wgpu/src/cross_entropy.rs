//! Cross entropy of softmax.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::operand::{Operand, code, count};
use crate::pipeline::{ELEMENT, GROUP, INDEX, LATTICE, MATH, PRECISE, ROWS, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{CrossEntropy, Target};
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: CrossEntropy::NAME,
    pieces: &[ELEMENT, GROUP, LATTICE, ROWS, MATH, PRECISE, INDEX, include_str!("cross_entropy.wgsl")],
    constants: &["X", "LANES", "CLASSES"],
};

/// As in `cross_entropy.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    width: u32,
    scale: f32,
}

/// A target: its binding, the place of each row's class or distribution, and whether it is of classes.
pub(crate) fn bind_target<'a>(on: &WgpuBackend, op: &'static str, of: &Target<'a>) -> Result<(Operand<'a>, Slot, u32)> {
    let (view, classes) = match of {
        Target::Class(view) => (view, 1),
        Target::Distribution(view) => (view, 0),
    };
    let operand = on.operand(op, "target", view)?;
    Ok((operand, Slot::new(&operand, view.layout()), classes))
}

impl Launch<CrossEntropy<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<CrossEntropy<'_>>) -> Result<()> {
        const OP: &str = CrossEntropy::NAME;
        self.queue.faults().enter(OP)?;
        let (loss_view, lse_view) = (args.loss.as_view(), args.lse.as_view());
        let logits = self.operand(OP, "logits", &args.logits)?;
        let (of, target_slot, classes) = bind_target(self, OP, &args.target)?;
        let (loss, lse) = (self.operand(OP, "loss", &loss_view)?, self.operand(OP, "lse", &lse_view)?);
        let slots = [
            Slot::new(&logits, args.logits.layout()),
            target_slot,
            Slot::new(&loss, loss_view.layout()),
            Slot::new(&lse, lse_view.layout()),
        ];
        let lattice = Lattice::new(OP, loss_view.shape(), slots)?;
        let width = count(OP, "V", args.logits.shape()[1])?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.logits.dtype()), lanes(width), classes, 0],
            operands: &[logits, of, loss, lse, self.queue.report()],
            params: bytemuck::bytes_of(&Params { lattice, width, scale: args.scale }),
            groups: lattice.count().into(),
        })
    }
}
