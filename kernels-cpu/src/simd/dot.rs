//! Sums of products of bytes: u8 codes times i8, four to a 32-bit lane, exact in i32.
//!
//! `vpdpbusd` where there is VNNI. Elsewhere the even and the odd bytes are widened to 16 bits and multiplied by `pmaddwd`, whose
//! sums of two products cannot overflow; `pmaddubsw`, which would saturate, is not used.

use super::Isa;
use std::ops::Range;

/// Vectors of i32 whose lanes are seen as four bytes.
trait Bytes: Copy {
    type V: Copy;
    const LANES: usize;
    /// All lanes `value`.
    fn splat(self, value: i32) -> Self::V;
    /// # Safety
    /// `from` is readable for LANES words.
    unsafe fn load(self, from: *const i32) -> Self::V;
    /// # Safety
    /// `to` is writable for LANES words.
    unsafe fn store(self, to: *mut i32, v: Self::V);
    /// sum + Σ codes · x over the four bytes of each lane; wrapping.
    fn dot(self, sum: Self::V, codes: Self::V, x: i32) -> Self::V;
    /// −a · b, wrapping.
    fn negative_product(self, a: Self::V, b: i32) -> Self::V;
}

/// Bytes 0 and 2 of a word as two i16.
#[cfg(target_arch = "x86_64")]
fn even(x: i32) -> i32 {
    (x as i8 as i16 as u16 as u32 | ((x >> 16) as i8 as i16 as u16 as u32) << 16) as i32
}

#[derive(Clone, Copy)]
struct Plain;

impl Bytes for Plain {
    type V = [i32; 8];
    const LANES: usize = 8;
    fn splat(self, value: i32) -> [i32; 8] {
        [value; 8]
    }
    unsafe fn load(self, from: *const i32) -> [i32; 8] {
        // SAFETY: by contract; the array is as aligned as its words.
        unsafe { from.cast::<[i32; 8]>().read() }
    }
    unsafe fn store(self, to: *mut i32, v: [i32; 8]) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<[i32; 8]>().write(v) }
    }
    fn dot(self, sum: [i32; 8], codes: [i32; 8], x: i32) -> [i32; 8] {
        let x = x.to_le_bytes();
        std::array::from_fn(|i| {
            let codes = codes[i].to_le_bytes();
            (0..4).fold(sum[i], |sum, b| sum.wrapping_add(codes[b] as i32 * x[b] as i8 as i32))
        })
    }
    fn negative_product(self, a: [i32; 8], b: i32) -> [i32; 8] {
        a.map(|a| a.wrapping_mul(b).wrapping_neg())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Bytes, even};
    use std::arch::x86_64::*;

    /// Made only where the processor has the set.
    #[derive(Clone, Copy)]
    pub struct Avx2Bytes(());
    /// As above.
    #[derive(Clone, Copy)]
    pub struct Avx512Bytes(());
    /// As above.
    #[derive(Clone, Copy)]
    pub struct VnniBytes(());

    impl Avx2Bytes {
        pub fn of(_: super::super::Avx2) -> Self {
            Avx2Bytes(())
        }
    }
    impl Avx512Bytes {
        pub fn of(_: super::super::Avx512) -> Self {
            Avx512Bytes(())
        }
    }
    impl VnniBytes {
        pub fn of(token: super::super::Avx512) -> Option<Self> {
            token.has_vnni().then_some(VnniBytes(()))
        }
    }

    macro_rules! widening {
        ($ty:ident $v:ident $lanes:literal $set1:ident $load:ident $store:ident $and:ident $shift:ident $madd:ident $add:ident $mul:ident $sub:ident) => {
            impl Bytes for $ty {
                type V = $v;
                const LANES: usize = $lanes;
                #[inline(always)]
                fn splat(self, value: i32) -> $v {
                    // SAFETY: the token proves the set, here and below.
                    unsafe { $set1(value) }
                }
                #[inline(always)]
                unsafe fn load(self, from: *const i32) -> $v {
                    // SAFETY: token; contract.
                    unsafe { $load(from.cast()) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut i32, v: $v) {
                    // SAFETY: token; contract.
                    unsafe { $store(to.cast(), v) }
                }
                #[inline(always)]
                fn dot(self, sum: $v, codes: $v, x: i32) -> $v {
                    // SAFETY: token.
                    unsafe {
                        let bytes = $set1(0x00ff_00ff);
                        let evens = $madd($and(codes, bytes), $set1(even(x)));
                        let odds = $madd($and($shift::<8>(codes), bytes), $set1(even(x >> 8)));
                        $add(sum, $add(evens, odds))
                    }
                }
                #[inline(always)]
                fn negative_product(self, a: $v, b: i32) -> $v {
                    // SAFETY: token.
                    unsafe { $sub($set1(0), $mul(a, $set1(b))) }
                }
            }
        };
    }
    widening!(Avx2Bytes __m256i 8 _mm256_set1_epi32 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_and_si256 _mm256_srli_epi32
        _mm256_madd_epi16 _mm256_add_epi32 _mm256_mullo_epi32 _mm256_sub_epi32);
    widening!(Avx512Bytes __m512i 16 _mm512_set1_epi32 _mm512_loadu_si512 _mm512_storeu_si512 _mm512_and_si512 _mm512_srli_epi32
        _mm512_madd_epi16 _mm512_add_epi32 _mm512_mullo_epi32 _mm512_sub_epi32);

    impl Bytes for VnniBytes {
        type V = __m512i;
        const LANES: usize = 16;
        #[inline(always)]
        fn splat(self, value: i32) -> __m512i {
            // SAFETY: the token proves the set, here and below.
            unsafe { _mm512_set1_epi32(value) }
        }
        #[inline(always)]
        unsafe fn load(self, from: *const i32) -> __m512i {
            // SAFETY: token; contract.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut i32, v: __m512i) {
            // SAFETY: token; contract.
            unsafe { _mm512_storeu_si512(to.cast(), v) }
        }
        #[inline(always)]
        fn dot(self, sum: __m512i, codes: __m512i, x: i32) -> __m512i {
            // SAFETY: token.
            unsafe { _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(x)) }
        }
        #[inline(always)]
        fn negative_product(self, a: __m512i, b: i32) -> __m512i {
            // SAFETY: token.
            unsafe { _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_mullo_epi32(a, _mm512_set1_epi32(b))) }
        }
    }
}

