//! A quantized weight [N, K] as strips of words: 32 bits hold the codes of 4 (int8) or 8 (int4) inputs for one output.
//!
//! A strip is [units, NR] words; a unit is the inputs one word holds. Every group starts a new unit, so that the last unit of a
//! group may be partly filled. Scales and zero points are [groups, NR] per strip.

use crate::CpuBackend;
use crate::gemm::blocking::{Strips, lanes, nr};
use crate::gemm::micro::Strip;
use crate::gemm::stored::Stored;
use crate::memory::CpuStorage;
use crate::simd::Simd;
use half::bf16;
use kernels::Result;
use kernels::weight::{Bits, Quant, Zero};
use std::ops::Range;

/// Where the units of a row lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Units {
    k: usize,
    group_size: usize,
    per_group: usize,
    /// Inputs in a unit.
    rows: usize,
}

impl Units {
    /// Units of `rows` inputs for a row of depth `k` in groups.
    pub fn new(k: usize, group_size: usize, rows: usize) -> Self {
        let group_size = group_size.min(k).max(1);
        Units { k, group_size, per_group: group_size.div_ceil(rows), rows }
    }
    /// Number of groups.
    pub fn groups(self) -> usize {
        self.k.div_ceil(self.group_size)
    }
    /// Number of units.
    pub fn count(self) -> usize {
        let whole = self.k / self.group_size;
        whole * self.per_group + (self.k - whole * self.group_size).div_ceil(self.rows)
    }
    /// Units of group `group`.
    pub fn of_group(self, group: usize) -> Range<usize> {
        group * self.per_group..((group + 1) * self.per_group).min(self.count())
    }
    /// The unit that holds input `k`.
    pub fn at(self, k: usize) -> usize {
        let group = k / self.group_size;
        group * self.per_group + (k - group * self.group_size) / self.rows
    }
    /// First input of a unit, and how many it holds.
    #[inline(always)]
    pub fn span(self, unit: usize) -> (usize, usize) {
        let group = unit / self.per_group;
        let start = group * self.group_size + (unit - group * self.per_group) * self.rows;
        let end = ((group + 1) * self.group_size).min(self.k);
        (start, self.rows.min(end - start))
    }
    #[inline(always)]
    fn group(self, unit: usize) -> usize {
        unit / self.per_group
    }
}

/// A packed quantized weight.
pub(crate) struct QuantStrips {
    pub bits: Bits,
    pub units: Units,
    /// i32 [strips, units, NR].
    words: CpuStorage,
    /// f32 [strips, groups, NR].
    scales: CpuStorage,
    /// bf16 [strips, groups, NR], exact; `None` if symmetric.
    zeros: Option<CpuStorage>,
}

impl QuantStrips {
    /// Packs a weight. Returns the bytes it occupies, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, quant: &Quant) -> Result<(Self, usize)> {
        let (n, k, scheme) = (quant.n(), quant.k(), quant.scheme());
        let (rows, bits) = match scheme.bits {
            Bits::Int8 => (4, 8),
            Bits::Int4 => (8, 4),
        };
        let units = Units::new(k, scheme.group_size, rows);
        let lanes = lanes(cpu.isa);
        let strips = Strips::new(n, lanes);
        let per_unit = strips.padded().saturating_mul(4);
        let mut words = cpu.heap.alloc(per_unit.saturating_mul(units.count()))?;
        let mut scales = cpu.heap.alloc(per_unit.saturating_mul(units.groups()))?;
        let mut zeros = match scheme.zero {
            Zero::Symmetric => None,
            Zero::Asymmetric => Some(cpu.heap.alloc((per_unit / 2).saturating_mul(units.groups()))?),
        };
        for index in 0..strips.count() {
            let columns = strips.columns(index);
            let width = strips.vectors(index) * lanes;
            let words = &mut words.as_mut_slice::<u32>()[columns.start * units.count()..];
            let scales = &mut scales.as_mut_slice::<f32>()[columns.start * units.groups()..];
            for (j, n) in columns.clone().enumerate() {
                for unit in 0..units.count() {
                    let (start, count) = units.span(unit);
                    let word = (0..count).fold(0, |word, i| word | (quant.code(n, start + i) as u32) << (bits * i));
                    words[unit * width + j] = word;
                }
                for group in 0..units.groups() {
                    scales[group * width + j] = quant.group(n, group).0;
                }
            }
            if let Some(zeros) = &mut zeros {
                let zeros = &mut zeros.as_mut_slice::<bf16>()[columns.start * units.groups()..];
                for (j, n) in columns.enumerate() {
                    for group in 0..units.groups() {
                        zeros[group * width + j] = bf16::from_f32(quant.group(n, group).1 as f32);
                    }
                }
            }
        }
        let bytes = words.bytes() + scales.bytes() + zeros.as_ref().map_or(0, CpuStorage::bytes);
        Ok((QuantStrips { bits: scheme.bits, units, words, scales, zeros }, bytes))
    }

    /// Words [units, width], scales and zero points [groups, width] of the strip that begins at column `start`.
    pub fn strip(&self, start: usize, width: usize) -> (&[i32], &[f32], Option<&[bf16]>) {
        let (units, groups) = (self.units.count(), self.units.groups());
        let words = &self.words.as_slice::<i32>()[start * units..][..units * width];
        let scales = &self.scales.as_slice::<f32>()[start * groups..][..groups * width];
        let zeros = self.zeros.as_ref().map(|zeros| &zeros.as_slice::<bf16>()[start * groups..][..groups * width]);
        (words, scales, zeros)
    }

    /// This weight as a factor of BITS bits.
    pub fn factor<const BITS: u32>(&self) -> QuantFactor<'_, BITS> {
        QuantFactor(self)
    }

    /// Strip `index`, whose rows are `vectors` vectors. `BITS` must be those of the weight.
    #[inline(always)]
    pub fn rows<S: Simd, const BITS: u32>(&self, index: usize, vectors: usize) -> QuantRows<BITS> {
        let start = index * nr(S::LANES);
        let zeros = self.zeros.as_ref();
        QuantRows {
            units: self.units,
            words: self.words.as_slice::<f32>().as_ptr().wrapping_add(start * self.units.count()),
            scales: self.scales.as_slice::<f32>().as_ptr().wrapping_add(start * self.units.groups()),
            zeros: zeros.map(|z| z.as_slice::<u16>().as_ptr().wrapping_add(start * self.units.groups())),
            width: vectors * S::LANES,
        }
    }
}

