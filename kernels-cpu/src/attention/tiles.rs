//! What forward and backward share: the order of rows, which keys they see, and copies of tiles in f32.
//!
//! The queries of the heads that share a key head are the rows of one matrix, in the order (t, head): row r is query r / G of head
//! r % G of the group. A later row sees at least the keys an earlier one sees, so that the rows that see a key are the last ones.

use crate::gemm::pack::Strided;
use crate::memory::input;
use crate::simd::{Float, Isa, load, prefetch, simd_fn, spans};
use kernels::ops::Mask;
use kernels::{Layout, Result, View};
use std::ops::Range;

/// Keys of a chunk: the weights of a chunk have a maximum of their own, whatever else varies.
pub(crate) const CHUNK: usize = 256;

/// Rows that go through a chunk together: their scores, a panel of keys and as many values stay in L1.
pub(crate) const BLOCK: usize = 24;

/// Rows that are asked for ahead of their use.
pub(crate) const AHEAD: usize = 8;

/// Brings a row of `len` elements near, which need not exist: rows of one head lie far apart, and processors do not foresee them.
#[inline(always)]
pub(crate) fn prefetch_row<T>(from: *const T, len: usize) {
    for line in (0..len).step_by(64 / size_of::<T>()) {
        prefetch(from.wrapping_add(line));
    }
}

/// Elements of one of the operands `[B, T, H, D]`.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a, T> {
    data: &'a [T],
    layout: Layout,
}

impl<'a, T: Float> Heads<'a, T> {
    pub fn new(view: &View<'a>) -> Result<Self> {
        Ok(Heads { data: input(view)?, layout: *view.layout() })
    }
    fn strides(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.layout.strides()[axis])
    }
    /// The D elements of one position of one head.
    pub fn row(&self, b: usize, t: usize, h: usize, d: usize) -> &'a [T] {
        let [batch, position, head] = self.strides();
        let start = self.layout.offset() + b * batch + t * position + h * head;
        // Without elements (D = 0) a layout may begin anywhere.
        self.data.get(start..start + d).unwrap_or_default()
    }
    /// The rows of head `h` and of those after it.
    pub fn all(&self, b: usize, h: usize) -> HeadRows<T> {
        let [batch, position, head] = self.strides();
        HeadRows { start: self.data.as_ptr().wrapping_add(self.layout.offset() + b * batch + h * head), position, head }
    }
    /// The matrix [T, D] of one head.
    pub fn matrix(&self, b: usize, h: usize) -> Strided<T> {
        let [batch, position, head] = self.strides();
        Strided::new(self.data, self.layout.offset() + b * batch + h * head, position, 1)
    }
}

/// Rows of neighbouring heads: that of position t and head h begins at `start[t·position + h·head]`.
#[derive(Clone, Copy)]
pub(crate) struct HeadRows<T> {
    pub start: *const T,
    pub position: usize,
    pub head: usize,
}

impl<T: Copy> HeadRows<T> {
    /// First element of a row; an address to prefetch may lie anywhere.
    pub fn at(self, t: usize, h: usize) -> *const T {
        self.start.wrapping_add(t.wrapping_mul(self.position).wrapping_add(h.wrapping_mul(self.head)))
    }

    /// From position `t` on.
    pub fn from(self, t: usize) -> Self {
        HeadRows { start: self.at(t, 0), ..self }
    }

    /// The matrix [T, D] of head `h`.
    pub fn matrix(self, h: usize) -> Strided<T> {
        Strided { start: self.at(0, h), row_stride: self.position, col_stride: 1 }
    }
}

/// Sizes and masks.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    pub batch: usize,
    pub seq_q: usize,
    pub seq_k: usize,
    pub kv_heads: usize,
    /// Query heads per key head.
    pub group: usize,
    pub head_dim: usize,
    pub mask: Mask,
    pub scale: f32,
    lengths: Option<(&'a [u32], Layout)>,
}