/// Operands of [`dot_tile`].
#[derive(Clone, Copy)]
pub(crate) struct DotTile {
    /// Words of x: unit u of row i at `x[i·x_stride + u]`.
    pub x: *const i32,
    /// Words from row to row of x.
    pub x_stride: usize,
    /// Sum of x of row i over the units: `x_sums[i·x_sums_stride]`.
    pub x_sums: *const i32,
    /// Words from row to row of the sums.
    pub x_sums_stride: usize,
    /// Codes [units, width].
    pub codes: *const i32,
    /// Zero points [width] as words; `None` for 128 everywhere.
    pub zeros: Option<*const i32>,
    /// Result [rows, width].
    pub out: *mut i32,
    /// Rows, at most 8.
    pub rows: usize,
    /// Vectors of a row, at most 3; width is as many lanes.
    pub vectors: usize,
}

/// out[i, j] = Σ_units Σ_bytes x[i]·(codes[j] − zeros[j]), wrapping.
///
/// # Safety
/// All operands hold what their documentation says for the units of `units`.
pub(crate) unsafe fn dot_tile(isa: Isa, units: Range<usize>, tile: DotTile) {
    match isa {
        // SAFETY: same contract.
        Isa::Scalar(_) => unsafe { by_size(Plain, units, tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: same contract; the token proves the features.
        Isa::Avx2(token) => unsafe { avx2(x86::Avx2Bytes::of(token), units, tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: same contract; the tokens prove the features.
        Isa::Avx512(token) => unsafe {
            match x86::VnniBytes::of(token) {
                Some(bytes) => vnni(bytes, units, tile),
                None => avx512(x86::Avx512Bytes::of(token), units, tile),
            }
        },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(b: x86::Avx2Bytes, units: Range<usize>, tile: DotTile) {
    // SAFETY: same contract.
    unsafe { by_size(b, units, tile) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512(b: x86::Avx512Bytes, units: Range<usize>, tile: DotTile) {
    // SAFETY: same contract.
    unsafe { by_size(b, units, tile) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni(b: x86::VnniBytes, units: Range<usize>, tile: DotTile) {
    // SAFETY: same contract.
    unsafe { by_size(b, units, tile) }
}

#[inline(always)]
unsafe fn by_size<B: Bytes>(b: B, units: Range<usize>, tile: DotTile) {
    // SAFETY: same contract, with the vector count as a constant.
    unsafe {
        match tile.vectors {
            1 => by_rows::<B, 1>(b, units, tile),
            2 => by_rows::<B, 2>(b, units, tile),
            3 => by_rows::<B, 3>(b, units, tile),
            _ => debug_assert!(false, "a tile of {} vectors", tile.vectors),
        }
    }
}

#[inline(always)]
unsafe fn by_rows<B: Bytes, const NV: usize>(b: B, units: Range<usize>, tile: DotTile) {
    // SAFETY: same contract; rows in steps of 8, 4 and 1.
    unsafe {
        let mut done = 0;
        while tile.rows - done >= 8 {
            sums::<B, 8, NV>(b, units.clone(), tile, done);
            done += 8;
        }
        while tile.rows - done >= 4 {
            sums::<B, 4, NV>(b, units.clone(), tile, done);
            done += 4;
        }
        while tile.rows > done {
            sums::<B, 1, NV>(b, units.clone(), tile, done);
            done += 1;
        }
    }
}

#[inline(always)]
unsafe fn sums<B: Bytes, const MR: usize, const NV: usize>(b: B, units: Range<usize>, tile: DotTile, first: usize) {
    let width = NV * B::LANES;
    let mut sums = [[b.splat(0); NV]; MR];
    // SAFETY: all accesses are those the contract of `dot_tile` grants.
    unsafe {
        for j in 0..NV {
            let zeros = match tile.zeros {
                Some(zeros) => b.load(zeros.add(j * B::LANES)),
                None => b.splat(128),
            };
            for (i, row) in sums.iter_mut().enumerate() {
                row[j] = b.negative_product(zeros, *tile.x_sums.add((first + i) * tile.x_sums_stride));
            }
        }
        for unit in units {
            let mut codes = [b.splat(0); NV];
            for (j, v) in codes.iter_mut().enumerate() {
                *v = b.load(tile.codes.add(unit * width + j * B::LANES));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let x = *tile.x.add((first + i) * tile.x_stride + unit);
                for (v, &codes) in row.iter_mut().zip(&codes) {
                    *v = b.dot(*v, codes, x);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, &v) in row.iter().enumerate() {
                b.store(tile.out.add((first + i) * width + j * B::LANES), v);
            }
        }
    }
}
