//! Matrix product: out = a·b, da = dout·bᵀ, db = aᵀ·dout.

use super::var::with_dim;
use super::{Result, Tape, Var};
use kernels::Op;
use kernels::ops::Matmul;

/// The last two dimensions exchanged.
fn transposed(x: &Var) -> kernels::Result<kernels::View<'_>> {
    let rank = x.shape().rank();
    x.view()?.transpose(rank.wrapping_sub(2), rank.wrapping_sub(1))
}

impl Tape {
    /// `a` [.., M, K] times `b` [.., K, N] with equal leading dimensions, any strides: [.., M, N].
    ///
    /// # Errors
    /// As [`Matmul`].
    pub fn matmul(&mut self, a: &Var, b: &Var) -> Result<Var> {
        let n = b.shape().last().copied().unwrap_or(0);
        let mut out = self.output(a.dtype(), with_dim(a.shape(), a.shape().rank().wrapping_sub(1), n))?;
        Matmul::new(a.view()?, b.view()?, out.view_mut()?).run(&**self.on())?;
        let (out, a_saved, b_saved) = (self.share(out), a.clone(), b.clone());
        self.record(Matmul::NAME, &[a, b], out, move |back, dout| {
            let (a, b) = (a_saved, b_saved);
            if a.needs_gradient() {
                let mut da = back.output_for(&a.input())?;
                Matmul::new(dout.view()?, transposed(&b)?, da.view_mut()?).run(back.on())?;
                back.give(&a.input(), da)?;
            }
            if b.needs_gradient() {
                let mut db = back.output_for(&b.input())?;
                Matmul::new(transposed(&a)?, dout.view()?, db.view_mut()?).run(back.on())?;
                back.give(&b.input(), db)?;
            }
            Ok(())
        })
    }
}
