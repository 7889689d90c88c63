//! A weight as one device reads it.

use crate::{DeviceId, View, Weight};
use std::any::Any;

/// A weight laid out for one device by [`Memory::pack`](crate::Memory::pack). Read-only.
pub struct Packed {
    storage: Box<dyn Any + Send + Sync>,
    device: DeviceId,
    n: usize,
    k: usize,
    format: String,
    coded: bool,
    bytes: u64,
}

impl Packed {
    /// For backends: wraps the device's own layout of `weight`, which occupies `bytes` of its memory.
    pub fn new<S: Any + Send + Sync>(device: DeviceId, weight: &Weight, bytes: u64, storage: S) -> Self {
        let (format, coded) = (weight.format(), weight.coded().is_some());
        Packed { storage: Box::new(storage), device, n: weight.n(), k: weight.k(), format, coded, bytes }
    }

    /// Device it was packed for.
    pub fn device(&self) -> DeviceId {
        self.device
    }
    /// Rows: out_features.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Columns: in_features.
    pub fn k(&self) -> usize {
        self.k
    }
    /// [`Weight::format`] of what was packed.
    pub fn format(&self) -> &str {
        &self.format
    }
    /// Whether it is a weight of integer codes: [`Weight::coded`].
    pub fn is_coded(&self) -> bool {
        self.coded
    }
    /// Bytes it occupies on the device: what a matrix-vector product must read.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }
    /// For backends: their own layout, if it is of type `S`.
    pub fn storage<S: Any>(&self) -> Option<&S> {
        self.storage.downcast_ref()
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed([{}, {}] {}, {} bytes on {:?})", self.n, self.k, self.format, self.bytes, self.device)
    }
}

/// The weight operand of [`Linear`](crate::ops::Linear): a packed one, or a plain `[N, K]` view (in training, where it changes
/// every step).
#[derive(Clone, Copy, Debug)]
pub enum WeightRef<'a> {
    /// `[N, K]`, any strides.
    Dense(View<'a>),
    /// Laid out by [`Memory::pack`](crate::Memory::pack).
    Packed(&'a Packed),
}

impl WeightRef<'_> {
    /// `(N, K)`, or `None` for a view that is not a matrix.
    pub fn shape(&self) -> Option<(usize, usize)> {
        match self {
            WeightRef::Dense(view) => match view.shape()[..] {
                [n, k] => Some((n, k)),
                _ => None,
            },
            WeightRef::Packed(packed) => Some((packed.n, packed.k)),
        }
    }
    /// Bytes a product must read.
    pub fn size_bytes(&self) -> u64 {
        match self {
            WeightRef::Dense(view) => (view.numel() * view.dtype().size_bytes()) as u64,
            WeightRef::Packed(packed) => packed.bytes,
        }
    }
}
