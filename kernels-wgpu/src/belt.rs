//! The way of bytes from the host to the device: chunks of memory that the host writes and the device copies from, used again once
//! it has.

use crate::memory::Counters;
use crate::scarcity::within_memory;
use std::sync::mpsc::{Receiver, Sender, channel};
use wgpu::{Buffer, BufferDescriptor, BufferUsages, Device, MapMode};

/// Bytes of a chunk: the parameters of a full submission, and as much of uploads.
pub(crate) const CHUNK_BYTES: u64 = 256 << 10;
/// Most chunks; one submission may hold several.
const MOST: usize = 32;
/// Where parts of a mapped buffer may begin.
const ALIGN_BYTES: u64 = wgpu::MAP_ALIGNMENT;

/// Where bytes have been put.
pub(crate) enum Staged {
    /// In this chunk, from this byte on.
    At(Buffer, u64),
    /// Nowhere: they are too many, or all chunks are on their way.
    Elsewhere,
    /// Nowhere: the device has no memory for a chunk.
    Scarce,
}

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
    /// Puts bytes, zeros up to a whole word behind them, where the device can copy them from in the next submission.
    pub fn stage(&mut self, device: &Device, counters: &Counters, bytes: &[u8]) -> Staged {
        let size = (bytes.len() as u64).next_multiple_of(4);
        if size > CHUNK_BYTES {
            return Staged::Elsewhere;
        }
        if self.open.as_ref().is_some_and(|(_, used)| used + size > CHUNK_BYTES) {
            self.close();
        }
        let (chunk, at) = match self.open.take() {
            Some(open) => open,
            None if self.all_under_way() => return Staged::Elsewhere,
            None => match self.chunk(device, counters) {
                Some(chunk) => (chunk, 0),
                None => return Staged::Scarce,
            },
        };
        let Ok(mut range) = chunk.get_mapped_range_mut(at..at + size) else { return Staged::Elsewhere };
        let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
        range.slice(..words.len()).copy_from_slice(words);
        if !rest.is_empty() {
            let mut last = [0; 4];
            last[..rest.len()].copy_from_slice(rest);
            range.slice(words.len()..).copy_from_slice(&last);
        }
        drop(range);
        self.open = Some((chunk.clone(), (at + size).next_multiple_of(ALIGN_BYTES)));
        Staged::At(chunk, at)
    }

    fn all_under_way(&mut self) -> bool {
        self.free.extend(self.back.1.try_iter());
        self.free.is_empty() && self.made == MOST
    }

    /// One that is free, or a new one where the device has memory for it.
    fn chunk(&mut self, device: &Device, counters: &Counters) -> Option<Buffer> {
        if let Some(chunk) = self.free.pop() {
            return Some(chunk);
        }
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        let descriptor = BufferDescriptor { label: Some("upload"), size: CHUNK_BYTES, usage, mapped_at_creation: true };
        let chunk = within_memory(device, counters, || device.create_buffer(&descriptor))?;
        self.made += 1;
        counters.made_own();
        Some(chunk)
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
