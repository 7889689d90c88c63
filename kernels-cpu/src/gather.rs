//! Rows of a table by index.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::memory::input;
use crate::strided::{In, OutRows, each_row};
use kernels::ops::Gather;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support, View};

/// Checks that every index is below `limit` or equal to `except`.
///
/// # Errors
/// `Index` for the first that is not.
pub(crate) fn check_indices(
    op: &'static str,
    arg: &'static str,
    index: &View<'_>,
    limit: usize,
    except: Option<u32>,
) -> Result<()> {
    let data = input::<u32>(index)?;
    let legal = |value: u32| (value as usize) < limit || Some(value) == except;
    let (layout, count) = (index.layout(), index.numel());
    let start = layout.offset();
    let dense = layout.strides().iter().all(|&stride| stride == 1);
    if dense && count > 0 && data[start..start + count].iter().fold(true, |all, &value| all & legal(value)) {
        return Ok(()); // a loop without an exit, which the compiler vectorizes
    }
    match layout.indices().map(|at| data[at]).enumerate().find(|&(_, value)| !legal(value)) {
        None => Ok(()),
        Some((at, got)) => Err(Error::Index { op, arg, at, limit, got: got as u64 }),
    }
}

impl Launch<Gather<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Gather<'_>>) -> Result<()> {
        let Gather { table, index, out } = args.into_inner();
        let (rows, width) = (table.shape()[0], table.shape()[1]);
        check_indices(Gather::NAME, "index", &index, rows, None)?;
        with_float!(Gather::NAME, table.dtype(), T => {
            let (data, offset, stride) = (input::<T>(&table)?, table.layout().offset(), table.layout().strides()[0]);
            let operands = (In::<u32>::new(&index)?, OutRows::<T>::new(out)?);
            each_row(&self.pool, width, &operands, |_, (index, out)| {
                if width > 0 {
                    let start = offset + index[0] as usize * stride;
                    out.copy_from_slice(&data[start..start + width]);
                }
            });
            Ok(())
        })
    }
}
