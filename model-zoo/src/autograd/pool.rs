//! Device memory that is used again from step to step.

use super::{Error, Result};
use kernels::{Buffer, DType, Layout, Memory, Shape, View, ViewMut};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tensor that is being written: the only handle of its buffer. Contiguous; its content is unspecified at first.
#[derive(Debug)]
pub struct Output {
    /// Held by nobody else.
    pub(super) buffer: Arc<Buffer>,
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
    pub fn view(&self) -> Result<View<'_>> {
        Ok(self.buffer.view_as(self.layout)?)
    }

    /// The elements, to write.
    ///
    /// # Errors
    /// None: the buffer is always long enough, and held by nobody else.
    pub fn view_mut(&mut self) -> Result<ViewMut<'_>> {
        Ok(exclusive(&mut self.buffer)?.view_mut_as(self.layout)?)
    }
}

/// The buffer, to write.
///
/// # Errors
/// `Held` while a variable or anyone else holds it.
pub fn exclusive(buffer: &mut Arc<Buffer>) -> Result<&mut Buffer> {
    Arc::get_mut(buffer).ok_or(Error::Held)
}

/// Buffers by dtype and length class. A lent buffer comes back by itself once the last [`Var`](super::Var) on it is gone.
///
/// Which buffer is given depends on which are held, and not on the order in which they came back: a step that comes again gets the
/// buffers it had, whatever steps lie between, and a device finds again what it keeps for them.
///
/// The handles themselves are kept too, so that lending a buffer again does not allocate on the host either.
#[derive(Debug, Default)]
pub(super) struct Pool {
    classes: BTreeMap<(DType, usize), Class>,
}

#[derive(Debug, Default)]
struct Class {
    /// Buffers allocated so far; there is room for all of them.
    allocated: usize,
    /// Those that are free or lent, in the order of their handles' addresses, which stay.
    kept: Vec<Arc<Buffer>>,
}

impl Class {
    fn keep(&mut self, buffer: Arc<Buffer>) {
        let at = self.kept.partition_point(|kept| Arc::as_ptr(kept) < Arc::as_ptr(&buffer));
        self.kept.insert(at, buffer);
    }
}

/// Lengths are rounded up to one of eight steps per power of two, so that sequences of nearly equal length share buffers and at
/// most an eighth is wasted.
fn length_class(len: usize) -> usize {
    let step = (len.max(64).next_power_of_two() / 16).max(1);
    len.max(1).div_ceil(step).saturating_mul(step)
}

impl Pool {
    /// A buffer of at least `len` elements that nobody else holds.
    pub fn take(&mut self, on: &dyn Memory, dtype: DType, len: usize) -> kernels::Result<Arc<Buffer>> {
        let key = (dtype, length_class(len));
        let Class { allocated, kept } = self.classes.entry(key).or_default();
        if let Some(at) = kept.iter_mut().position(|buffer| Arc::get_mut(buffer).is_some()) {
            return Ok(kept.remove(at));
        }
        let buffer = on.alloc(dtype, key.1)?;
        *allocated += 1;
        kept.reserve(*allocated - kept.len().min(*allocated));
        Ok(Arc::new(buffer))
    }

    /// Notes that a buffer is about to be shared, to find it again once nobody else holds it.
    pub fn lend(&mut self, buffer: &Arc<Buffer>) {
        self.class_of(buffer).keep(Arc::clone(buffer));
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Arc<Buffer>) {
        self.class_of(&buffer).keep(buffer);
    }

    fn class_of(&mut self, buffer: &Buffer) -> &mut Class {
        self.classes.entry((buffer.dtype(), buffer.len())).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, length_class};
    use kernels::{Buffer, DType};
    use std::sync::Arc;

    #[test]
    fn length_classes_hold_their_lengths_and_waste_little() {
        for len in 1..5000 {
            let class = length_class(len);
            assert!(class >= len && class <= len + (len / 8).max(4), "{len} -> {class}");
            assert_eq!(length_class(class), class, "{len}");
        }
    }

    #[test]
    fn buffers_serve_as_before_in_whatever_order_they_came_back() {
        let on = kernels_cpu::CpuBackend::builder().threads(1).build().unwrap();
        let mut pool = Pool::default();
        let take = |pool: &mut Pool| -> Vec<Arc<Buffer>> { (0..4).map(|_| pool.take(&on, DType::F32, 100).unwrap()).collect() };
        take(&mut pool).into_iter().for_each(|buffer| pool.give(buffer));
        let mut wanted = None;
        for back in [[3, 1, 0, 2], [0, 2, 1, 3], [2, 3, 1, 0], [0, 1, 2, 3]] {
            let mut step: Vec<_> = take(&mut pool).into_iter().map(Some).collect();
            let places: Vec<_> = step.iter().flatten().map(Arc::as_ptr).collect();
            assert_eq!(wanted.get_or_insert_with(|| places.clone()), &places, "before {back:?}");
            // Some are lent and let go of, some are given back.
            for (at, buffer) in back.into_iter().map(|at| (at, step[at].take().unwrap())) {
                if at % 2 == 0 { pool.lend(&buffer) } else { pool.give(buffer) }
            }
        }
    }
}
