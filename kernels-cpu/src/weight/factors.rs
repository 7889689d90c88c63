//! Scales of the groups of a weight: as f32, as f16, or as f16 times bytes.

use super::quant::Placed;
use crate::CpuBackend;
use crate::gemm::blocking::{Strips, lanes};
use crate::memory::CpuStorage;
use crate::simd::prefetch;
use crate::simd::{Simd, simd_fn};
use half::f16;
use kernels::Result;
use std::ops::Range;

/// One factor per output and group, in strips [groups, NR].
pub(crate) struct Factors {
    /// f32 or f16, one for 2^shift groups.
    values: CpuStorage,
    half: bool,
    shift: u32,
    value_rows: usize,
    /// u8 per group, which stand for `byte − bias`.
    bytes: Option<CpuStorage>,
    bias: u8,
    groups: usize,
}

/// What [`Factors::pack`] is given.
pub(crate) enum Source<'a> {
    /// Of (n, group).
    Wide(&'a dyn Fn(usize, usize) -> f32),
    /// Of (n, block).
    Half(&'a dyn Fn(usize, usize) -> f16),
    /// Of (n, block), times integers of (n, group), 2^shift groups a block, which are stored with a bias.
    Fine { values: &'a dyn Fn(usize, usize) -> f16, bytes: &'a dyn Fn(usize, usize) -> u8, shift: u32, bias: u8 },
}

impl Factors {
    /// Lays factors out for `n` outputs of `groups` groups.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, n: usize, groups: usize, source: Source<'_>) -> Result<Self> {
        let lanes = lanes(cpu.isa);
        let (shift, bias) = match source {
            Source::Fine { shift, bias, .. } => (shift, bias),
            _ => (0, 0),
        };
        let value_rows = groups.div_ceil(1 << shift);
        let placed = Placed { strips: Strips::new(n, lanes), lanes };
        let (values, half) = match source {
            Source::Wide(of) => (placed.fill::<f32>(cpu, value_rows, of)?, false),
            Source::Half(of) | Source::Fine { values: of, .. } => (placed.fill::<f16>(cpu, value_rows, of)?, true),
        };
        let bytes = match source {
            Source::Fine { bytes, .. } => Some(placed.fill::<u8>(cpu, groups, bytes)?),
            _ => None,
        };
        Ok(Factors { values, half, shift, value_rows, bytes, bias, groups })
    }

    /// Bytes they occupy.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.bytes.as_ref().map_or(0, CpuStorage::bytes)
    }

    /// Those of the strip that begins at column `start`, whose rows are `width` long.
    #[inline(always)]
    pub fn rows(&self, start: usize, width: usize) -> FactorRows {
        let at = start * self.value_rows;
        let values = match self.half {
            true => Values::Half(self.values.as_slice::<u16>().as_ptr().wrapping_add(at)),
            false => Values::Wide(self.values.as_slice::<f32>().as_ptr().wrapping_add(at)),
        };
        let bytes = self.bytes.as_ref().map(|bytes| bytes.as_slice::<u8>().as_ptr().wrapping_add(start * self.groups));
        FactorRows { values, bytes, bias: f32::from(self.bias), shift: self.shift, width }
    }

    /// Those of `groups`, of the strip as in [`Factors::rows`], as f32 [groups, width]: where they are, if they lie so, or in `room`.
    pub fn expanded<'a>(
        &'a self,
        isa: crate::Isa,
        (start, width): (usize, usize),
        groups: Range<usize>,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        if !self.half {
            return &self.values.as_slice::<f32>()[start * self.groups + groups.start * width..][..groups.len() * width];
        }
        let to = &mut room[..groups.len() * width];
        expand(isa, self, start, width, groups, to);
        to
    }
}

simd_fn! {
    fn expand(s, factors: &Factors, start: usize, width: usize, groups: Range<usize>, to: &mut [f32]) {
        assert!(width.is_multiple_of(S::LANES) && to.len() >= groups.len() * width && groups.end <= factors.groups);
        let rows = factors.rows(start, width);
        for (i, group) in groups.enumerate() {
            // As many groups on, these will be wanted soon.
            rows.prefetch(group + to.len() / width);
            for j in (0..width).step_by(S::LANES) {
                // SAFETY: the strip has these groups, its rows are whole vectors; `to` has been measured.
                unsafe { s.store(to.as_mut_ptr().add(i * width + j), rows.at(s, group, j)) };
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Values {
    Wide(*const f32),
    Half(*const u16),
}

/// What factors are but for their integers: those of NV vectors.
pub(crate) type FactorValues<S, const NV: usize> = [<S as Simd>::V; NV];

/// Factors of a strip.
#[derive(Clone, Copy)]
pub(crate) struct FactorRows {
    values: Values,
    bytes: Option<*const u8>,
    bias: f32,
    shift: u32,
    width: usize,
}

impl FactorRows {
    /// Asks for those of group `group`, whether there is one or not. A row is seldom a whole cache line: both its ends.
    #[inline(always)]
    fn prefetch(self, group: usize) {
        let (first, last) = (self.width * (group >> self.shift), self.width - 1);
        for j in [0, last] {
            match self.values {
                Values::Wide(values) => prefetch(values.wrapping_add(first + j)),
                Values::Half(values) => prefetch(values.wrapping_add(first + j)),
            }
            if let Some(bytes) = self.bytes {
                prefetch(bytes.wrapping_add(group * self.width + j));
            }
        }
    }
    /// Whether group `group` is the first of those that share values.
    #[inline(always)]
    pub fn begins_value(self, group: usize) -> bool {
        group & ((1 << self.shift) - 1) == 0
    }
    /// Values of group `group` for the outputs from column `j` of the strip on.
    ///
    /// # Safety
    /// The strip has the group, and NV whole vectors at `j`.
    #[inline(always)]
    pub unsafe fn values<S: Simd, const NV: usize>(self, s: S, group: usize, j: usize) -> FactorValues<S, NV> {
        let at = (group >> self.shift) * self.width + j;
        let mut values = [s.zero(); NV];
        for (v, value) in values.iter_mut().enumerate() {
            // SAFETY: contract.
            *value = unsafe {
                match self.values {
                    Values::Wide(values) => s.load(values.add(at + v * S::LANES)),
                    Values::Half(values) => s.load_f16(values.add(at + v * S::LANES)),
                }
            };
        }
        values
    }
    /// Factors of group `group` from its values, exact.
    ///
    /// # Safety
    /// As for [`FactorRows::values`].
    #[inline(always)]
    pub unsafe fn times_bytes<S: Simd, const NV: usize>(
        self,
        s: S,
        mut values: FactorValues<S, NV>,
        group: usize,
        j: usize,
    ) -> FactorValues<S, NV> {
        if let Some(bytes) = self.bytes {
            for (v, value) in values.iter_mut().enumerate() {
                // SAFETY: contract.
                let byte = unsafe { s.load_u8(bytes.add(group * self.width + j + v * S::LANES)) };
                *value = *value * (s.to_float(byte) - s.splat(self.bias));
            }
        }
        values
    }
    /// Those of group `group` for the outputs from column `j` of the strip on, exact.
    ///
    /// # Safety
    /// The strip has the group, and a whole vector at `j`.
    #[inline(always)]
    pub unsafe fn at<S: Simd>(self, s: S, group: usize, j: usize) -> S::V {
        // SAFETY: contract.
        unsafe { self.times_bytes(s, self.values::<S, 1>(s, group, j), group, j)[0] }
    }
}
