//! Operands in host memory: what is uploaded, what comes back, and where it lies.

use super::Device;
use super::guard::sentinel;
use crate::ops::{Download, Upload};
use crate::{Buffer, DType, Element, Layout, Op, Result};
use half::{bf16, f16};

/// Evaluates an expression with `$T` naming the Rust type of a dtype.
macro_rules! typed {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::Bf16 => {
                type $T = bf16;
                $body
            }
            DType::F16 => {
                type $T = f16;
                $body
            }
            DType::I8 => {
                type $T = i8;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
        }
    };
}

/// `value` as `dtype` stores it. (`half`'s own `from_f64` rounds some values wrong; the trait's does not.)
pub fn round_to(dtype: DType, value: f64) -> f64 {
    typed!(dtype, T => Element::to_f64(<T as Element>::from_f64(value)))
}

/// A buffer in host memory and the window an op is given on it. Elements outside the window hold a sentinel.
#[derive(Clone, Debug)]
pub struct Host {
    /// The argument's name in the op.
    pub arg: &'static str,
    /// Element type.
    pub dtype: DType,
    /// Window on the buffer.
    pub layout: Layout,
    /// Whether the op wants stride 1 in the last dimension.
    pub dense: bool,
    len: usize,
    words: Vec<u32>, // the elements; u32 for alignment
}

impl Host {
    /// A buffer of `len` sentinels.
    pub fn new(arg: &'static str, dtype: DType, layout: Layout, len: usize) -> Self {
        let word = sentinel(dtype);
        Host { arg, dtype, layout, dense: false, len, words: vec![word; (len * dtype.size_bytes()).div_ceil(4)] }
    }

    /// Elements in the buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All bytes of the buffer.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len * self.dtype.size_bytes()]
    }

    /// All elements of the buffer; `T` is the type of its dtype.
    pub fn elements<T: Element>(&self) -> &[T] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// As [`Host::elements`], to write.
    pub fn elements_mut<T: Element>(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    /// Puts row-major values into the window, each rounded. Where strides repeat an element the last one stays.
    pub fn set(&mut self, values: impl IntoIterator<Item = f64>) {
        let layout = self.layout;
        typed!(self.dtype, T => {
            let elements = self.elements_mut::<T>();
            layout.indices().zip(values).for_each(|(at, value)| elements[at] = <T as Element>::from_f64(value));
        });
    }

    /// The same buffer under another window.
    pub fn with_layout(&self, layout: Layout) -> Host {
        Host { layout, ..self.clone() }
    }

    /// The window's elements in a buffer of just them.
    pub fn contiguous(&self) -> Host {
        let size = self.dtype.size_bytes();
        let layout = Layout::contiguous(*self.layout.shape()).unwrap_or(self.layout);
        let mut host = Host::new(self.arg, self.dtype, layout, layout.numel());
        let words: &mut [u8] = bytemuck::cast_slice_mut(&mut host.words);
        for (to, from) in words.chunks_exact_mut(size).zip(self.layout.indices()) {
            to.copy_from_slice(self.bits(from));
        }
        host
    }

    /// Values of the window, row-major.
    pub fn values(&self) -> Vec<f64> {
        typed!(self.dtype, T => self.layout.indices().map(|at| Element::to_f64(self.elements::<T>()[at])).collect())
    }

    /// Values of the window as indices.
    pub fn indices(&self) -> Vec<usize> {
        self.values().into_iter().map(|v| v as usize).collect()
    }

    /// Bits of element `at` of the buffer.
    pub fn bits(&self, at: usize) -> &[u8] {
        let size = self.dtype.size_bytes();
        &self.bytes()[at * size..(at + 1) * size]
    }

    /// A copy of the whole buffer on a device.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn upload(&self, on: &Device) -> Result<Buffer> {
        let mut buffer = on.alloc(self.dtype, self.len)?;
        typed!(self.dtype, T => Upload::new(self.elements::<T>(), buffer.view_mut([self.len])?).run(on))?;
        Ok(buffer)
    }

    /// This operand with what the whole buffer on the device now holds.
    ///
    /// # Errors
    /// Those of the backend.
    pub fn download(&self, on: &Device, buffer: &Buffer) -> Result<Host> {
        let mut host = self.clone();
        typed!(self.dtype, T => Download::new(buffer.view([self.len])?, host.elements_mut::<T>()).run(on))?;
        Ok(host)
    }
}

pub(in crate::conformance) use typed;
