//! Keys and values of the tokens a session has seen, so that each token is computed once.

use crate::autograd::{Tape, Var, exclusive};
use crate::{Error, Result};
use kernels::ops::Copy;
use kernels::{Backend, Buffer, DType, Op};
use std::sync::Arc;

/// Per layer, keys and values [B, capacity, KvH, D], allocated once.
#[derive(Debug)]
pub struct KvCache {
    /// Keys and values of each layer.
    layers: Vec<[Arc<Buffer>; 2]>,
    /// [B, capacity, KvH, D].
    shape: [usize; 4],
    len: usize,
}

impl KvCache {
    /// An empty cache for `layers` layers of shape [B, capacity, KvH, D].
    ///
    /// # Errors
    /// `OutOfMemory`, `Limit`.
    pub fn new(on: &dyn Backend, layers: usize, shape: [usize; 4], dtype: DType) -> Result<Self> {
        let numel = kernels::Shape::from(shape).numel()?;
        let layer = || Ok([Arc::new(on.alloc(dtype, numel)?), Arc::new(on.alloc(dtype, numel)?)]);
        Ok(KvCache { layers: (0..layers).map(|_| layer()).collect::<kernels::Result<_>>()?, shape, len: 0 })
    }

    /// Positions filled in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        self.shape[1]
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Writes the keys and values [B, T, KvH, D] of new positions behind those of `layer`, and returns all of them,
    /// [B, len + T, KvH, D].
    ///
    /// # Errors
    /// `Config` if there is no room or no such layer; `Tape(Held)` while a variable from an earlier call lives; what the kernels
    /// report.
    pub(super) fn extend(&mut self, tape: &Tape, layer: usize, k: &Var, v: &Var) -> Result<(Var, Var)> {
        let new = k.shape().get(1).copied().unwrap_or(0);
        let end = self.len + new;
        if end > self.capacity() {
            return Err(Error::config("cache", format!("{end} positions do not fit into {}", self.capacity())));
        }
        let buffers = self.layers.get_mut(layer).ok_or_else(|| Error::config("cache", format!("there is no layer {layer}")))?;
        for (buffer, fresh) in buffers.iter_mut().zip([k, v]) {
            let out = exclusive(buffer)?.view_mut(self.shape)?.narrow(1, self.len, new)?;
            Copy { x: fresh.view()?, out }.run(&**tape.on())?;
        }
        let all = |buffer: &Arc<Buffer>| -> Result<Var> {
            let whole = tape.constant(buffer, self.shape)?;
            Ok(whole.window(whole.layout().narrow(1, 0, end)?)?)
        };
        Ok((all(&buffers[0])?, all(&buffers[1])?))
    }

    /// Notes that every layer has been extended by `new` positions.
    pub(super) fn advance(&mut self, new: usize) {
        self.len += new;
    }
}
