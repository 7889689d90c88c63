//! Device to host: the only op that waits.

use crate::memory::Storage;
use crate::{NAME, WgpuBackend};
use kernels::ops::Download;
use kernels::{Checked, DType, Error, Launch, Layout, Op, Result, Support};

impl Launch<Download<'_>> for WgpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Download<'_>>) -> Result<()> {
        const OP: &str = Download::NAME;
        self.queue.faults().enter(OP)?;
        let mut args = args.into_inner();
        let (layout, dtype) = (*args.x.layout(), args.x.dtype());
        let bytes = args.data.as_bytes_mut();
        if bytes.is_empty() {
            return self.queue.wait();
        }
        let storage = args.x.storage::<Storage>().ok_or(Error::Device { op: OP, arg: "x", backend: NAME })?;
        let start = layout.offset() * dtype.size_bytes();
        if layout.is_contiguous() && start.is_multiple_of(4) {
            return self.queue.read(OP, &storage.buffer, start as u64, bytes);
        }
        let _alone = self.queue.transfer();
        let staging = self.queue.staging(OP, bytes.len() as u64)?;
        let flat = Layout::contiguous(*layout.shape())?;
        let to = (self.part(OP, &staging.buffer, &flat, dtype)?, &flat);
        self.queue_copy(OP, dtype, (self.operand(OP, "x", &args.x)?, &layout), to)?;
        self.queue.read(OP, &staging.buffer, 0, bytes)
    }
}
