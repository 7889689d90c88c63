//! Rotary positions: the gradient is turned back by the same angles.

use super::{Result, Tape, Var};
use kernels::Op;
use kernels::ops::{Direction, Pairing, Rope};

impl Tape {
    /// Rotates heads [B, T, H, D] by their positions, the first row being `position`.
    ///
    /// # Errors
    /// As [`Rope`].
    pub fn rope(&mut self, x: &Var, position: usize, theta: f32, pairing: Pairing) -> Result<Var> {
        let mut out = self.output(x.dtype(), *x.shape())?;
        Rope { x: x.view()?, position, theta, pairing, direction: Direction::Forward, out: out.view_mut()? }.run(&**self.on())?;
        let (out, input) = (self.share(out), x.input());
        self.record(Rope::NAME, &[x], out, move |back, dout| {
            let dout = back.last_dense(dout)?;
            let mut dx = back.output_for(&input)?;
            let (x, direction) = (dout.view()?, Direction::Backward);
            Rope { x, position, theta, pairing, direction, out: dx.view_mut()? }.run(back.on())?;
            back.give(&input, dx)
        })
    }
}
