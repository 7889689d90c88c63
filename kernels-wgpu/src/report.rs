//! Indices out of range: what only the data can tell, found by kernels and told by the next call that waits.

use crate::fault::Faults;
use kernels::ops::{CrossEntropy, CrossEntropyBackward, Forest, Gather, ScatterAdd};
use kernels::{Error, Op, Result};
use wgpu::{BufferDescriptor, BufferUsages, CommandEncoder, Device, MapMode};

/// Words of a report: whether there is one, the op, the place of the index, its limit, the index.
const WORDS: usize = 5;
const BYTES: u64 = 32;

/// Ops that report, by their code in the shaders, and the argument that holds the indices.
const OPS: [(&str, &str); 6] = [
    (Gather::NAME, "index"),
    (ScatterAdd::NAME, "index"),
    (CrossEntropy::NAME, "target"),
    (CrossEntropyBackward::NAME, "target"),
    (Forest::NAME, "roots"),
    (Forest::NAME, "nodes"),
];

/// The first report since the host last looked.
pub(crate) struct Report {
    /// Where kernels leave it.
    pub buffer: wgpu::Buffer,
    readback: wgpu::Buffer,
}

impl Report {
    pub fn new(device: &Device) -> Self {
        let buffer = |usage| {
            device.create_buffer(&BufferDescriptor { label: Some("report"), size: BYTES, usage, mapped_at_creation: false })
        };
        Report {
            buffer: buffer(BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST),
            readback: buffer(BufferUsages::MAP_READ | BufferUsages::COPY_DST),
        }
    }

    /// Queues the transfer of the report to the host. To be followed by a submission, [`Report::map`], a wait and
    /// [`Report::result`], while nobody comes between.
    pub fn collect(&self, encoder: &mut CommandEncoder) {
        encoder.copy_buffer_to_buffer(&self.buffer, 0, &self.readback, 0, BYTES);
        encoder.clear_buffer(&self.buffer, 0, None);
    }

    pub fn map(&self) {
        // What goes wrong shows in `result`.
        self.readback.map_async(MapMode::Read, .., |_| ());
    }

    /// # Errors
    /// `Index` if there is a report; a fault if it cannot be read.
    pub fn result(&self, faults: &Faults) -> Result<()> {
        let mut words = [0u32; WORDS];
        {
            let range = self.readback.get_mapped_range(..).map_err(|error| faults.fail(error.to_string()))?;
            bytemuck::cast_slice_mut(&mut words).iter_mut().zip(range.iter()).for_each(|(to, from): (&mut u8, _)| *to = *from);
        }
        self.readback.unmap();
        let [found, op, at, limit, got] = words;
        match OPS.get(op as usize) {
            Some(&(op, arg)) if found != 0 => {
                Err(Error::Index { op, arg, at: at as usize, limit: limit as usize, got: got.into() })
            }
            _ => Ok(()),
        }
    }
}
