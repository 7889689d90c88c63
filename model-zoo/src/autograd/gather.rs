//! Rows of a table by index: the gradient adds each row back to where it came from.

use super::{Result, Tape, Var};
use kernels::Op;
use kernels::ops::{Fill, Gather, ScatterAdd};

impl Tape {
    /// Rows `index` \[M\], u32, of `table` [V, D]: [M, D].
    ///
    /// # Errors
    /// As [`Gather`].
    pub fn gather(&mut self, table: &Var, index: &Var) -> Result<Var> {
        let m = index.shape().first().copied().unwrap_or(0);
        let d = table.shape().last().copied().unwrap_or(0);
        let mut out = self.output(table.dtype(), [m, d])?;
        Gather { table: table.view()?, index: index.view()?, out: out.view_mut()? }.run(&**self.on())?;
        let (out, input, index) = (self.share(out), table.input(), index.clone());
        self.record(Gather::NAME, &[table], out, move |back, dout| {
            let dout = back.last_dense(dout)?;
            let mut dtable = back.output_for(&input)?;
            Fill { value: 0.0, out: dtable.view_mut()? }.run(back.on())?;
            ScatterAdd { index: index.view()?, x: dout.view()?, out: dtable.view_mut()? }.run(back.on())?;
            back.give(&input, dtable)
        })
    }
}
