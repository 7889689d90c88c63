//! Device memory that is used again from step to step.

use kernels::{Buffer, DType, Layout, Memory, Shape, View, ViewMut};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tensor that is being written: the only handle of its buffer. Contiguous; its content is unspecified at first.
#[derive(Debug)]
pub struct Output {
    pub(super) buffer: Buffer,
    pub(super) layout: Layout,
}

impl Output {
    /// Dimensions.
    pub fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }

    /// The elements, to read.
    ///
    /// # Errors
    /// None: the buffer is always long enough.
    pub fn view(&self) -> kernels::Result<View<'_>> {
        self.buffer.view_as(self.layout)
    }

    /// The elements, to write.
    ///
    /// # Errors
    /// None: the buffer is always long enough.
    pub fn view_mut(&mut self) -> kernels::Result<ViewMut<'_>> {
        self.buffer.view_mut_as(self.layout)
    }
}

/// Buffers by dtype and length class. A lent buffer comes back by itself once the last [`Var`](super::Var) on it is gone.
#[derive(Debug, Default)]
pub(super) struct Pool {
    classes: BTreeMap<(DType, usize), Class>,
}

#[derive(Debug, Default)]
struct Class {
    free: Vec<Buffer>,
    lent: Vec<Arc<Buffer>>,
}

/// Lengths are rounded up to one of eight steps per power of two, so that sequences of nearly equal length share buffers and at
/// most an eighth is wasted.
fn length_class(len: usize) -> usize {
    let step = (len.max(64).next_power_of_two() / 16).max(1);
    len.max(1).div_ceil(step).saturating_mul(step)
}

impl Pool {
    /// A buffer of at least `len` elements that nobody else holds.
    pub fn take(&mut self, on: &dyn Memory, dtype: DType, len: usize) -> kernels::Result<Buffer> {
        let key = (dtype, length_class(len));
        let class = self.classes.entry(key).or_default();
        if class.free.is_empty() {
            let mut at = 0;
            while at < class.lent.len() {
                if Arc::strong_count(&class.lent[at]) > 1 {
                    at += 1;
                } else if let Some(buffer) = Arc::into_inner(class.lent.swap_remove(at)) {
                    class.free.push(buffer);
                }
            }
        }
        match class.free.pop() {
            Some(buffer) => Ok(buffer),
            None => on.alloc(dtype, key.1),
        }
    }

    /// Shares a buffer, to be found again once nobody else holds it.
    pub fn lend(&mut self, buffer: Buffer) -> Arc<Buffer> {
        let class = self.classes.entry((buffer.dtype(), buffer.len())).or_default();
        let shared = Arc::new(buffer);
        class.lent.push(Arc::clone(&shared));
        shared
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Buffer) {
        self.classes.entry((buffer.dtype(), buffer.len())).or_default().free.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::length_class;

    #[test]
    fn length_classes_hold_their_lengths_and_waste_little() {
        for len in 1..5000 {
            let class = length_class(len);
            assert!(class >= len && class <= len + (len / 8).max(4), "{len} -> {class}");
            assert_eq!(length_class(class), class, "{len}");
        }
    }
}
