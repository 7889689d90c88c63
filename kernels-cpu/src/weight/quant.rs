//! A weight of integer codes [N, K] as strips of words: 32 bits belong to one output, see [`code`](super::code).
//!
//! A strip is [steps · words of a step, NR] words. Scales and zero points are [groups, NR] per strip.

use super::code::{Code, CodeKind, Groups, STEP_INPUTS, STEP_WORDS, with_code};
use super::factors::{FactorRows, Factors, Source};
use super::minima::{Minima, MinimaRows};
use crate::CpuBackend;
use crate::gemm::blocking::{Strips, lanes, nr};
use crate::gemm::integer::tile::ahead_bytes;
use crate::gemm::stored::{Stored, Widened};
use crate::memory::CpuStorage;
use crate::simd::Simd;
use crate::simd::prefetch;
use kernels::Result;
use kernels::weight::{Bits, BlockFormat, Coded, Zero};
use std::marker::PhantomData;
use std::ops::Range;

/// Where the columns of a weight lie.
#[derive(Clone, Copy)]
pub(crate) struct Placed {
    pub strips: Strips,
    pub lanes: usize,
}

impl Placed {
    /// [strips, rows, NR] values of (n, row).
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn fill<T: bytemuck::Pod>(self, cpu: &CpuBackend, rows: usize, value: &dyn Fn(usize, usize) -> T) -> Result<CpuStorage> {
        let mut storage = cpu.heap.alloc(self.strips.padded().saturating_mul(rows).saturating_mul(size_of::<T>()))?;
        let all = storage.as_mut_slice::<T>();
        for index in 0..self.strips.count() {
            let (columns, width) = (self.strips.columns(index), self.strips.vectors(index) * self.lanes);
            let strip = &mut all[columns.start * rows..][..rows * width];
            for (j, n) in columns.enumerate() {
                (0..rows).for_each(|row| strip[row * width + j] = value(n, row));
            }
        }
        Ok(storage)
    }
}

/// A packed weight of integer codes.
pub(crate) struct QuantStrips {
    pub kind: CodeKind,
    pub groups: Groups,
    /// The code of zero, where groups have none of their own.
    pub zero: u8,
    /// u32 [strips, steps, words of a step, NR].
    words: CpuStorage,
    words_per_step: usize,
    pub scales: Factors,
    /// u8 [strips, groups, NR].
    pub zeros: Option<CpuStorage>,
    pub minima: Option<Minima>,
}

impl QuantStrips {
    /// Packs a weight. Returns the bytes it occupies, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, coded: Coded<'_>) -> Result<(Self, usize)> {
        let (n, k) = (coded.n(), coded.k());
        let (kind, zero) = match coded {
            Coded::Quant(quant) => {
                let kind = if quant.scheme().bits == Bits::Int8 { CodeKind::Bytes } else { CodeKind::Nibbles };
                (kind, quant.scheme().middle())
            }
            Coded::Blocks(blocks) => {
                let kind = match blocks.format() {
                    BlockFormat::Q8_0 => CodeKind::Bytes,
                    BlockFormat::Q4_0 | BlockFormat::Q4K => CodeKind::Nibbles,
                    BlockFormat::Q5K => CodeKind::Fives,
                    BlockFormat::Q6K => CodeKind::Sixes,
                };
                (kind, blocks.format().codes().1)
            }
        };
        let (groups, words_per_step) = with_code!(kind, C => (Groups::new(k, coded.group_size(), C::QUADS), C::WORDS));
        let placed = Placed { strips: Strips::new(n, lanes(cpu.isa)), lanes: lanes(cpu.isa) };
        let words = with_code!(kind, C => words::<C>(cpu, placed, coded, groups))?;
        let (scales, minima) = factors(cpu, placed, coded)?;
        let zeros = match coded {
            Coded::Quant(quant) if quant.scheme().zero == Zero::Asymmetric => {
                Some(placed.fill::<u8>(cpu, groups.count(), &|n, g| quant.group(n, g).1)?)
            }
            _ => None,
        };
        let side = scales.bytes() + zeros.as_ref().map_or(0, CpuStorage::bytes) + minima.as_ref().map_or(0, Minima::bytes);
        let bytes = words.bytes() + side;
        Ok((QuantStrips { kind, groups, zero, words, words_per_step, scales, zeros, minima }, bytes))
    }

    /// Words of the strip that begins at column `start`, rows of `width`, from step `step` on, as f32 of the same bits.
    pub fn words(&self, start: usize, width: usize, step: usize) -> &[f32] {
        let first = (start * self.groups.steps() + step * width) * self.words_per_step;
        let count = (self.groups.steps() - step) * self.words_per_step * width;
        &self.words.as_slice::<f32>()[first..first + count]
    }

    /// Zero points [groups, width] of a strip, if groups have their own.
    pub fn zeros(&self, start: usize, width: usize) -> Option<&[u8]> {
        let groups = self.groups.count();
        self.zeros.as_ref().map(|zeros| &zeros.as_slice::<u8>()[start * groups..][..groups * width])
    }

    /// This weight as a factor whose codes are of kind `C`, and whose groups have zero points of their own or not: as the weight does.
    pub fn factor<C: Code, const ZEROS: bool>(&self) -> QuantFactor<'_, C, ZEROS> {
        QuantFactor(self, PhantomData)
    }
}

