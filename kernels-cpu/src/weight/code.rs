//! How integer codes lie in words of 32 bits: a word belongs to one output, a quad is the codes of four inputs as four bytes.
//!
//! | kind | a step is | and holds |
//! |---|---|---|
//! | [`Bytes`] | 1 word | 1 quad: input i in byte i |
//! | [`Nibbles`] | 1 word | 2 quads: the first in the low nibbles, the second in the high ones |
//! | [`Fives`] | 5 words | 8 quads: 4 words of nibbles, and one in which bit q of byte i is bit 4 of input i of quad q |
//! | [`Sixes`] | 3 words | 4 quads: 2 words of nibbles, and one in which bits 2q, 2q + 1 of byte i are bits 4, 5 of that input |
//!
//! So a few shifts and masks make quads of any kind, and no bit is stored that the codes do not have.

use crate::simd::Simd;
use std::ops::Range;

/// Most inputs of a step, and most words.
pub(crate) const STEP_INPUTS: usize = 32;
pub(crate) const STEP_WORDS: usize = 5;

/// A kind of codes.
pub(crate) trait Code: Copy + Send + Sync + 'static {
    /// Quads of a step, words of a step.
    const QUADS: usize;
    /// Words of a step.
    const WORDS: usize;
    /// Whether the quads lie as they are used.
    const PLAIN: bool = false;
    /// Whether groups may have zero points of their own.
    const ZEROS: bool = false;

    /// Writes the words of a step. Codes beyond the last are 0.
    fn pack(codes: &[u8; STEP_INPUTS], words: &mut [u32; STEP_WORDS]);
    /// Quad Q < QUADS of as many outputs as there are lanes. Word w of the step begins at `step + w·width`.
    ///
    /// # Safety
    /// The words are readable.
    unsafe fn quad<S: Simd, const Q: usize>(s: S, step: *const f32, width: usize) -> S::I;
    /// Quads 2·pair and 2·pair + 1, or the only one and nothing; of nibbles the word that both share, twice.
    ///
    /// # Safety
    /// As for [`Code::quad`].
    unsafe fn pair<S: Simd>(s: S, step: *const f32, width: usize, pair: usize) -> [S::I; 2];
}

/// Words of nibbles, and what remains of the codes.
fn pack_nibbles(codes: &[u8], words: &mut [u32]) {
    for (word, codes) in words.iter_mut().zip(codes.chunks_exact(8)) {
        let byte = |i: usize| codes[i] & 15 | (codes[i + 4] & 15) << 4;
        *word = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
    }
}

/// Quad Q from words of nibbles.
///
/// # Safety
/// Word Q / 2 is readable.
#[inline(always)]
unsafe fn nibble<S: Simd, const Q: usize>(s: S, step: *const f32, width: usize) -> S::I {
    // SAFETY: contract.
    let word = s.bits(unsafe { s.load(step.wrapping_add(Q / 2 * width)) });
    (if Q.is_multiple_of(2) { word } else { s.shr::<4>(word) }) & s.int(0x0f0f_0f0f)
}

/// Low nibbles of both quads of a pair, and the plane of upper bits, word PLANE.
///
/// # Safety
/// Words `pair` and PLANE are readable.
#[inline(always)]
unsafe fn pair_and_plane<S: Simd, const PLANE: usize>(s: S, step: *const f32, width: usize, pair: usize) -> ([S::I; 2], S::I) {
    // SAFETY: contract.
    let [word, plane] = [pair, PLANE].map(|word| s.bits(unsafe { s.load(step.wrapping_add(word * width)) }));
    ([word & s.int(0x0f0f_0f0f), s.shr::<4>(word) & s.int(0x0f0f_0f0f)], plane)
}

/// Eight bits.
#[derive(Clone, Copy)]
pub(crate) struct Bytes;

