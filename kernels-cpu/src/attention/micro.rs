//! The products of attention: a tile of sums in registers.
//!
//! | instruction set | registers | tile | why |
//! |---|---|---|---|
//! | AVX-512 | 32 of 16 lanes | 6 × 64 | 24 accumulators, 4 for the right row, 1 for the left element; a row of 64 sums is one head |
//! | AVX2, scalar | 16 of 8 lanes | 6 × 16 | 12 accumulators, 2 for the right row, 1 for the left element |
//!
//! A sum is one chain of fused multiply-adds in rising k, whatever tile it falls in: no choice of tiles changes a bit.

use crate::simd::{Float, Isa, Simd, keep_rolled, simd_fn};

/// Rows of a tile.
pub(crate) const ROWS: usize = 6;

/// Most vectors in a row of a tile.
pub(crate) const fn vectors(lanes: usize) -> usize {
    if lanes >= 16 { 4 } else { 2 }
}

/// Rows of the next tile when `left` rows are left: fewer sizes to compile, and no sums for nothing.
pub(crate) fn tile_rows(left: usize) -> usize {
    match left {
        ROWS.. => ROWS,
        3.. => 3,
        _ => left,
    }
}

/// The left factor of a tile.
pub(crate) trait Left: Copy {
    /// Element (i, k).
    ///
    /// # Safety
    /// The factor has it.
    unsafe fn at(self, i: usize, k: usize) -> f32;
}

/// Rows that lie anywhere.
#[derive(Clone, Copy)]
pub(crate) struct Rows(pub *const *const f32);

impl Left for Rows {
    #[inline(always)]
    unsafe fn at(self, i: usize, k: usize) -> f32 {
        // SAFETY: by contract.
        unsafe { *(*self.0.add(i)).add(k) }
    }
}

/// Scores: element (i, k) at `start[i·ROW + k·STEP]`.
#[derive(Clone, Copy)]
pub(crate) struct Scores<const ROW: usize, const STEP: usize>(pub *const f32);

impl<const ROW: usize, const STEP: usize> Left for Scores<ROW, STEP> {
    #[inline(always)]
    unsafe fn at(self, i: usize, k: usize) -> f32 {
        // SAFETY: by contract.
        unsafe { *self.0.add(i * ROW + k * STEP) }
    }
}

/// The right factor: rows `stride` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Right<T> {
    pub start: *const T,
    pub stride: usize,
}

/// Row k of the right factor times the elements (FIRST..LAST, k) of the left.
///
/// # Safety
/// The left factor has rows up to LAST and column k; the right factor has row k, of NV vectors.
#[inline(always)]
unsafe fn step<S: Simd, L: Left, T: Float, const FIRST: usize, const LAST: usize, const MR: usize, const NV: usize>(
    s: S,
    left: L,
    right: Right<T>,
    k: usize,
    sums: &mut [[S::V; NV]; MR],
) {
    keep_rolled();
    // SAFETY: by the contract of the callers.
    unsafe {
        let from = right.start.add(k * right.stride);
        let mut row = [s.zero(); NV];
        for j in 0..NV {
            row[j] = T::load(s, from.add(j * S::LANES));
        }
        for i in FIRST..LAST {
            let a = s.splat(left.at(i, k));
            for j in 0..NV {
                sums[i][j] = s.fma(a, row[j], sums[i][j]);
            }
        }
    }
}

/// Writes a tile of sums.
///
/// # Safety
/// `to` is writable for MR rows of NV vectors, `stride` elements apart.
#[inline(always)]
unsafe fn store<S: Simd, const MR: usize, const NV: usize>(s: S, sums: [[S::V; NV]; MR], to: *mut f32, stride: usize) {
    for i in 0..MR {
        for j in 0..NV {
            // SAFETY: by the contract of the callers.
            unsafe { s.store(to.add(i * stride + j * S::LANES), sums[i][j]) };
        }
    }
}

