//! Bytes of a factor turned to lie along the sum.

use crate::CudaBackend;
use crate::driver::Address;
use crate::params::TurnParams;
use crate::queue::Dispatch;
use crate::source::{Source, source};
use kernels::Result;

pub(crate) static SOURCE: Source = source!("turn_bytes");

/// Bytes from a turned row to the next.
pub(crate) fn row_bytes(k: u32) -> u64 {
    u64::from(k).next_multiple_of(16)
}

impl CudaBackend {
    /// Queues the turning of a factor that has `rows` bytes in each of K lines, `line` bytes apart, to rows [`row_bytes`] apart.
    ///
    /// # Errors
    /// A fault.
    pub(crate) fn turn_bytes(&self, op: &'static str, [from, to]: [Address; 2], line: u64, [rows, k]: [u32; 2]) -> Result<()> {
        let to_row = row_bytes(k);
        let params = TurnParams { from, to, from_line: line, to_row, rows, k };
        self.queue.dispatch(&Dispatch {
            op,
            source: &SOURCE,
            kernel: "turn_bytes",
            threads: 256,
            blocks: u64::from(rows.div_ceil(128)) * u64::from(k.div_ceil(128)),
            params: bytemuck::bytes_of(&params),
        })
    }
}
