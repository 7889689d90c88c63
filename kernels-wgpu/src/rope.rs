//! Rotary position embedding. Angles are whole numbers of 2⁻⁶⁴ turns, which products with positions keep exact: a device without f64
//! is as precise as one with it.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::memory::{KERNELS, Storage};
use crate::operand::{Operand, code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, OUTPUT, Shader, TURN, WIDE};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Direction, Pairing, Rope};
use kernels::{Checked, DType, Launch, Op, Result, Support};
use std::sync::{Arc, Mutex, PoisonError};

static SHADER: Shader = Shader {
    name: Rope::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WIDE, TURN, include_str!("rope.wgsl")],
    constants: &["OUT", "INTERLEAVED", "BACKWARD"],
};

/// Most tables of frequencies kept.
const TABLES: usize = 8;

/// As in `rope.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    steps: u32,
    heads: u32,
    half: u32,
    position: u32,
    x_head: u32,
    out_head: u32,
}

/// Tables of frequencies on the device, by the bits of `theta` and D/2, the latest last.
#[derive(Default)]
pub(crate) struct Frequencies(Mutex<Vec<(u32, usize, Arc<Storage>)>>);

/// theta^(−2i/D) / 2π in units of 2⁻⁶⁴, less whole turns: low and high word for each i.
fn frequencies(theta: f32, half: usize) -> Vec<[u32; 2]> {
    let frequency = |i| {
        let turns = f64::from(theta).powf(-(i as f64) / half as f64) / std::f64::consts::TAU;
        let units = (turns.fract() * 2f64.powi(64)) as u64;
        [units as u32, (units >> 32) as u32]
    };
    (0..half).map(frequency).collect()
}

impl WgpuBackend {
    /// The table of frequencies, made at its first use.
    fn frequencies(&self, theta: f32, half: usize) -> Result<Arc<Storage>> {
        let mut tables = self.frequencies.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., table)) = tables.iter().find(|&&(bits, len, _)| (bits, len) == (theta.to_bits(), half)) {
            return Ok(table.clone());
        }
        let table = frequencies(theta, half);
        let bytes = bytemuck::cast_slice(&table);
        let storage = Arc::new(self.queue.allocate(Rope::NAME, bytes.len() as u64, KERNELS)?);
        self.queue.write(&storage.buffer, 0, bytes)?;
        if tables.len() == TABLES {
            tables.remove(0);
        }
        tables.push((theta.to_bits(), half, storage.clone()));
        Ok(storage)
    }
}

impl Launch<Rope<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Rope<'_>>) -> Result<()> {
        const OP: &str = Rope::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        if out_view.numel() == 0 {
            return Ok(());
        }
        let [steps, heads, width] = [1, 2, 3].map(|axis| out_view.shape()[axis]);
        let (x, out) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out_view)?);
        let slots = [Slot::new(&x, args.x.layout()), Slot::default(), Slot::default(), Slot::new(&out, out_view.layout())];
        let lattice = Lattice::new(OP, &out_view.shape()[..2], slots)?;
        let params = Params {
            lattice,
            steps: count(OP, "T", steps)?,
            heads: count(OP, "H", heads)?,
            half: count(OP, "D", width)? / 2,
            position: args.position as u32, // the last position is below 2³²
            x_head: strides(args.x.layout())[2],
            out_head: strides(out_view.layout())[2],
        };
        let table = self.frequencies(args.theta, width / 2)?;
        let (interleaved, backward) = (args.pairing == Pairing::Interleaved, args.direction == Direction::Backward);
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(out_view.dtype()), u32::from(interleaved), u32::from(backward), 0],
            operands: &[x, Operand::whole(&table.buffer), out],
            params: bytemuck::bytes_of(&params),
            groups: lattice.count().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::frequencies;

    #[test]
    fn frequencies_are_parts_of_a_turn() {
        // theta⁰ is one radian, 1 / 2π of a turn.
        assert_eq!(frequencies(10_000.0, 4)[0][1], 0x28be_60db);
        // theta^(−½) = 100 radians: 15.9 turns, of which the whole ones do not matter.
        let [low, high] = frequencies(1e-4, 2)[1];
        let turns = (f64::from(high) + f64::from(low) * 2f64.powi(-32)) * 2f64.powi(-32);
        assert!((turns - (100.0 / std::f64::consts::TAU).fract()).abs() < 1e-6, "{turns}");
    }
}
