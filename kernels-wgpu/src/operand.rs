//! A view as a kernel sees it: one binding, and indices of 32 bits.

use crate::memory::{Storage, VECTOR_BYTES};
use crate::{NAME, WgpuBackend};
use kernels::{DType, Error, Layout, MAX_RANK, Result, View};

/// Most elements of a buffer that is bound whole: indices beyond are left to views that need them.
const MOST_SHARED: u64 = i32::MAX as u64;

/// The part of a buffer a view covers.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub buffer: &'a wgpu::Buffer,
    /// Start of the binding.
    pub offset_bytes: u64,
    /// Size of the binding.
    pub size_bytes: u64,
    /// Index of the view's first element within the binding.
    pub first: u32,
}

impl<'a> Operand<'a> {
    /// A buffer of this backend's own, all of it, which callers cut to one binding where it may be more.
    pub fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Operand { buffer, offset_bytes: 0, size_bytes: buffer.size(), first: 0 }
    }
}

/// A size as kernels count it. Below 2³¹, so that stepping past the end of a loop cannot wrap.
///
/// # Errors
/// `Limit`.
pub(crate) fn count(op: &'static str, what: &'static str, value: usize) -> Result<u32> {
    const LIMIT: u32 = i32::MAX as u32;
    u32::try_from(value).ok().filter(|&value| value <= LIMIT).ok_or(Error::Limit {
        op,
        what,
        limit: LIMIT.into(),
        got: value as u64,
    })
}

/// Code of a dtype in `wgsl/element.wgsl`.
pub(crate) fn code(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => 0,
        DType::Bf16 => 1,
        DType::F16 => 2,
        DType::I8 => 3,
        DType::U8 => 4,
        DType::I32 => 5,
        DType::U32 => 6,
    }
}

/// Strides of a view that is bound: all are below 2³² where a dimension has more than one element, and 0 where it does not matter.
pub(crate) fn strides(layout: &Layout) -> [u32; MAX_RANK] {
    let mut narrow = [0; MAX_RANK];
    for ((to, &stride), &dim) in narrow.iter_mut().zip(layout.strides()).zip(layout.shape().iter()) {
        *to = if dim > 1 { stride as u32 } else { 0 };
    }
    narrow
}

