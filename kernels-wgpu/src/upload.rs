//! Host to device.

use crate::memory::Storage;
use crate::{NAME, WgpuBackend};
use kernels::ops::Upload;
use kernels::{Checked, DType, Error, Launch, Layout, Op, Result, Support};

impl Launch<Upload<'_>> for WgpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Upload<'_>>) -> Result<()> {
        const OP: &str = Upload::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let (bytes, layout, dtype) = (args.data.as_bytes(), out.layout(), out.dtype());
        if bytes.is_empty() {
            return Ok(());
        }
        let storage = out.storage::<Storage>().ok_or(Error::Device { op: OP, arg: "out", backend: NAME })?;
        let start = layout.offset() * dtype.size_bytes();
        let to_the_end = layout.offset() + out.numel() == out.buffer_len();
        if layout.is_contiguous() && start % 4 == 0 && (bytes.len() % 4 == 0 || to_the_end) {
            self.queue.write(&storage.buffer, start as u64, bytes)?;
            return self.queue.faults().check();
        }
        // Elements that share words with others, or lie apart, are put in place by a kernel.
        let _alone = self.queue.transfer();
        let staging = self.queue.staging(OP, bytes.len() as u64)?;
        self.queue.write(&staging.buffer, 0, bytes)?;
        let flat = Layout::contiguous(*layout.shape())?;
        let from = (self.part(OP, &staging.buffer, &flat, dtype)?, &flat);
        self.queue_copy(OP, dtype, from, (self.operand(OP, "out", &out)?, layout))
    }
}
