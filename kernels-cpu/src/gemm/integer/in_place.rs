//! Exact sums of rows of i8 that are read where they lie: nothing is packed of them, and but for what their sums start with nothing
//! passes from one thread to another. Between cores that share no cache, packing rows together would take longer than multiplying them.

use super::rows::tile_height;
use crate::simd::dot::{Dot, dot_fn};
use crate::simd::{Simd, keep_rolled, prefetch};

/// Quads of a row between which nothing is decided.
const QUADS: usize = 4;

/// Cache lines that a row of a strip's result may touch.
const SOON_LINES: usize = 4;

/// Operands of [`sum_in_place`].
#[derive(Clone, Copy)]
pub(crate) struct InPlace {
    /// Rows of 4 · `steps` bytes, and bytes from row to row.
    pub x: *const i8,
    pub x_stride: usize,
    /// What the sums of rows start with.
    pub starts: *const i32,
    /// Words of the strip's codes [steps, width].
    pub codes: *const f32,
    pub width: usize,
    pub steps: usize,
    /// Result [rows, width], i32 in the bits of f32, and elements from row to row of it.
    pub out: *mut f32,
    pub out_stride: usize,
}

impl InPlace {
    #[inline(always)]
    fn from_row(self, row: usize) -> Self {
        InPlace {
            x: self.x.wrapping_add(row * self.x_stride),
            starts: self.starts.wrapping_add(row),
            out: self.out.wrapping_add(row * self.out_stride),
            ..self
        }
    }

    #[inline(always)]
    fn from_column(self, column: usize) -> Self {
        InPlace { codes: self.codes.wrapping_add(column), out: self.out.wrapping_add(column), ..self }
    }
}

dot_fn! {
    /// out = starts + x · codes for `rows` rows and `vectors` vectors, at most 3; wrapping.
    ///
    /// # Safety
    /// All operands hold what their documentation says for these rows and vectors.
    pub(crate) unsafe fn sum_in_place(d, rows: usize, vectors: usize, op: InPlace) {
        let most = if D::S::LANES >= 16 { 8 } else { 4 };
        let mut row = 0;
        while row < rows {
            let height = tile_height(rows - row).min(most);
            let op = op.from_row(row);
            // SAFETY: same contract.
            unsafe {
                match height {
                    8 if D::S::LANES >= 16 => columns::<D, 8>(d, vectors, op),
                    4 => columns::<D, 4>(d, vectors, op),
                    2 => columns::<D, 2>(d, vectors, op),
                    _ => columns::<D, 1>(d, vectors, op),
                }
            }
            row += height;
        }
    }

    /// starts[i] = factor · Σ of row i of x, whose rows of `k` bytes are `stride` bytes apart; wrapping.
    ///
    /// # Safety
    /// x has as many rows as there are starts.
    pub(crate) unsafe fn start_rows(d, x: *const i8, stride: usize, k: usize, factor: i32, starts: &mut [i32]) {
        let s = d.simd();
        let (flip, bytes) = (s.int(0x8080_8080u32 as i32), 4 * D::S::LANES);
        for (i, start) in starts.iter_mut().enumerate() {
            let row = x.wrapping_add(i * stride);
            // Σ (x + 128) of whole vectors, from which 128 per byte is taken off.
            let mut totals = [s.int(0); 2];
            let mut lanes = [0f32; 16];
            let mut at = 0;
            // SAFETY: within the row, and no vector has more lanes than 16.
            let tail = unsafe {
                while at + 2 * bytes <= k {
                    for (chain, total) in totals.iter_mut().enumerate() {
                        let x = s.bits(s.load(row.add(at + chain * bytes).cast())) ^ flip;
                        *total = d.dot(*total, x, 0x0101_0101);
                    }
                    at += 2 * bytes;
                }
                s.store(lanes.as_mut_ptr(), s.from_bits(totals[0] + totals[1]));
                std::slice::from_raw_parts(row.add(at), k - at)
            };
            let whole = lanes.iter().fold((at as i32).wrapping_mul(-128), |sum, lane| sum.wrapping_add(lane.to_bits() as i32));
            let sum = tail.iter().fold(whole, |sum, &x| sum.wrapping_add(i32::from(x)));
            *start = factor.wrapping_mul(sum);
        }
    }
}

/// # Safety
/// As for [`sum_in_place`].
#[inline(always)]
unsafe fn columns<D: Dot, const MR: usize>(d: D, vectors: usize, op: InPlace) {
    // SAFETY: same contract.
    unsafe {
        if vectors == 3 {
            return tile::<D, MR, 3>(d, op);
        }
        for j in 0..vectors {
            tile::<D, MR, 1>(d, op.from_column(j * D::S::LANES));
        }
    }
}