/// to[i] = Σ left(i, k) · right[k] over k < depth.
#[inline(always)]
unsafe fn rectangle<S: Simd, L: Left, const MR: usize, const NV: usize>(
    s: S,
    left: L,
    right: Right<f32>,
    depth: usize,
    to: *mut f32,
    stride: usize,
) {
    let mut sums = [[s.zero(); NV]; MR];
    // SAFETY: by contract.
    unsafe {
        for k in 0..depth {
            step::<S, L, f32, 0, MR, MR, NV>(s, left, right, k, &mut sums);
        }
        store(s, sums, to, stride);
    }
}

/// Sums that begin with what `to` holds.
///
/// # Safety
/// `to` is readable for MR rows of NV vectors, `stride` elements apart.
#[inline(always)]
unsafe fn load<S: Simd, const MR: usize, const NV: usize>(s: S, to: *const f32, stride: usize) -> [[S::V; NV]; MR] {
    let mut sums = [[s.zero(); NV]; MR];
    for i in 0..MR {
        for j in 0..NV {
            // SAFETY: by the contract of the callers.
            sums[i][j] = unsafe { s.load(to.add(i * stride + j * S::LANES)) };
        }
    }
    sums
}

/// What the sums of a staircase begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// 0.
    Zero,
    /// What is there.
    Sum,
}

/// to[i] = Σ left(i, k) · right[k] over k < ends[i], which do not fall with i.
///
/// # Safety
/// As for [`multiply_staircase`], with MR rows of NV vectors.
#[inline(always)]
unsafe fn staircase<S: Simd, L: Left, T: Float, const MR: usize, const NV: usize>(
    s: S,
    left: L,
    right: Right<T>,
    ends: &[usize],
    begin: Begin,
    to: *mut f32,
    stride: usize,
) {
    let mut sums = [[s.zero(); NV]; MR];
    if begin == Begin::Sum {
        // SAFETY: by contract.
        sums = unsafe { load(s, to, stride) };
    }
    let mut k = 0;
    macro_rules! stairs {
        ($($first:literal)*) => {$(
            if $first < MR {
                while k < ends[$first] {
                    // SAFETY: by contract.
                    unsafe { step::<S, L, T, $first, MR, MR, NV>(s, left, right, k, &mut sums) };
                    k += 1;
                }
            }
        )*};
    }
    stairs!(0 1 2 3 4 5);
    // SAFETY: by contract.
    unsafe { store(s, sums, to, stride) };
}

/// to[i] += Σ left(i, k) · right[k] over begins[i] ≤ k < end; begins do not fall with i.
#[inline(always)]
unsafe fn rising<S: Simd, L: Left, const MR: usize, const NV: usize>(
    s: S,
    left: L,
    right: Right<f32>,
    begins: &[usize],
    end: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: by contract.
    let mut sums: [[S::V; NV]; MR] = unsafe { load(s, to, stride) };
    let mut k = begins[0];
    macro_rules! stairs {
        ($($last:literal)*) => {$(
            if $last <= MR {
                let until = if $last < MR { begins[$last].min(end) } else { end };
                while k < until {
                    // SAFETY: by contract.
                    unsafe { step::<S, L, f32, 0, $last, MR, NV>(s, left, right, k, &mut sums) };
                    k += 1;
                }
            }
        )*};
    }
    stairs!(1 2 3 4 5 6);
    // SAFETY: by contract.
    unsafe { store(s, sums, to, stride) };
}

/// Rows of the tiles that may have values that are not f32.
pub(crate) const SMALL_ROWS: usize = 2;

/// `for_tile!((rows, vectors), kernel(arguments))`: the kernel with both sizes as constants.
macro_rules! for_tile {
    ($size:expr, $kernel:ident::<$($t:ty),+> $arguments:tt) => {
        for_tile!(@ $size, $kernel [$($t),+] $arguments (6 4) (6 3) (6 2) (6 1) (3 4) (3 3) (3 2) (3 1) (2 4) (2 3) (2 2) (2 1) (1 4) (1 3) (1 2) (1 1))
    };
    (@ $size:expr, $kernel:ident $types:tt $arguments:tt $(($rows:literal $vectors:literal))+) => {
        match $size {
            $(($rows, $vectors) => for_tile!(=> $kernel $types $rows $vectors $arguments),)+
            (rows, vectors) => debug_assert!(false, "a tile of {rows} rows of {vectors} vectors"),
        }
    };
    (=> $kernel:ident [$($t:ty),+] $rows:literal $vectors:literal $arguments:tt) => {
        $kernel::<$($t,)+ $rows, $vectors> $arguments
    };
}