/// A quantized weight as right factor of the product.
pub(crate) struct QuantFactor<'a, const BITS: u32>(&'a QuantStrips);

impl<const BITS: u32> Stored for QuantFactor<'_, BITS> {
    type Rows<S: Simd> = QuantRows<BITS>;
    const UNIT_ROWS: usize = 32 / BITS as usize;

    fn units(&self, _: usize) -> usize {
        self.0.units.count()
    }
    fn unit_at(&self, k: usize) -> usize {
        self.0.units.at(k)
    }
    fn span(&self, unit: usize) -> (usize, usize) {
        self.0.units.span(unit)
    }
    #[inline(always)]
    fn strip<S: Simd>(&self, index: usize, vectors: usize) -> QuantRows<BITS> {
        self.0.rows::<S, BITS>(index, vectors)
    }
}

/// A strip of a quantized weight. Each value is `scale · (code − zero)`, rounded once, as in `Quant::to_f32`.
#[derive(Clone, Copy)]
pub(crate) struct QuantRows<const BITS: u32> {
    pub units: Units,
    /// Words, as the f32 of the same bits, [units, width].
    pub words: *const f32,
    /// [groups, width]
    pub scales: *const f32,
    /// bf16 [groups, width]
    pub zeros: Option<*const u16>,
    pub width: usize,
}

/// One word per output, with its group's scale and zero point.
#[derive(Clone, Copy)]
pub(crate) struct QuantUnit<S: Simd, const NV: usize> {
    words: [S::I; NV],
    scales: [S::V; NV],
    zeros: [S::V; NV],
}

impl<S: Simd, const BITS: u32> Strip<S> for QuantRows<BITS> {
    const ROWS: usize = 32 / BITS as usize;
    type Unit<const NV: usize> = QuantUnit<S, NV>;

    #[inline(always)]
    fn span(self, unit: usize) -> (usize, usize) {
        self.units.span(unit)
    }
    #[inline(always)]
    unsafe fn unit<const NV: usize>(self, s: S, unit: usize) -> QuantUnit<S, NV> {
        let group = self.units.group(unit);
        let mut all =
            QuantUnit { words: [s.int(0); NV], scales: [s.zero(); NV], zeros: [s.splat((1u32 << (BITS - 1)) as f32); NV] };
        for j in 0..NV {
            let at = group * self.width + j * S::LANES;
            // SAFETY: by contract the unit, and so its group, exists; rows are whole vectors.
            unsafe {
                all.words[j] = s.bits(s.load(self.words.add(unit * self.width + j * S::LANES)));
                all.scales[j] = s.load(self.scales.add(at));
                if let Some(zeros) = self.zeros {
                    all.zeros[j] = s.load_bf16(zeros.add(at));
                }
            }
        }
        all
    }
    #[inline(always)]
    fn row<const NV: usize, const ROW: usize>(self, s: S, unit: QuantUnit<S, NV>) -> [S::V; NV] {
        let mut row = [s.zero(); NV];
        for (j, value) in row.iter_mut().enumerate() {
            let word = unit.words[j];
            let shifted = match (BITS as usize * ROW) as u32 {
                4 => s.shr::<4>(word),
                8 => s.shr::<8>(word),
                12 => s.shr::<12>(word),
                16 => s.shr::<16>(word),
                20 => s.shr::<20>(word),
                24 => s.shr::<24>(word),
                28 => s.shr::<28>(word),
                _ => word,
            };
            let code = s.to_float(shifted & s.int((1 << BITS) - 1));
            *value = (code - unit.zeros[j]) * unit.scales[j];
        }
        row
    }
}