/// MR rows with NV vectors.
///
/// # Safety
/// As for [`sum_in_place`].
#[inline(always)]
unsafe fn tile<D: Dot, const MR: usize, const NV: usize>(d: D, op: InPlace) {
    let s = d.simd();
    let rows: [*const i8; MR] = std::array::from_fn(|i| op.x.wrapping_add(i * op.x_stride));
    // As values of their own the addresses stay in registers.
    let rows = std::hint::black_box(rows);
    let (mut codes, mut at, mut line) = (op.codes, 0, 0);
    let mut sums = [[s.int(0); NV]; MR];
    // SAFETY: all accesses are those the contract of `sum_in_place` grants.
    unsafe {
        for (i, row) in sums.iter_mut().enumerate() {
            *row = [s.int(*op.starts.add(i)); NV];
        }
        for _ in 0..op.steps / QUADS {
            keep_rolled();
            if line < MR * SOON_LINES {
                // One line at a time: all at once they would keep the codes waiting.
                let row = op.out.wrapping_add(line / SOON_LINES * op.out_stride);
                prefetch(row.wrapping_byte_add(line % SOON_LINES * 64));
                line += 1;
            }
            for quad in 0..QUADS {
                add_quad(d, codes.add(quad * op.width), &rows, at + 4 * quad, &mut sums);
            }
            (codes, at) = (codes.add(QUADS * op.width), at + 4 * QUADS);
        }
        for _ in 0..op.steps % QUADS {
            keep_rolled();
            add_quad(d, codes, &rows, at, &mut sums);
            (codes, at) = (codes.add(op.width), at + 4);
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, &v) in row.iter().enumerate() {
                s.store(op.out.add(i * op.out_stride + j * D::S::LANES), s.from_bits(v));
            }
        }
    }
}

/// sums += x · codes of four bytes of each row, which begin at byte `at`.
///
/// # Safety
/// The rows have them, and `codes` is readable for NV vectors.
#[inline(always)]
unsafe fn add_quad<D: Dot, const MR: usize, const NV: usize>(
    d: D,
    codes: *const f32,
    rows: &[*const i8; MR],
    at: usize,
    sums: &mut [[<D::S as Simd>::I; NV]; MR],
) {
    let s = d.simd();
    let mut quads = [s.int(0); NV];
    // SAFETY: contract.
    unsafe {
        for (j, quad) in quads.iter_mut().enumerate() {
            *quad = s.bits(s.load(codes.add(j * D::S::LANES)));
        }
        for (row, sums) in rows.iter().zip(sums) {
            let x = i32::from_le(row.add(at).cast::<i32>().read_unaligned());
            for (v, &quad) in sums.iter_mut().zip(&quads) {
                *v = d.dot(*v, quad, x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Noise, backends, raw, values};
    use kernels::ops::Matmul;
    use kernels::{Layout as L, Op};

    /// Exact products of bytes, wrapping: of rows in place, at any distance and address, and of packed ones, whose bits they have.
    #[test]
    fn products_of_bytes_are_exact_in_place_and_packed() {
        let sizes = [
            [1, 1, 4],
            [1, 50, 8],
            [2, 96, 12],
            [3, 17, 100],
            [7, 47, 128],
            [15, 144, 132],
            [64, 49, 260],
            [131, 97, 516],
            [9, 48, 7],
            [5, 3, 0],
            [1, 1, 131_076], // beyond what an i32 holds
        ];
        for [m, n, k] in sizes {
            let mut noise = Noise::new((m * 31 + n * 7 + k) as u64);
            let mut bytes = |len: usize| -> Vec<i8> {
                let extremes = k > 100_000;
                (0..len).map(|_| if extremes { -128 } else { (noise.next() * 129.0).clamp(-128.0, 127.0) as i8 }).collect()
            };
            // Rows three bytes further apart than they are long, from the second byte on; nothing follows the last.
            let stride = k + 3;
            let (a, b) = (bytes((m - 1) * stride + 1 + k), bytes(k * n));
            let product = |i: usize, j: usize| {
                (0..k).fold(0i32, |sum, p| sum.wrapping_add(i32::from(a[1 + i * stride + p]) * i32::from(b[p * n + j])))
            };
            let want: Vec<i32> = (0..m * n).map(|at| product(at / n, at % n)).collect();
            let turned: Vec<i8> = (0..m * k).map(|at| a[1 + at % m * stride + at / m]).collect();
            for cpu in backends(&[1, 2, 3]) {
                let (a_buf, b_buf, turned) = (raw(&cpu, &a), raw(&cpu, &b), raw(&cpu, &turned));
                let in_place = a_buf.view_as(L::strided([m, k], &[stride, 1], 1).unwrap()).unwrap();
                let packed = turned.view([k, m]).unwrap().transpose(0, 1).unwrap();
                for (a, way) in [(in_place, "in place"), (packed, "packed")] {
                    for beta in [0.0, 1.0] {
                        let mut out = raw(&cpu, &vec![7i32; m * n]);
                        let (b, out_view) = (b_buf.view([k, n]).unwrap(), out.view_mut([m, n]).unwrap());
                        Matmul { a, b, alpha: 1.0, beta, out: out_view }.run(&cpu).unwrap();
                        for (at, (&got, &want)) in values::<i32>(&out).iter().zip(&want).enumerate() {
                            let want = if beta == 0.0 { want } else { want.wrapping_add(7) };
                            let isa = cpu.isa().name();
                            assert_eq!(got, want, "{isa} {way} {m}x{n}x{k} at {at}, {} threads", cpu.threads());
                        }
                    }
                }
            }
        }
    }
}