/// As `for_tile!` for up to [`SMALL_ROWS`] rows.
macro_rules! for_small_tile {
    ($size:expr, $kernel:ident::<$($t:ty),+> $arguments:tt) => {
        for_tile!(@ $size, $kernel [$($t),+] $arguments (2 4) (2 3) (2 2) (2 1) (1 4) (1 3) (1 2) (1 1))
    };
}

/// to[i] = Σ left(i, k) · right[k] over k < depth, for a tile of `size` rows and vectors.
///
/// # Safety
/// `size` is that of a tile; both factors have `depth` steps, the rows of the right factor those vectors; `to` is writable for
/// those rows and vectors, `stride` elements apart.
pub(crate) unsafe fn multiply(
    isa: Isa,
    size: (usize, usize),
    left: Rows,
    right: Right<f32>,
    depth: usize,
    to: *mut f32,
    stride: usize,
) {
    simd_fn! {
        fn checked(s, size: (usize, usize), left: Rows, right: Right<f32>, depth: usize, to: *mut f32, stride: usize) {
            // SAFETY: the contract of `multiply`, the only caller.
            unsafe { for_tile!(size, rectangle::<S, Rows>(s, left, right, depth, to, stride)) }
        }
    }
    checked(isa, size, left, right, depth, to, stride);
}

/// to[i] = Σ weights(i, k) · right[k] over k < ends[i], which do not fall with i, added to what it begins with.
///
/// # Safety
/// As for [`multiply`]; both factors have the steps up to the last end.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(crate) unsafe fn multiply_staircase<T: Float, const ROW: usize>(
    isa: Isa,
    size: (usize, usize),
    weights: Scores<ROW, 1>,
    right: Right<T>,
    ends: &[usize],
    begin: Begin,
    to: *mut f32,
    stride: usize,
) {
    assert!(ends.len() >= size.0);
    simd_fn! {
        fn checked[T: Float, L: Left](
            s, size: (usize, usize), weights: L, right: Right<T>, ends: &[usize], begin: Begin, to: *mut f32, stride: usize,
        ) {
            // SAFETY: the contract of `multiply_staircase`, the only caller.
            unsafe {
                if T::IS_F32 {
                    for_tile!(size, staircase::<S, L, T>(s, weights, right, ends, begin, to, stride))
                } else {
                    for_small_tile!(size, staircase::<S, L, T>(s, weights, right, ends, begin, to, stride))
                }
            }
        }
    }
    checked(isa, size, weights, right, ends, begin, to, stride);
}

/// to[i] += Σ weights(k, i) · right[k] over begins[i] ≤ k < end, begins not falling with i: weights as they lie, [k, i].
///
/// # Safety
/// As for [`multiply`]; both factors have the steps up to `end`.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(crate) unsafe fn add_transposed<const ROW: usize>(
    isa: Isa,
    size: (usize, usize),
    weights: Scores<1, ROW>,
    right: Right<f32>,
    begins: &[usize],
    end: usize,
    to: *mut f32,
    stride: usize,
) {
    assert!(begins.len() >= size.0);
    simd_fn! {
        fn checked[L: Left](
            s, size: (usize, usize), weights: L, right: Right<f32>, begins: &[usize], end: usize, to: *mut f32, stride: usize,
        ) {
            // SAFETY: the contract of `add_transposed`, the only caller.
            unsafe { for_tile!(size, rising::<S, L>(s, weights, right, begins, end, to, stride)) }
        }
    }
    checked(isa, size, weights, right, begins, end, to, stride);
}
