//! The way of bytes from the host to the device: chunks of memory that the host writes and the device copies from, used again once
//! it has.

use crate::memory::Counters;
use std::sync::mpsc::{Receiver, Sender, channel};
use wgpu::{Buffer, BufferDescriptor, BufferUsages, Device, MapMode};

/// Bytes of a chunk: the parameters of a full submission, and as much of uploads.
const CHUNK_BYTES: u64 = 256 << 10;
/// Most chunks; one submission may hold several.
const MOST: usize = 32;
/// Where parts of a mapped buffer may begin.
const ALIGN_BYTES: u64 = wgpu::MAP_ALIGNMENT;

pub(crate) struct Belt {
    /// Being written, and the bytes of it in use.
    open: Option<(Buffer, u64)>,
    /// Written, and read by commands that are not yet submitted.
    full: Vec<Buffer>,
    /// Mapped, and read by nothing.
    free: Vec<Buffer>,
    back: (Sender<Buffer>, Receiver<Buffer>),
    made: usize,
}

impl Default for Belt {
    fn default() -> Self {
        Belt { open: None, full: Vec::new(), free: Vec::new(), back: channel(), made: 0 }
    }
}

impl Belt {
    /// Puts bytes, zeros up to a whole word behind them, where the device can copy them from in the next submission: the chunk and
    /// the first byte in it. None if they are too many, or all chunks are on their way.
    pub fn stage(&mut self, device: &Device, counters: &Counters, bytes: &[u8]) -> Option<(&Buffer, u64)> {
        let size = (bytes.len() as u64).next_multiple_of(4);
        if size > CHUNK_BYTES {
            return None;
        }
        if self.open.as_ref().is_some_and(|(_, used)| used + size > CHUNK_BYTES) {
            self.close();
        }
        if self.open.is_none() {
            self.open = Some((self.chunk(device, counters)?, 0));
        }
        let (chunk, used) = self.open.as_mut()?;
        let at = *used;
        let mut range = chunk.get_mapped_range_mut(at..at + size).ok()?;
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        range.slice(..words.len()).copy_from_slice(words);
        if !rest.is_empty() {
            let mut last = [0; 4];
            last[..rest.len()].copy_from_slice(rest);
            range.slice(words.len()..).copy_from_slice(&last);
        }
        *used = (at + size).next_multiple_of(ALIGN_BYTES);
        Some((&*chunk, at))
    }

    fn chunk(&mut self, device: &Device, counters: &Counters) -> Option<Buffer> {
        self.free.extend(self.back.1.try_iter());
        if let Some(chunk) = self.free.pop() {
            return Some(chunk);
        }
        if self.made == MOST {
            return None;
        }
        self.made += 1;
        counters.made_own();
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        let descriptor = BufferDescriptor { label: Some("upload"), size: CHUNK_BYTES, usage, mapped_at_creation: true };
        Some(device.create_buffer(&descriptor))
    }

    /// To be called before a submission that copies from here.
    pub fn close(&mut self) {
        if let Some((chunk, _)) = self.open.take() {
            chunk.unmap();
            self.full.push(chunk);
        }
    }

    /// To be called after it.
    pub fn recall(&mut self) {
        for chunk in self.full.drain(..) {
            let (back, again) = (self.back.0.clone(), chunk.clone());
            chunk.map_async(MapMode::Write, .., move |mapped| {
                // Of a lost device nothing comes back.
                if mapped.is_ok() {
                    let _ = back.send(again);
                }
            });
        }
    }
}