/// Words of all strips.
fn words<C: Code>(cpu: &CpuBackend, placed: Placed, coded: Coded<'_>, groups: Groups) -> Result<CpuStorage> {
    let (strips, per_step) = (placed.strips, 4 * C::QUADS);
    let rows = groups.steps().saturating_mul(C::WORDS);
    let mut storage = cpu.heap.alloc(strips.padded().saturating_mul(rows).saturating_mul(4))?;
    let all = storage.as_mut_slice::<u32>();
    for index in 0..strips.count() {
        let (columns, width) = (strips.columns(index), strips.vectors(index) * placed.lanes);
        let strip = &mut all[columns.start * rows..][..rows * width];
        for (j, n) in columns.enumerate() {
            for step in 0..groups.steps() {
                let (start, count) = groups.span(step, per_step);
                let (mut codes, mut words) = ([0; STEP_INPUTS], [0; STEP_WORDS]);
                codes.iter_mut().take(count).enumerate().for_each(|(i, code)| *code = coded.code(n, start + i));
                C::pack(&codes, &mut words);
                for (w, &word) in words[..C::WORDS].iter().enumerate() {
                    strip[(step * C::WORDS + w) * width + j] = word;
                }
            }
        }
    }
    Ok(storage)
}

/// Scales and minima, as wide as the format stores them.
fn factors(cpu: &CpuBackend, placed: Placed, coded: Coded<'_>) -> Result<(Factors, Option<Minima>)> {
    let (n, groups) = (coded.n(), coded.groups());
    let pack = |source| Factors::pack(cpu, n, groups, source);
    let blocks = match coded {
        Coded::Quant(quant) => return Ok((pack(Source::Wide(&|n, g| quant.group(n, g).0))?, None)),
        Coded::Blocks(blocks) => blocks,
    };
    let format = blocks.format();
    let shift = (format.block_size() / format.group_size()).ilog2();
    let scale = |n, block| blocks.scales(n, block).0;
    Ok(match format {
        BlockFormat::Q8_0 | BlockFormat::Q4_0 => (pack(Source::Half(&scale))?, None),
        BlockFormat::Q6K => {
            let bytes = |n, g| (blocks.factors(n, g).0 as u8) ^ 0x80;
            (pack(Source::Fine { values: &scale, bytes: &bytes, shift, bias: 128 })?, None)
        }
        BlockFormat::Q4K | BlockFormat::Q5K => {
            let bytes = |n, g| blocks.factors(n, g).0 as u8;
            let scales = pack(Source::Fine { values: &scale, bytes: &bytes, shift, bias: 0 })?;
            let (min, bytes) = (|n, block| blocks.scales(n, block).1, |n, g| blocks.factors(n, g).1);
            (scales, Some(Minima::pack(cpu, placed, groups, &min, &bytes)?))
        }
    })
}

