//! Host to device.

use crate::CudaBackend;
use kernels::ops::Upload;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

impl Launch<Upload<'_>> for CudaBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Upload<'_>>) -> Result<()> {
        const OP: &str = Upload::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let bytes = args.data.as_bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        if out.layout().is_contiguous() {
            return self.queue.upload(self.operand(OP, "out", &out)?, bytes);
        }
        // Elements that lie apart are put in place by a kernel.
        let staging = self.scratch(OP, bytes.len() as u64)?;
        self.queue.upload(staging.address(), bytes)?;
        let flat = Layout::contiguous(*out.shape())?;
        self.queue_copy(OP, out.dtype(), (staging.address(), &flat), (self.operand(OP, "out", &out)?, out.layout()))
    }
}
