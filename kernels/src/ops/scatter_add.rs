//! Gradient of gather.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// out\[v\] += Σ_{m: index\[m\] = v} x\[m\]
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `index` | \[M\] | u32, each below V |
/// | `x` | [M, D], last stride 1 | f32, bf16, f16 |
/// | `out` | [V, D], last stride 1; read and written | as `x`, or f32 |
///
/// Deterministic: rows are added in the order of m, in f32; an f32 `out` is the accumulator itself, a narrower one rounds once.
/// Cost: one flop per element of `x`.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Index` for an index ≥ V, from this call or (asynchronous devices) from the next that waits.
pub struct ScatterAdd<'a> {
    /// Row of `out` each row of `x` is added to.
    pub index: View<'a>,
    /// Rows to add.
    pub x: View<'a>,
    /// Accumulator.
    pub out: ViewMut<'a>,
}

impl Op for ScatterAdd<'_> {
    const NAME: &'static str = "scatter_add";
    operands!(index, x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [m] = check.dims("index", &self.index, "[M]")?;
        check.dtype("index", &self.index, DType::U32)?;
        let [x_rows, d] = check.dims("x", &self.x, "[M, D]")?;
        if x_rows != m {
            return check.wrong_shape("x", &self.x, format!("[{m}, D]"));
        }
        check.float("x", &self.x)?;
        check.last_dense("x", &self.x)?;
        let [v, _] = check.dims("out", &self.out, "[V, D]")?;
        check.shape("out", &self.out, &[v, d])?;
        check.dtype_among("out", &self.out, &[self.x.dtype(), DType::F32])?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: self.x.numel() as u64, bytes: self.index.bytes() + 3 * self.x.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
