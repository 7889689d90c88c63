//! Rows of a table by index.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// out\[m\] = table[index\[m\]]
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `table` | [V, D], last stride 1 | f32, bf16, f16 |
/// | `index` | \[M\] | u32, each below V |
/// | `out` | [M, D], last stride 1; overwritten | as `table` |
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Index` for an index ≥ V, from this call or (asynchronous devices) from the next that waits.
pub struct Gather<'a> {
    /// Rows to choose from.
    pub table: View<'a>,
    /// Which row each output row is.
    pub index: View<'a>,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for Gather<'_> {
    const NAME: &'static str = "gather";
    operands!(table, index, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [_, d] = check.dims("table", &self.table, "[V, D]")?;
        check.float("table", &self.table)?;
        check.last_dense("table", &self.table)?;
        let [m] = check.dims("index", &self.index, "[M]")?;
        check.dtype("index", &self.index, DType::U32)?;
        check.shape("out", &self.out, &[m, d])?;
        check.dtype("out", &self.out, self.table.dtype())?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: self.index.bytes() + 2 * self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.table.dtype()
    }
}