impl<'a> Problem<'a> {
    /// From the checked operands.
    pub fn new(q: &View<'a>, k: &View<'a>, lengths: &Option<View<'a>>, mask: Mask, scale: f32) -> Result<Self> {
        let (q, k) = (q.shape(), k.shape());
        let lengths = match lengths {
            Some(view) => Some((input::<u32>(view)?, *view.layout())),
            None => None,
        };
        let group = q[2] / k[2].max(1);
        Ok(Problem { batch: q[0], seq_q: q[1], seq_k: k[1], kv_heads: k[2], group, head_dim: q[3], mask, scale, lengths })
    }

    /// Rows of each pair of batch entry and key head.
    pub fn rows(&self) -> usize {
        self.seq_q * self.group
    }

    /// Leading keys that row `row` of batch entry `b` sees.
    pub fn visible(&self, b: usize, row: usize) -> usize {
        self.visible_at(b, row / self.group)
    }

    /// Leading keys that query `t` of batch entry `b` sees.
    pub fn visible_at(&self, b: usize, t: usize) -> usize {
        let length = self.lengths.as_ref().map_or(self.seq_k, |(lengths, layout)| {
            (lengths[layout.offset() + b * layout.strides()[0]] as usize).min(self.seq_k)
        });
        self.mask.visible(t, self.seq_q, self.seq_k).min(length)
    }

    /// Keys of the chunk that row `row` sees.
    pub fn visible_in(&self, b: usize, row: usize, keys: &Range<usize>) -> usize {
        self.visible(b, row).saturating_sub(keys.start).min(keys.len())
    }

    /// Multiply-adds of a product of scores, about.
    pub fn work(&self) -> usize {
        let pairs = self.rows().saturating_mul(self.seq_k).saturating_mul(self.batch * self.kv_heads);
        pairs.saturating_mul(self.head_dim)
    }

    /// Copies rows of an operand with H heads in f32 to [rows, D], `stride` elements apart.
    pub fn gather<T: Float>(
        &self,
        isa: Isa,
        from: &Heads<'_, T>,
        (b, kv): (usize, usize),
        rows: Range<usize>,
        stride: usize,
        to: &mut [f32],
    ) {
        let (d, group) = (self.head_dim, self.group);
        let of_pair = from.all(b, kv * group);
        for (i, row) in rows.enumerate() {
            prefetch_row(of_pair.at((row + AHEAD) / group, (row + AHEAD) % group), d);
            let from = from.row(b, row / group, kv * group + row % group, d);
            widen_row(isa, from, &mut to[i * stride..i * stride + d]);
        }
    }
}

simd_fn! {
    /// Copies elements in f32.
    pub fn widen_row[T: Float](s, from: &[T], to: &mut [f32]) {
        for at in (0..from.len().min(to.len())).step_by(S::LANES) {
            crate::simd::store(s, to, at, load(s, from, at));
        }
    }

    /// to[i] = factors[i] · values[i], rounded, for rows of `d` elements; those of `values` lie `width` apart.
    ///
    /// The rows `to` are the caller's to write.
    pub fn narrow_rows[T: Float](s, values: &[f32], width: usize, d: usize, factors: &[f32], to: &[*mut T]) {
        assert!(width >= d);
        for ((row, &factor), &to) in values.chunks_exact(width.max(1)).zip(factors).zip(to) {
            // SAFETY: by the contract above.
            let to = unsafe { std::slice::from_raw_parts_mut(to, d) };
            spans(
                s,
                d,
                #[inline(always)]
                |span| span.store(s, to, crate::gemm::one_nan(s, span.load(s, &row[..d]) * s.splat(factor))),
            );
        }
    }

    /// ⟨a, b⟩.
    pub fn dot[A: Float, B: Float](s, a: &[A], b: &[B]) -> f32 {
        let mut sum = s.zero();
        for at in (0..a.len().min(b.len())).step_by(S::LANES) {
            sum = s.fma(load(s, a, at), load(s, b, at), sum);
        }
        s.reduce_add(sum)
    }
}
