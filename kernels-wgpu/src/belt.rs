//! The way of bytes from the host to the device: chunks of memory that the host writes and the device copies from, used again once
//! it has. What is larger than a chunk has one of its own.

use crate::memory::Counters;
use crate::scarcity::within_memory;
use std::sync::mpsc::{Receiver, Sender, channel};
use wgpu::{Buffer, BufferDescriptor, BufferUsages, Device, MapMode, MapRangeError};

/// Bytes of a chunk: the parameters of a full submission, and as much of uploads.
pub(crate) const CHUNK_BYTES: u64 = 256 << 10;
/// Most bytes of chunks that are kept.
const MOST_BYTES: u64 = 8 << 20;
/// Where parts of a mapped buffer may begin.
const ALIGN_BYTES: u64 = wgpu::MAP_ALIGNMENT;

pub(crate) struct Belt {
    /// Being written, and the bytes of it in use.
    open: Option<(Buffer, u64)>,
    /// Written, and read by commands that are not yet submitted.
    full: Vec<Buffer>,
    /// Mapped, and read by nothing, the oldest first.
    free: Vec<Buffer>,
    back: (Sender<Buffer>, Receiver<Buffer>),
    /// Bytes of those that are free, or will be.
    kept_bytes: u64,
}

impl Default for Belt {
    fn default() -> Self {
        Belt { open: None, full: Vec::new(), free: Vec::new(), back: channel(), kept_bytes: 0 }
    }
}

impl Belt {
    /// Puts bytes, zeros up to a whole word behind them, where the device can copy them from in the next submission: the chunk, and
    /// the first byte in it. None if the device has no memory for a chunk.
    ///
    /// # Errors
    /// That of a chunk which the host cannot write, as the device was lost.
    pub fn stage(&mut self, device: &Device, counters: &Counters, bytes: &[u8]) -> Option<Result<(Buffer, u64), MapRangeError>> {
        let size = whole_words(bytes);
        if size > CHUNK_BYTES {
            let chunk = self.chunk(device, counters, size)?;
            let staged = put(&chunk, 0, bytes);
            chunk.unmap();
            self.full.push(chunk);
            return Some(staged);
        }
        if self.open.as_ref().is_some_and(|(_, used)| used + size > CHUNK_BYTES) {
            self.close();
        }
        if self.open.is_none() {
            self.open = Some((self.chunk(device, counters, CHUNK_BYTES)?, 0));
        }
        let (chunk, used) = self.open.as_mut()?;
        let at = *used;
        *used = (at + size).next_multiple_of(ALIGN_BYTES);
        Some(put(chunk, at, bytes))
    }

    /// One that is free, or a new one where the device has memory for it.
    fn chunk(&mut self, device: &Device, counters: &Counters, size: u64) -> Option<Buffer> {
        self.free.extend(self.back.1.try_iter());
        if let Some(at) = self.free.iter().position(|chunk| chunk.size() == size) {
            self.kept_bytes -= size;
            return Some(self.free.remove(at));
        }
        let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
        let descriptor = BufferDescriptor { label: Some("upload"), size, usage, mapped_at_creation: true };
        let chunk = within_memory(device, counters, || device.create_buffer(&descriptor))?;
        counters.made_own();
        Some(chunk)
    }

    /// Makes sure that so many chunks are free, where the device has memory for them.
    pub fn reserve(&mut self, device: &Device, counters: &Counters, chunks: usize) -> Option<()> {
        let chunks = (0..chunks).map(|_| self.chunk(device, counters, CHUNK_BYTES)).collect::<Option<Vec<_>>>()?;
        self.kept_bytes += chunks.len() as u64 * CHUNK_BYTES;
        self.free.extend(chunks);
        Some(())
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
        for chunk in std::mem::take(&mut self.full) {
            if !self.has_room(chunk.size()) {
                continue;
            }
            self.kept_bytes += chunk.size();
            let (back, again) = (self.back.0.clone(), chunk.clone());
            chunk.map_async(MapMode::Write, .., move |mapped| {
                // Of a lost device nothing comes back.
                if mapped.is_ok() {
                    let _ = back.send(again);
                }
            });
        }
    }

    /// Whether a chunk can be kept, if need be in place of those of other sizes that have been free for longest.
    fn has_room(&mut self, size: u64) -> bool {
        while size <= MOST_BYTES && self.kept_bytes + size > MOST_BYTES {
            let Some(at) = self.free.iter().position(|chunk| chunk.size() != size) else { return false };
            self.kept_bytes -= self.free.remove(at).size();
        }
        size <= MOST_BYTES
    }

    /// Lets go of what is free.
    pub fn empty(&mut self) {
        self.free.extend(self.back.1.try_iter());
        self.kept_bytes -= self.free.drain(..).map(|chunk| chunk.size()).sum::<u64>();
    }

    /// Bytes of those that are free, or will be.
    #[cfg(test)]
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }
}

/// Bytes with zeros up to a whole word behind them.
pub(crate) fn whole_words(bytes: &[u8]) -> u64 {
    (bytes.len() as u64).next_multiple_of(4)
}

fn put(chunk: &Buffer, at: u64, bytes: &[u8]) -> Result<(Buffer, u64), MapRangeError> {
    let mut range = chunk.get_mapped_range_mut(at..at + whole_words(bytes))?;
    let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
    range.slice(..words.len()).copy_from_slice(words);
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        range.slice(words.len()..).copy_from_slice(&last);
    }
    drop(range);
    Ok((chunk.clone(), at))
}
