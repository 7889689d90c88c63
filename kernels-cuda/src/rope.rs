//! Rotary position embedding. Angles are whole numbers of 2⁻⁶⁴ turns, which products with positions keep exact, without f64.

use crate::CudaBackend;
use crate::lattice::{count, floats};
use crate::memory::Storage;
use crate::params::{Lattice, RopeParams};
use crate::queue::Dispatch;
use crate::source::{Source, by_float, source};
use kernels::ops::{Direction, Pairing, Rope};
use kernels::{Checked, DType, Launch, Op, Result, Support};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) static SOURCE: Source = source!("rope");

/// Threads of a block, and the pairs and heads of one, as in `rope.cu`.
const THREADS: u32 = 256;
const PAIRS: usize = 4;
const HEADS: u32 = 8;

/// Most tables of frequencies kept.
const TABLES: usize = 8;

/// Tables of frequencies on the device, by the bits of `theta` and D/2, the latest last.
#[derive(Default)]
pub(crate) struct Frequencies(Mutex<Vec<(u32, usize, Arc<Storage>)>>);

/// theta^(−2i/D) / 2π in units of 2⁻⁶⁴, less whole turns, for each i.
fn frequencies(theta: f32, half: usize) -> Vec<u64> {
    let frequency = |i| {
        let turns = f64::from(theta).powf(-(i as f64) / half as f64) / std::f64::consts::TAU;
        (turns.fract() * 2f64.powi(64)) as u64
    };
    (0..half).map(frequency).collect()
}

impl CudaBackend {
    /// The table of frequencies, made at its first use.
    fn frequencies(&self, theta: f32, half: usize) -> Result<Arc<Storage>> {
        let mut tables = self.frequencies.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., table)) = tables.iter().find(|&&(bits, len, _)| (bits, len) == (theta.to_bits(), half)) {
            return Ok(table.clone());
        }
        let table = frequencies(theta, half);
        let bytes: &[u8] = bytemuck::cast_slice(&table);
        let storage = Arc::new(self.allocate(Rope::NAME, bytes.len() as u64)?);
        self.queue.upload(storage.address, bytes)?;
        if tables.len() == TABLES {
            tables.remove(0);
        }
        tables.push((theta.to_bits(), half, storage.clone()));
        Ok(storage)
    }
}

impl Launch<Rope<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Rope<'_>>) -> Result<()> {
        const OP: &str = Rope::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let [steps, heads, width] = [1, 2, 3].map(|axis| out.shape()[axis]);
        let rows = Lattice::new(OP, &out.shape()[..2], &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?])?;
        let heads = count(OP, "H", heads)?;
        let table = self.frequencies(args.theta, width / 2)?;
        let params = RopeParams {
            rows,
            frequencies: table.address,
            x_head: args.x.layout().strides()[2] as u64,
            out_head: out.layout().strides()[2] as u64,
            steps: count(OP, "T", steps)?,
            heads,
            half: count(OP, "D", width)? / 2,
            position: args.position as u32, // the last position is below 2³²
            interleaved: u32::from(args.pairing == Pairing::Interleaved),
            backward: u32::from(args.direction == Direction::Backward),
        };
        let items = (u64::from(rows.count) * u64::from(heads.div_ceil(HEADS))).saturating_mul((width / 2).div_ceil(PAIRS) as u64);
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: by_float!("rope", out.dtype()),
            threads: THREADS,
            blocks: items.div_ceil(THREADS.into()),
            params: bytemuck::bytes_of(&params),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::frequencies;

    #[test]
    fn frequencies_are_parts_of_a_turn() {
        // theta⁰ is one radian, 1 / 2π of a turn.
        assert_eq!(frequencies(10_000.0, 4)[0] >> 32, 0x28be_60db);
        // theta^(−½) = 100 radians: 15.9 turns, of which the whole ones do not matter.
        let turns = frequencies(1e-4, 2)[1] as f64 * 2f64.powi(-64);
        assert!((turns - (100.0 / std::f64::consts::TAU).fract()).abs() < 1e-6, "{turns}");
    }
}