impl Code for Bytes {
    const QUADS: usize = 1;
    const WORDS: usize = 1;
    const PLAIN: bool = true;
    const ZEROS: bool = true;
    fn pack(codes: &[u8; STEP_INPUTS], words: &mut [u32; STEP_WORDS]) {
        words[0] = u32::from_le_bytes([codes[0], codes[1], codes[2], codes[3]]);
    }
    #[inline(always)]
    unsafe fn quad<S: Simd, const Q: usize>(s: S, step: *const f32, _: usize) -> S::I {
        // SAFETY: contract.
        s.bits(unsafe { s.load(step) })
    }
    #[inline(always)]
    unsafe fn pair<S: Simd>(s: S, step: *const f32, _: usize, _: usize) -> [S::I; 2] {
        // SAFETY: contract.
        [s.bits(unsafe { s.load(step) }), s.int(0)]
    }
}

/// Four bits.
#[derive(Clone, Copy)]
pub(crate) struct Nibbles;

impl Code for Nibbles {
    const QUADS: usize = 2;
    const WORDS: usize = 1;
    const ZEROS: bool = true;
    fn pack(codes: &[u8; STEP_INPUTS], words: &mut [u32; STEP_WORDS]) {
        pack_nibbles(codes, &mut words[..1]);
    }
    #[inline(always)]
    unsafe fn quad<S: Simd, const Q: usize>(s: S, step: *const f32, width: usize) -> S::I {
        // SAFETY: contract.
        unsafe { nibble::<S, Q>(s, step, width) }
    }
    #[inline(always)]
    unsafe fn pair<S: Simd>(s: S, step: *const f32, _: usize, _: usize) -> [S::I; 2] {
        // SAFETY: contract.
        [s.bits(unsafe { s.load(step) }); 2]
    }
}

/// Five bits.
#[derive(Clone, Copy)]
pub(crate) struct Fives;

impl Code for Fives {
    const QUADS: usize = 8;
    const WORDS: usize = 5;
    fn pack(codes: &[u8; STEP_INPUTS], words: &mut [u32; STEP_WORDS]) {
        pack_nibbles(codes, &mut words[..4]);
        words[4] = codes.iter().enumerate().fold(0, |plane, (i, &code)| plane | u32::from(code >> 4) << (i % 4 * 8 + i / 4));
    }
    #[inline(always)]
    unsafe fn quad<S: Simd, const Q: usize>(s: S, step: *const f32, width: usize) -> S::I {
        // SAFETY: contract.
        let (low, plane) = unsafe { (nibble::<S, Q>(s, step, width), s.bits(s.load(step.wrapping_add(4 * width)))) };
        let high = match Q {
            0 => s.shl::<4>(plane),
            1 => s.shl::<3>(plane),
            2 => s.shl::<2>(plane),
            3 => s.shl::<1>(plane),
            4 => plane,
            5 => s.shr::<1>(plane),
            6 => s.shr::<2>(plane),
            _ => s.shr::<3>(plane),
        };
        low | high & s.int(0x1010_1010)
    }
    #[inline(always)]
    unsafe fn pair<S: Simd>(s: S, step: *const f32, width: usize, pair: usize) -> [S::I; 2] {
        // SAFETY: contract.
        let (low, plane) = unsafe { pair_and_plane::<S, 4>(s, step, width, pair) };
        // Of this pair, bits 0 and 1 of each byte.
        let plane = s.shr_by(plane, 2 * pair as u32);
        [low[0] | s.shl::<4>(plane) & s.int(0x1010_1010), low[1] | s.shl::<3>(plane) & s.int(0x1010_1010)]
    }
}

/// Six bits.
#[derive(Clone, Copy)]
pub(crate) struct Sixes;

impl Code for Sixes {
    const QUADS: usize = 4;
    const WORDS: usize = 3;
    fn pack(codes: &[u8; STEP_INPUTS], words: &mut [u32; STEP_WORDS]) {
        pack_nibbles(&codes[..16], &mut words[..2]);
        let upper = codes[..16].iter().enumerate();
        words[2] = upper.fold(0, |plane, (i, &code)| plane | u32::from(code >> 4) << (i % 4 * 8 + i / 4 * 2));
    }
    #[inline(always)]
    unsafe fn quad<S: Simd, const Q: usize>(s: S, step: *const f32, width: usize) -> S::I {
        // SAFETY: contract.
        let (low, plane) = unsafe { (nibble::<S, Q>(s, step, width), s.bits(s.load(step.wrapping_add(2 * width)))) };
        let high = match Q {
            0 => s.shl::<4>(plane),
            1 => s.shl::<2>(plane),
            2 => plane,
            _ => s.shr::<2>(plane),
        };
        low | high & s.int(0x3030_3030)
    }
    #[inline(always)]
    unsafe fn pair<S: Simd>(s: S, step: *const f32, width: usize, pair: usize) -> [S::I; 2] {
        // SAFETY: contract.
        let (low, plane) = unsafe { pair_and_plane::<S, 2>(s, step, width, pair) };
        // Of this pair, bits 0 to 3 of each byte.
        let plane = s.shr_by(plane, 4 * pair as u32);
        [low[0] | s.shl::<4>(plane) & s.int(0x3030_3030), low[1] | s.shl::<2>(plane) & s.int(0x3030_3030)]
    }
}

