//! Rows of a table by index.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::operand::{code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, INDEX, LATTICE, OUTPUT, ROW_WORDS, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Gather;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Gather::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROW_WORDS, INDEX, include_str!("gather.wgsl")],
    constants: &["OUT", "LANES"],
};

/// As in `gather.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    width: u32,
    limit: u32,
    table_first: u32,
    table_row: u32,
}

impl Launch<Gather<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Gather<'_>>) -> Result<()> {
        const OP: &str = Gather::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        if out_view.numel() == 0 {
            return Ok(());
        }
        let (table, index) = (self.operand(OP, "table", &args.table)?, self.operand(OP, "index", &args.index)?);
        let out = self.operand(OP, "out", &out_view)?;
        let slots =
            [Slot::new(&index, args.index.layout()), Slot::default(), Slot::default(), Slot::new(&out, out_view.layout())];
        let lattice = Lattice::new(OP, &out_view.shape()[..1], slots)?;
        let width = count(OP, "D", out_view.shape()[1])?;
        let params = Params {
            lattice,
            width,
            limit: count(OP, "V", args.table.shape()[0])?,
            table_first: table.first,
            table_row: strides(args.table.layout())[0],
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(out_view.dtype()), lanes(width), 0, 0],
            operands: &[table, index, out, self.queue.report()],
            params: bytemuck::bytes_of(&params),
            groups: lattice.count().into(),
        })
    }
}
