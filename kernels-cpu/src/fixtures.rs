//! Buffers for the unit tests of kernels.

use crate::memory::{input, output};
use crate::simd::Float;
use crate::{CpuBackend, Isa};
use kernels::{Buffer, Element, Memory};

/// Numbers in −1..1 from a seed (xorshift).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
    pub fn below(&mut self, limit: usize) -> usize {
        ((self.next() + 1.0) * 0.5 * limit as f32) as usize % limit
    }
    pub fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// A buffer of these values, rounded to `T`.
pub fn buffer<T: Float>(cpu: &CpuBackend, values: &[f32]) -> Buffer {
    raw(cpu, &values.iter().map(|&v| T::from_f32(v)).collect::<Vec<_>>())
}

/// A buffer of these elements.
pub fn raw<T: Element>(cpu: &CpuBackend, values: &[T]) -> Buffer {
    let mut buffer = cpu.alloc(T::DTYPE, values.len()).unwrap();
    output::<T>(buffer.view_mut([values.len()]).unwrap()).unwrap().copy_from_slice(values);
    buffer
}

/// All elements of a buffer.
pub fn values<T: Element>(buffer: &Buffer) -> Vec<T> {
    input::<T>(&buffer.view([buffer.len()]).unwrap()).unwrap().to_vec()
}

/// Backends of every instruction set here, with these numbers of threads.
pub fn backends(threads: &[usize]) -> Vec<CpuBackend> {
    let guards = [crate::Guard::None, crate::Guard::AtEnd, crate::Guard::AtStart];
    let build =
        |isa, &threads: &usize| CpuBackend::builder().isa(isa).threads(threads).guard(guards[threads % 3]).build().unwrap();
    Isa::available().flat_map(|isa| threads.iter().map(move |threads| build(isa, threads))).collect()
}