/// A weight of integer codes as right factor of the product. ZEROS: whether groups have zero points of their own.
pub(crate) struct QuantFactor<'a, C, const ZEROS: bool>(&'a QuantStrips, PhantomData<C>);

/// Inputs of a unit, two quads where a step has as many.
const fn unit_rows<C: Code>() -> usize {
    if C::QUADS == 1 { 4 } else { 8 }
}

impl<C: Code, const ZEROS: bool> Stored for QuantFactor<'_, C, ZEROS> {
    type Rows<S: Simd> = QuantRows<C, ZEROS>;
    const UNIT_ROWS: usize = unit_rows::<C>();

    fn units(&self, _: usize) -> usize {
        self.0.groups.steps() * (4 * C::QUADS / Self::UNIT_ROWS)
    }
    fn unit_at(&self, k: usize) -> usize {
        self.0.groups.unit_at(k, Self::UNIT_ROWS)
    }
    fn span(&self, unit: usize) -> (usize, usize) {
        self.0.groups.span(unit, Self::UNIT_ROWS)
    }
    #[inline(always)]
    fn strip<S: Simd>(&self, index: usize, vectors: usize) -> QuantRows<C, ZEROS> {
        let (weight, start, width) = (self.0, index * nr(S::LANES), vectors * S::LANES);
        let zero = if ZEROS { 0.0 } else { f32::from(weight.zero) };
        let mut nibbles = [0.0; 16];
        nibbles.iter_mut().enumerate().for_each(|(code, value)| *value = code as f32 - zero);
        let zeros = weight.zeros(start, width);
        assert_eq!(zeros.is_some(), ZEROS);
        QuantRows {
            nibbles,
            groups: weight.groups,
            words: weight.words(start, width, 0).as_ptr(),
            scales: weight.scales.rows(start, width),
            zeros: zeros.map_or(std::ptr::null(), <[u8]>::as_ptr),
            zero,
            minima: weight.minima.as_ref().map(|minima| minima.rows(start, width)),
            width,
            code: PhantomData,
        }
    }
}

/// A strip of a weight of integer codes. Each value is as [`Group::value`](kernels::weight::Group::value) has it, rounded once.
#[derive(Clone, Copy)]
pub(crate) struct QuantRows<C, const ZEROS: bool> {
    groups: Groups,
    words: *const f32,
    scales: FactorRows,
    /// Where ZEROS.
    zeros: *const u8,
    /// The code of zero where not.
    zero: f32,
    /// code − zero for every code of four bits.
    nibbles: [f32; 16],
    minima: Option<MinimaRows>,
    width: usize,
    code: PhantomData<C>,
}

/// The values of nibbles; scales, zero points (and BIAS, unless codes are nibbles) and minima (negative) of a group, of as many outputs
/// as there are lanes.
#[derive(Clone, Copy)]
pub(crate) struct QuantGroup<S: Simd, const NV: usize> {
    nibbles: S::Table,
    scales: [S::V; NV],
    zeros: [S::V; NV],
    minima: [S::V; NV],
}

/// Quads of as many outputs as there are lanes; of nibbles, the word they share.
type QuantUnit<S, const NV: usize> = [[<S as Simd>::I; 2]; NV];

impl<S: Simd, C: Code, const ZEROS: bool> Widened<S> for QuantRows<C, ZEROS> {
    const ROWS: usize = unit_rows::<C>();
    type Group<const NV: usize> = QuantGroup<S, NV>;
    type Unit<const NV: usize> = QuantUnit<S, NV>;

