//! Device to host: the only op that waits.

use crate::CudaBackend;
use kernels::ops::Download;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

impl Launch<Download<'_>> for CudaBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Download<'_>>) -> Result<()> {
        const OP: &str = Download::NAME;
        self.queue.faults().enter(OP)?;
        let mut args = args.into_inner();
        let x = args.x;
        let bytes = args.data.as_bytes_mut();
        if bytes.is_empty() {
            return self.queue.wait();
        }
        let from = self.operand(OP, "x", &x)?;
        if x.layout().is_contiguous() {
            return self.queue.download(from, bytes);
        }
        let staging = self.scratch(OP, bytes.len() as u64)?;
        let flat = Layout::contiguous(*x.shape())?;
        self.queue_copy(OP, x.dtype(), (from, x.layout()), (staging.address(), &flat))?;
        self.queue.download(staging.address(), bytes)
    }
}