/// Which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeKind {
    Bytes,
    Nibbles,
    Fives,
    Sixes,
}

/// Evaluates an expression with `$C` naming the type of a kind.
macro_rules! with_code {
    ($kind:expr, $C:ident => $body:expr) => {
        match $kind {
            $crate::weight::code::CodeKind::Bytes => {
                type $C = $crate::weight::code::Bytes;
                $body
            }
            $crate::weight::code::CodeKind::Nibbles => {
                type $C = $crate::weight::code::Nibbles;
                $body
            }
            $crate::weight::code::CodeKind::Fives => {
                type $C = $crate::weight::code::Fives;
                $body
            }
            $crate::weight::code::CodeKind::Sixes => {
                type $C = $crate::weight::code::Sixes;
                $body
            }
        }
    };
}
pub(crate) use with_code;

/// Where the codes of a row lie: every group of inputs begins a step, so that the last step of a group may be partly filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Groups {
    pub k: usize,
    /// Inputs of a group.
    pub size: usize,
    /// Steps of a group; the last group may have fewer.
    pub steps_per_group: usize,
    /// Quads of a step.
    pub quads: usize,
}

impl Groups {
    /// Groups of `size` inputs, or of all, in steps of `quads` quads.
    pub fn new(k: usize, size: usize, quads: usize) -> Self {
        let size = size.min(k).max(1);
        Groups { k, size, steps_per_group: size.div_ceil(4 * quads), quads }
    }
    /// Number of groups.
    pub fn count(self) -> usize {
        self.k.div_ceil(self.size)
    }
    /// Number of steps.
    pub fn steps(self) -> usize {
        let whole = self.k / self.size;
        whole * self.steps_per_group + (self.k - whole * self.size).div_ceil(4 * self.quads)
    }
    /// Number of quads.
    pub fn quads(self) -> usize {
        self.steps() * self.quads
    }
    /// Quads of a group.
    pub fn quads_per_group(self) -> usize {
        self.steps_per_group * self.quads
    }
    /// The unit, of `rows` inputs each, that holds input `k`.
    pub fn unit_at(self, k: usize, rows: usize) -> usize {
        let group = k / self.size;
        group * self.units_per_group(rows) + (k - group * self.size) / rows
    }
    /// The group of unit `unit`, of `rows` inputs each.
    #[inline(always)]
    pub fn group_of(self, unit: usize, rows: usize) -> usize {
        unit / self.units_per_group(rows)
    }
    #[inline(always)]
    fn units_per_group(self, rows: usize) -> usize {
        self.steps_per_group * (4 * self.quads / rows)
    }
    /// Units, of `rows` inputs each, and inputs of a group: its last units may hold fewer than others, or none, and not all be there.
    #[inline(always)]
    pub fn group_span(self, group: usize, rows: usize) -> (Range<usize>, Range<usize>) {
        let per_group = self.units_per_group(rows);
        (group * per_group..(group + 1) * per_group, group * self.size..((group + 1) * self.size).min(self.k))
    }
    /// First input of unit `unit`, of `rows` inputs each, and how many it holds.
    #[inline(always)]
    pub fn span(self, unit: usize, rows: usize) -> (usize, usize) {
        let (units, inputs) = self.group_span(self.group_of(unit, rows), rows);
        let (start, end) = (inputs.start + (unit - units.start) * rows, inputs.end);
        (start, rows.min(end.saturating_sub(start)))
    }
}