    #[inline(always)]
    fn group_of(self, unit: usize) -> usize {
        self.groups.group_of(unit, unit_rows::<C>())
    }
    #[inline(always)]
    fn group_span(self, group: usize) -> (Range<usize>, Range<usize>) {
        self.groups.group_span(group, unit_rows::<C>())
    }
    #[inline(always)]
    unsafe fn group<const NV: usize>(self, s: S, group: usize) -> QuantGroup<S, NV> {
        let bias = s.splat(if C::QUADS == 2 { 0.0 } else { BIAS });
        let (scales, zeros, minima) = ([s.zero(); NV], [s.splat(self.zero) + bias; NV], [s.splat(-0.0); NV]);
        let mut all = QuantGroup { nibbles: s.table(&self.nibbles), scales, zeros, minima };
        for j in 0..NV {
            let column = j * S::LANES;
            // SAFETY: by contract the group exists; rows are whole vectors.
            unsafe {
                all.scales[j] = self.scales.at(s, group, column);
                if ZEROS {
                    all.zeros[j] = s.to_float(s.load_u8(self.zeros.add(group * self.width + column))) + bias;
                }
                if let Some(minima) = self.minima {
                    all.minima[j] = -minima.at(s, group, column);
                }
            }
        }
        all
    }
    #[inline(always)]
    unsafe fn unit<const NV: usize>(self, s: S, unit: usize) -> QuantUnit<S, NV> {
        let per_step = 4 * C::QUADS / unit_rows::<C>();
        let (step, pair) = (unit / per_step, unit % per_step);
        // As many vectors as a unit is long, whichever words it reads.
        let coming = self.words.wrapping_add(unit * C::WORDS * self.width / per_step).wrapping_byte_add(ahead_bytes(false));
        for vector in 0..(NV * C::WORDS).div_ceil(per_step) {
            prefetch(coming.wrapping_add(vector * S::LANES));
        }
        let words = self.words.wrapping_add(step * C::WORDS * self.width);
        let mut quads = [[s.int(0); 2]; NV];
        for (j, quads) in quads.iter_mut().enumerate() {
            // SAFETY: by contract the unit exists; rows are whole vectors.
            *quads = unsafe { C::pair(s, words.add(j * S::LANES), self.width, pair) };
        }
        quads
    }
    #[inline(always)]
    fn row<const NV: usize, const ROW: usize>(self, s: S, group: &QuantGroup<S, NV>, unit: QuantUnit<S, NV>) -> [S::V; NV] {
        let mut row = [s.zero(); NV];
        for (j, value) in row.iter_mut().enumerate() {
            let quad = unit[j][ROW / 4];
            let mut code = if C::QUADS == 2 { nibble::<S, ROW>(s, group.nibbles, quad) } else { byte::<S, ROW>(s, quad) };
            if C::QUADS != 2 || ZEROS {
                code = code - group.zeros[j];
            }
            *value = s.fma(code, group.scales[j], group.minima[j]);
        }
        row
    }
}

/// 2²³, behind which bytes are the last bits of the mantissa: they become floats by being put there.
const BIAS: f32 = 8_388_608.0;

/// Byte ROW % 4, and BIAS.
#[inline(always)]
fn byte<S: Simd, const ROW: usize>(s: S, quad: S::I) -> S::V {
    let code = match ROW % 4 {
        0 => quad,
        1 => s.shr::<8>(quad),
        2 => s.shr::<16>(quad),
        _ => s.shr::<24>(quad),
    };
    s.from_bits(code & s.int(0xff) | s.int(BIAS.to_bits() as i32))
}

/// What the table has for the code of input ROW of a step of nibbles.
#[inline(always)]
fn nibble<S: Simd, const ROW: usize>(s: S, table: S::Table, word: S::I) -> S::V {
    let code = match ROW {
        0 => word,
        1 => s.shr::<8>(word),
        2 => s.shr::<16>(word),
        3 => s.shr::<24>(word),
        4 => s.shr::<4>(word),
        5 => s.shr::<12>(word),
        6 => s.shr::<20>(word),
        _ => s.shr::<28>(word),
    };
    s.lookup(table, code)
}