impl WgpuBackend {
    /// Binds the part of a buffer that a view covers.
    ///
    /// # Errors
    /// `Limit` beyond one binding or 32-bit indices; `Device` for a buffer this crate did not make.
    pub(crate) fn operand<'a>(&self, op: &'static str, arg: &'static str, view: &View<'a>) -> Result<Operand<'a>> {
        let storage = view.storage::<Storage>().ok_or(Error::Device { op, arg, backend: NAME })?;
        self.part(op, &storage.buffer, view.layout(), view.dtype())
    }

    /// [Work space](crate::queue::Queue::staging) of which `bytes` are used; it may be larger than a binding.
    ///
    /// # Errors
    /// `Limit` if they are more than one binding reaches.
    pub(crate) fn space<'a>(&self, op: &'static str, storage: &'a Storage, bytes: u64) -> Result<Operand<'a>> {
        let limit = self.queue.limits().max_storage_buffer_binding_size / VECTOR_BYTES * VECTOR_BYTES;
        if bytes > limit {
            return Err(Error::Limit { op, what: "bytes a kernel can bind of its work space", limit, got: bytes });
        }
        let whole = Operand::whole(&storage.buffer);
        Ok(Operand { size_bytes: whole.size_bytes.min(limit), ..whole })
    }

    /// As [`WgpuBackend::operand`], of a buffer of this backend's own.
    ///
    /// # Errors
    /// `Limit`.
    pub(crate) fn part<'a>(
        &self,
        op: &'static str,
        buffer: &'a wgpu::Buffer,
        layout: &Layout,
        dtype: DType,
    ) -> Result<Operand<'a>> {
        let (end, limits) = (layout.end()? as u64, self.queue.limits());
        let (size, offset) = (dtype.size_bytes() as u64, layout.offset() as u64);
        // Bound whole where that is possible, so that views of one buffer share bind groups: those of a cache that grows, say.
        let whole = Operand::whole(buffer);
        if whole.size_bytes <= limits.max_storage_buffer_binding_size && whole.size_bytes / size <= MOST_SHARED {
            return Ok(Operand { first: if end == 0 { 0 } else { offset as u32 }, ..whole });
        }
        if end == 0 {
            // Nothing is read or written, but a binding cannot be empty.
            return Ok(Operand { buffer, offset_bytes: 0, size_bytes: VECTOR_BYTES, first: 0 });
        }
        let align = u64::from(limits.min_storage_buffer_offset_alignment).max(VECTOR_BYTES);
        let offset_bytes = offset * size / align * align;
        let size_bytes = (end * size - offset_bytes).next_multiple_of(VECTOR_BYTES);
        let limit = limits.max_storage_buffer_binding_size;
        if size_bytes > limit {
            return Err(Error::Limit { op, what: "bytes a kernel can bind of one operand", limit, got: size_bytes });
        }
        let indices = size_bytes / size;
        if indices > u32::MAX.into() {
            return Err(Error::Limit { op, what: "element index", limit: u32::MAX.into(), got: indices });
        }
        Ok(Operand { buffer, offset_bytes, size_bytes, first: (offset - offset_bytes / size) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use crate::WgpuBackend;
    use crate::adapter::{adapter, open_within};
    use crate::cache::Cache;
    use kernels::ops::{Download, Fill, ScatterAdd};
    use kernels::weight::{Bits, Quant, QuantScheme};
    use kernels::{DType, Error, Layout, Memory, Op, Weight};
    use wgpu::Limits;

    /// Bytes of the largest binding, far below those of the largest buffer.
    const BINDING: u64 = 1 << 20;

    fn small() -> WgpuBackend {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let limits = Limits { max_storage_buffer_binding_size: BINDING, ..adapter.limits() };
        open_within(&adapter, limits, "", Cache::none()).unwrap()
    }

    #[test]
    fn a_weight_beyond_one_binding_is_refused_and_the_next_is_not() {
        let gpu = small();
        let k = BINDING as usize / 64 + 1;
        let weight = |n: usize| {
            let scheme = QuantScheme::per_channel(Bits::Int8);
            Weight::Quant(Quant::new(n, k, scheme, vec![1; n * k], vec![1.0; n], Vec::new()).unwrap())
        };
        match gpu.pack(&weight(64)).err() {
            Some(Error::Limit { op: "pack", limit, got, .. }) => assert!(limit == BINDING && got > BINDING),
            other => panic!("{other:?}"),
        }
        gpu.pack(&weight(32)).unwrap();
    }

    #[test]
    fn work_space_beyond_one_binding_is_refused() {
        let gpu = small();
        // A word for each row, of which an element of 16 bits is half.
        let rows = BINDING as usize / 4 + 1;
        let mut out = gpu.alloc(DType::Bf16, rows).unwrap();
        let (x, index) = (gpu.alloc(DType::Bf16, 1).unwrap(), gpu.alloc(DType::U32, 1).unwrap());
        let (x, index, out) = (x.view([1, 1]).unwrap(), index.view([1]).unwrap(), out.view_mut([rows, 1]).unwrap());
        match (ScatterAdd { x, index, out }).run(&gpu).err() {
            Some(Error::Limit { op: "scatter_add", limit, got, .. }) => assert!(limit <= BINDING && got > BINDING),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_view_beyond_one_binding_is_refused_and_a_part_of_it_is_not() {
        let gpu = small();
        let len = BINDING as usize + 1024;
        let mut large = gpu.alloc(DType::U8, len).unwrap();
        match (Fill { value: 1.0, out: large.view_mut([len]).unwrap() }).run(&gpu).err() {
            Some(Error::Limit { op: "fill", limit, .. }) => assert_eq!(limit, BINDING),
            other => panic!("{other:?}"),
        }
        // The last bytes lie beyond the first binding.
        let tail = || Layout::strided([5], &[1], len - 5).unwrap();
        Fill { value: 7.0, out: large.view_mut_as(tail()).unwrap() }.run(&gpu).unwrap();
        let mut host = [0u8; 8];
        let last = Layout::strided([8], &[1], len - 8).unwrap();
        Download::new(large.view_as(last).unwrap(), &mut host).run(&gpu).unwrap();
        assert_eq!(host, [0, 0, 0, 7, 7, 7, 7, 7]);
    }
}
