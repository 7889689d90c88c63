//! Gradient of cross entropy.

use crate::WgpuBackend;
use crate::cross_entropy::bind_target;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::operand::{code, count};
use crate::pipeline::{ELEMENT, GROUP, INDEX, LATTICE, MATH, OUTPUT, ROW_WORDS, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::CrossEntropyBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: CrossEntropyBackward::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROWS, ROW_WORDS, MATH, INDEX, include_str!("cross_entropy_backward.wgsl")],
    constants: &["X", "OUT", "LANES", "CLASSES"],
};

/// As in `cross_entropy_backward.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    stats: Lattice,
    width: u32,
    scale: f32,
}

impl Launch<CrossEntropyBackward<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<CrossEntropyBackward<'_>>) -> Result<()> {
        const OP: &str = CrossEntropyBackward::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.dlogits.as_view();
        if out_view.numel() == 0 {
            return Ok(());
        }
        let logits = self.operand(OP, "logits", &args.logits)?;
        let (of, target_slot, classes) = bind_target(self, OP, &args.target)?;
        let (lse, dloss) = (self.operand(OP, "lse", &args.lse)?, self.operand(OP, "dloss", &args.dloss)?);
        let dlogits = self.operand(OP, "dlogits", &out_view)?;
        let none = Slot::default();
        let rows = &out_view.shape()[..1];
        let slots = [Slot::new(&logits, args.logits.layout()), target_slot, none, Slot::new(&dlogits, out_view.layout())];
        let lattice = Lattice::new(OP, rows, slots)?;
        let stats =
            Lattice::new(OP, rows, [Slot::new(&lse, args.lse.layout()), Slot::new(&dloss, args.dloss.layout()), none, none])?;
        let width = count(OP, "V", out_view.shape()[1])?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.logits.dtype()), code(out_view.dtype()), lanes(width), classes],
            operands: &[logits, of, lse, dloss, dlogits, self.queue.report()],
            params: bytemuck::bytes_of(&Params { lattice, stats, width, scale: args.scale }),
            groups: lattice.count().into(),
        })
    }
}
