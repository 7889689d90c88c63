//! Bind groups, kept: the same operands of the same pipeline are bound without asking the device again.

use crate::memory::Counters;
use crate::operand::Operand;
use crate::pipeline::{CONSTANTS, Compiled, Shader};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use wgpu::{BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, Buffer, BufferBinding, BufferSize, Device};

/// Bind groups kept at most; beyond that all are forgotten.
const MOST: usize = 8192;

/// A bind group and what it binds.
struct Bound {
    shader: &'static str,
    constants: [u32; CONSTANTS],
    operands: Vec<(Buffer, u64, u64)>,
    group: BindGroup,
}

impl Bound {
    fn is(&self, shader: &Shader, constants: [u32; CONSTANTS], operands: &[Operand<'_>]) -> bool {
        let same = |(bound, of): (&(Buffer, u64, u64), &Operand<'_>)| {
            bound.0 == *of.buffer && bound.1 == of.offset_bytes && bound.2 == of.size_bytes
        };
        self.shader == shader.name
            && self.constants == constants
            && self.operands.len() == operands.len()
            && self.operands.iter().zip(operands).all(same)
    }
}

/// All bind groups so far whose buffers are in use or kept.
#[derive(Default)]
pub(crate) struct Bindings {
    hasher: RandomState,
    groups: HashMap<u64, Vec<Bound>>,
    count: usize,
}

impl Bindings {
    /// The bind group of a pipeline's parameters, at a dynamic offset, and operands.
    pub fn get(
        &mut self,
        (device, counters): (&Device, &Counters),
        (shader, constants, compiled): (&Shader, [u32; CONSTANTS], &Compiled),
        (params, params_bytes): (&Buffer, u64),
        operands: &[Operand<'_>],
    ) -> &BindGroup {
        let place = |of: &Operand<'_>| (of.offset_bytes, of.size_bytes);
        let buffers: [Option<&Buffer>; 16] = std::array::from_fn(|at| operands.get(at).map(|of| of.buffer));
        let places: [Option<(u64, u64)>; 16] = std::array::from_fn(|at| operands.get(at).map(place));
        let hash = self.hasher.hash_one((shader.name, constants, buffers, places));
        if self.count >= MOST {
            self.groups.clear();
            self.count = 0;
        }
        let bucket = self.groups.entry(hash).or_default();
        let found = bucket.iter().position(|bound| bound.is(shader, constants, operands));
        let at = found.unwrap_or_else(|| {
            let binding =
                |buffer, offset, size| BindingResource::Buffer(BufferBinding { buffer, offset, size: BufferSize::new(size) });
            let resources = operands.iter().map(|of| binding(of.buffer, of.offset_bytes, of.size_bytes));
            let entries: Vec<BindGroupEntry<'_>> = [binding(params, 0, params_bytes)]
                .into_iter()
                .chain(resources)
                .zip(0..)
                .map(|(resource, binding)| BindGroupEntry { binding, resource })
                .collect();
            counters.made_bind_group();
            let label = Some(shader.name);
            let group = device.create_bind_group(&BindGroupDescriptor { label, layout: &compiled.bindings, entries: &entries });
            let operands = operands.iter().map(|of| (of.buffer.clone(), of.offset_bytes, of.size_bytes)).collect();
            bucket.push(Bound { shader: shader.name, constants, operands, group });
            self.count += 1;
            bucket.len() - 1
        });
        &bucket[at].group
    }

    /// Forgets the bind groups of buffers that are gone.
    pub fn forget(&mut self, mut dropped: Vec<Buffer>) {
        if dropped.is_empty() {
            return;
        }
        dropped.sort_unstable();
        self.groups.retain(|_, bucket| {
            bucket.retain(|bound| !bound.operands.iter().any(|(buffer, ..)| dropped.binary_search(buffer).is_ok()));
            !bucket.is_empty()
        });
        self.count = self.groups.values().map(Vec::len).sum();
    }

    /// Bind groups kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use crate::WgpuBackend;
    use kernels::ops::Copy;
    use kernels::{DType, Memory, Op};

    #[test]
    fn bind_groups_are_kept_as_long_as_their_buffers() {
        let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
        let x = gpu.alloc(DType::F32, 64).unwrap();
        let mut out = gpu.alloc(DType::F32, 64).unwrap();
        for _ in 0..700 {
            Copy { x: x.view([64]).unwrap(), out: out.view_mut([64]).unwrap() }.run(&gpu).unwrap();
        }
        assert_eq!(gpu.queue.bindings(), 1);
        // A buffer that is kept keeps its bind groups, and comes back with them.
        drop(x);
        gpu.sync().unwrap();
        assert_eq!(gpu.queue.bindings(), 1);
        let x = gpu.alloc(DType::F32, 64).unwrap();
        Copy { x: x.view([64]).unwrap(), out: out.view_mut([64]).unwrap() }.run(&gpu).unwrap();
        assert_eq!((gpu.queue.bindings(), gpu.made().bind_groups), (1, 1));
        // One that is not is forgotten, if need be without any submission.
        drop(x);
        let big = [1, 2, 3].map(|extra| gpu.alloc(DType::U8, (32 << 20) + 16 * extra).unwrap());
        drop(big);
        gpu.alloc(DType::U8, 1).unwrap();
        assert_eq!(gpu.queue.bindings(), 0);
    }
}
