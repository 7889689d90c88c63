//! Softmax of rows.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{
    Float, Isa, Simd, Span, Stores, fold, head, map, math, prefetch, simd_fn, spans, spans_from, spans_in_four, sum_of_four,
};
use crate::strided::{InRows, OutRows, each_row, each_task_of_rows, rows_of_task};
use crate::threads::{Parts, SERIAL_WORK};
use kernels::ops::Softmax;
use kernels::{Checked, DType, Launch, Op, Result, Support};
use std::ops::Range;

/// Elements of a row that are passed twice while they are in the first-level cache.
const BLOCK: usize = 2048;

/// Most blocks of a row whose exponentials are kept until its sum is known. They are in the second-level cache, or in the third, which
/// costs less than to compute them again; vocabularies have up to 262,144 entries.
const BLOCKS: usize = 128;

/// Largest scale·x. NaN is left out.
#[inline(always)]
fn largest<S: Simd, T: Float>(s: S, x: &[T], scale: f32) -> f32 {
    let scale = s.splat(scale);
    // `max` gives its second argument for NaN.
    let max = fold(
        s,
        [x],
        s.splat(f32::NEG_INFINITY),
        #[inline(always)]
        |max, [x]| s.max(x * scale, max),
        #[inline(always)]
        |a, b| s.max(a, b),
    );
    s.reduce_max(max)
}

/// Largest scale·x, and Σ exp(scale·x − largest). Where all are −∞ the sum is 0, or NaN if there is a NaN.
#[inline(always)]
pub(crate) fn max_and_sum<S: Simd, T: Float>(s: S, x: &[T], scale: f32) -> (f32, f32) {
    let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0);
    for (index, here) in x.chunks(BLOCK).enumerate() {
        let higher = largest(s, here, scale);
        // What has been summed up so far refers to the former maximum.
        if higher > max {
            sum *= if index == 0 { 0.0 } else { exp_one(s, max - higher) };
            max = higher;
        }
        let (scale, shift) = (s.splat(scale), s.splat(-shift(max)));
        let mut sums = [s.zero(); 4];
        // Two blocks ahead: finding the largest element of the next takes less time than its lines need to come.
        let distance = (2 * BLOCK).min(x.len());
        spans_in_four(
            s,
            here.len(),
            #[inline(always)]
            |k, span| {
                span.prefetch_beyond(s, here, distance);
                let exp = math::exp(s, s.fma(span.load(s, here), scale, shift));
                sums[k] = span.select(s, sums[k] + exp, sums[k]);
            },
        );
        sum += sum_of_four(s, sums);
    }
    (max, sum)
}

/// eˣ of one number.
#[inline(always)]
fn exp_one<S: Simd>(s: S, x: f32) -> f32 {
    s.reduce_max(math::exp(s, s.splat(x)))
}

/// What is subtracted before exp: the largest score, or 0 where all are −∞, so that their difference is not NaN.
#[inline(always)]
fn shift(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// Three blocks in work at the same time, so that memory is read and written while exponentials are computed: those in `exps`, of the
/// row before, are scaled and written to `out`; exp(x − shift) takes their place; the largest of `ahead` is found.
struct Pass<'a, S: Simd, T> {
    s: S,
    stores: Stores,
    x: &'a [T],
    shift: S::V,
    exps: &'a mut [f32],
    sums: [S::V; 4],
    ahead: &'a [T],
    distance: usize,
    highest: [S::V; 4],
    factor: S::V,
    out: &'a mut [T],
    head: usize,
}

impl<S: Simd, T: Float> Pass<'_, S, T> {
    #[inline(always)]
    fn step<const N: usize>(&mut self, spans: [Span; N]) {
        let s = self.s;
        let mut exps = [s.zero(); N];
        for k in 0..N {
            exps[k] = spans[k].load(s, self.x) - self.shift;
        }
        let exps = math::exp_of_negatives(s, exps);
        // Loops of few instructions, which are unrolled, so that sums stay in registers.
        if !self.out.is_empty() {
            for k in 0..N {
                if let Some(span) = spans[k].later(self.head) {
                    self.write(span);
                }
            }
        }
        for k in 0..N {
            spans[k].store(s, self.exps, exps[k]);
            self.sums[k] = spans[k].select(s, self.sums[k] + exps[k], self.sums[k]);
        }
        if !self.ahead.is_empty() {
            for k in 0..N {
                spans[k].prefetch_beyond(s, self.ahead, self.distance);
                let next = s.max(spans[k].load(s, self.ahead), self.highest[k]);
                self.highest[k] = spans[k].select(s, next, self.highest[k]);
            }
        }
    }

    #[inline(always)]
    fn write(&mut self, span: Span) {
        span.write(self.s, self.stores, self.out, span.load(self.s, self.exps) * self.factor);
    }
}

simd_fn! {
    /// Largest element; NaN is left out.
    fn largest_of[T: Float](s, x: &[T]) -> f32 {
        largest(s, x, 1.0)
    }
    /// eˣ.
    fn exp_of(s, x: f32) -> f32 {
        exp_one(s, x)
    }
    /// A row whose exponentials there is no room for.
    fn long_row[T: Float](s, stores: Stores, x: &[T], out: &mut [T]) {
        let (max, sum) = max_and_sum(s, x, 1.0);
        if sum.is_nan() {
            return out.fill(T::from_f32(f32::NAN));
        }
        let (factor, shift) = (s.splat(reciprocal(sum)), s.splat(shift(max)));
        map(s, stores, [x], out, #[inline(always)] |[x]| math::exp(s, x - shift) * factor);
    }
    /// Writes factor·exps.
    fn write[T: Float](s, stores: Stores, exps: &[f32], factor: f32, out: &mut [T]) {
        let factor = s.splat(factor);
        map(s, stores, [exps], out, #[inline(always)] |[exp]| exp * factor);
    }
    /// See [`Pass`]; there may be no `out`, and elements `distance` beyond those `ahead` are asked for. Gives the sum of the new
    /// exponentials, and the largest of `ahead`.
    fn pass[T: Float](
        s, stores: Stores, x: &[T], shift: f32, exps: &mut [f32], factor: f32, out: &mut [T], ahead: &[T], distance: usize
    ) -> (f32, f32) {
        // What has another length is passed alone: a shorter last block, and the first one after it.
        let reads = ahead.len() == x.len();
        let mut pass = Pass {
            s,
            stores,
            x,
            shift: s.splat(shift),
            exps,
            sums: [s.zero(); 4],
            ahead: if reads { ahead } else { &[] },
            distance,
            highest: [s.splat(f32::NEG_INFINITY); 4],
            factor: s.splat(factor),
            head: head(s, stores, out),
            out,
        };
        // The vectors at its ends are written through the caches: stores behind them would wait.
        if pass.head > 0 {
            prefetch(pass.out.as_ptr());
            prefetch(pass.out.as_ptr().wrapping_add(pass.out.len() - 1));
            // Read before they are overwritten: what whole vectors from the head on leave.
            let len = pass.out.len();
            pass.write(Span::first(pass.head, len));
            spans_from(s, len - (len - pass.head) % S::LANES, len, #[inline(always)] |span| pass.write(span));
        }
        let mut at = 0;
        while let Some(spans) = Span::whole::<S, 4>(s, at, x.len()) {
            pass.step(spans);
            at += 4 * S::LANES;
        }
        spans_from(s, at, x.len(), #[inline(always)] |span| pass.step([span]));
        let highest = match reads {
            true => s.reduce_max(s.max(s.max(pass.highest[0], pass.highest[1]), s.max(pass.highest[2], pass.highest[3]))),
            false => {
                spans(s, ahead.len(), #[inline(always)] |span| span.prefetch_beyond(s, ahead, distance));
                largest(s, ahead, 1.0)
            }
        };
        (sum_of_four(s, pass.sums), highest)
    }
}

/// 1/sum. 0 is the sum of a row of −∞ alone, whose probabilities are 0.
#[inline(always)]
fn reciprocal(sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { 1.0 / sum }
}

/// Elements of a block of a row.
fn block(index: usize, width: usize) -> Range<usize> {
    index * BLOCK..((index + 1) * BLOCK).min(width)
}

/// Room for the exponentials of a row, in whole lines. Those of a block count from the largest element up to its end; these largest
/// elements come first.
fn room_of(width: usize) -> usize {
    BLOCKS + width.next_multiple_of(16)
}

/// A row whose exponentials are in room, and how they become probabilities.
struct Done<'a, T> {
    max: f32,
    reciprocal: f32,
    out: &'a mut [T],
}

impl<T> Done<'_, T> {
    /// Factor of a block whose exponentials count from `max`, and where its probabilities are written.
    fn block(&mut self, isa: Isa, index: usize, max: f32) -> (f32, &mut [T]) {
        // Equal ones may be −∞.
        let factor = if max == self.max { 1.0 } else { exp_of(isa, max - self.max) };
        let width = self.out.len();
        (factor * self.reciprocal, &mut self.out[block(index, width)])
    }
}

/// Softmax of rows of at most [`BLOCKS`] blocks, in `room` for one of them.
fn softmax_rows<'r, T: Float>(isa: Isa, stores: Stores, room: &mut [f32], rows: impl Iterator<Item = (&'r [T], &'r mut [T])>) {
    let mut rows = rows.peekable();
    let Some((x, _)) = rows.peek() else { return };
    let width = x.len();
    let (maxima, exps) = room.split_at_mut(BLOCKS);
    let distance = BLOCK.min(width);
    let mut highest = largest_of(isa, &x[block(0, width)]);
    let mut done: Option<Done<'_, T>> = None;
    while let Some((x, out)) = rows.next() {
        let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0);
        for index in 0..width.div_ceil(BLOCK) {
            let here = block(index, width);
            if highest > max {
                // What has been summed up so far refers to the former maximum.
                sum *= if index == 0 { 0.0 } else { exp_of(isa, max - highest) };
                max = highest;
            }
            let ahead = match here.end < width {
                true => &x[block(index + 1, width)],
                false => rows.peek().map_or(&[][..], |(x, _)| &x[block(0, width)]),
            };
            let (factor, former) = match &mut done {
                Some(row) => row.block(isa, index, maxima[index]),
                None => (0.0, &mut [][..]),
            };
            maxima[index] = max;
            let (of_block, next) =
                pass(isa, stores, &x[here.clone()], shift(max), &mut exps[here], factor, former, ahead, distance);
            sum += of_block;
            highest = next;
        }
        let mut reciprocal = reciprocal(sum);
        if sum.is_nan() {
            // One NaN for all, whichever of two a product would keep.
            reciprocal = f32::NAN;
            maxima.fill(max);
            exps[..width].fill(0.0);
        }
        done = Some(Done { max, reciprocal, out });
    }
    let Some(mut row) = done else { return };
    for index in 0..width.div_ceil(BLOCK) {
        let (factor, out) = row.block(isa, index, maxima[index]);
        write(isa, stores, &exps[block(index, width)], factor, out);
    }
}

impl Launch<Softmax<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Softmax<'_>>) -> Result<()> {
        let Softmax { x, out } = args.into_inner();
        let width = x.shape().last().copied().unwrap_or(1);
        let (numel, weight, stores) = (x.numel(), 4 * width, Stores::of(&out));
        if numel == 0 {
            return Ok(());
        }
        with_float!(Softmax::NAME, x.dtype(), T => {
            let (x, out, rows) = (InRows::<T>::new(&x)?, OutRows::<T>::new(out)?, numel / width);
            if width > BLOCKS * BLOCK {
                each_row(&self.pool, weight, &(x, out), |_, (x, out)| long_row(self.isa, stores, x, out));
                return Ok(());
            }
            let rows_of_task = rows_of_task(rows, weight);
            let alone = rows <= rows_of_task || numel.saturating_mul(4) < SERIAL_WORK;
            let (slots, each) = (if alone { 1 } else { self.pool.threads() }, room_of(width));
            let mut scratch = self.heap.scratch(slots * each * size_of::<f32>())?;
            let rooms = Parts::new(scratch.as_mut_slice::<f32>());
            each_task_of_rows(&self.pool, slots, rows_of_task, &x, out, |rows, slot| {
                // SAFETY: tasks that run at the same time have different slots.
                let room = unsafe { rooms.part(slot * each, each) };
                softmax_rows(self.isa, stores, room, rows);
            });
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Memory;
    use kernels::ops::{Download, Upload};

    /// Rows of `width` elements `stride` apart, in work at once.
    fn run<T: Float>(isa: Isa, stores: Stores, x: &[T], width: usize, stride: usize) -> Vec<T> {
        let mut out = vec![T::from_f32(7.0); x.len() + 1];
        let mut room = vec![f32::NAN; room_of(width)];
        softmax_rows(
            isa,
            stores,
            &mut room,
            x.chunks(stride).zip(out[1..].chunks_mut(stride)).map(|(x, out)| (&x[..width], &mut out[..width])),
        );
        crate::simd::fence_streams();
        assert!(out.remove(0).to_f32() == 7.0);
        out
    }

    fn softmax(x: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let u = 2f64.powi(-24);
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let far = |x: f32| if x == max { 0.0 } else { f64::from(max) - f64::from(x) };
        let exps: Vec<f64> = x.iter().map(|&x| (-far(x)).exp()).collect();
        let sum: f64 = exps.iter().sum();
        // An exponential errs by 2u and by |x − max|·u of the difference; twice, if a larger element follows in a later block.
        let error = |x: f32| if far(x) > 200.0 { 0.0 } else { (4.0 + 2.0 * far(x)) * u };
        let blocks = x.len().div_ceil(BLOCK) as f64;
        let additions = (BLOCK.min(x.len()) as f64 / 32.0 + 8.0 + 4.0 * blocks) * u;
        let of_sum = x.iter().zip(&exps).map(|(&x, e)| e / sum * error(x)).sum::<f64>() + additions;
        let bounds = x.iter().zip(&exps).map(|(&x, e)| e / sum * (error(x) + of_sum + 4.0 * u) + 2f64.powi(-126)).collect();
        (exps.iter().map(|e| e / sum).collect(), bounds)
    }

    /// Numbers that rise, fall, or do neither, by row.
    fn noise(rows: usize, width: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 2f32.powi(24) * 8.0 - 4.0
        };
        let slope = |row: usize| [0.0, 60.0, -60.0][row % 3] / width as f32;
        (0..rows * width).map(|i| next() + slope(i / width) * (i % width) as f32).collect()
    }

    #[test]
    fn rows_of_any_width_are_those_of_f64() {
        let widths = [1, 2, 15, 16, 17, 63, 64, 65, 767, 2047, 2048, 2049, 2064, 4096, 6000, 50_257, BLOCKS * BLOCK];
        for (isa, width) in Isa::available().flat_map(|isa| widths.map(|width| (isa, width))) {
            for rows in [1, 2, 4] {
                let x = noise(rows, width);
                let got = run(isa, Stores::Cached, &x, width, width);
                for (row, (x, got)) in x.chunks(width).zip(got.chunks(width)).enumerate() {
                    let (want, bounds) = softmax(x);
                    for (i, ((&got, want), bound)) in got.iter().zip(want).zip(bounds).enumerate() {
                        let error = (f64::from(got) - want).abs();
                        assert!(
                            error <= bound,
                            "{isa:?} {width}: element {i} of row {row}: {got}, not {want}: {error:e} > {bound:e}"
                        );
                    }
                    // A row is what it is alone.
                    assert!(got == run(isa, Stores::Cached, x, width, width), "{isa:?} {width}: row {row}");
                }
                // Nothing is written between rows; lines are written past the caches wherever rows begin.
                if width < 6000 {
                    for gap in [0, 1, 5, 16] {
                        let spread: Vec<f32> =
                            x.chunks(width).flat_map(|x| x.iter().copied().chain(std::iter::repeat_n(9.0, gap))).collect();
                        let streamed = run(isa, Stores::Streamed, &spread, width, width + gap);
                        for (row, (streamed, got)) in streamed.chunks(width + gap).zip(got.chunks(width)).enumerate() {
                            assert!(&streamed[..width] == got, "{isa:?} {width} + {gap}: row {row}");
                            assert!(streamed[width..].iter().all(|&x| x == 7.0), "{isa:?} {width} + {gap}: after row {row}");
                        }
                    }
                }
            }
        }
    }

    fn halves<T: Float>() {
        let width = 5000;
        let x: Vec<T> = noise(3, width).into_iter().map(T::from_f32).collect();
        let wide: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        for isa in Isa::available() {
            let got = run(isa, Stores::Streamed, &x, width, width);
            let want = run(isa, Stores::Cached, &wide, width, width);
            assert!(got.iter().zip(want).all(|(got, want)| got.to_f32() == T::from_f32(want).to_f32()), "{isa:?}");
        }
    }

    #[test]
    fn halves_are_rounded_once() {
        halves::<half::bf16>();
        halves::<half::f16>();
    }

    /// Through the front door: rows of a matrix whose rows are further apart, for any number of threads.
    #[test]
    fn threads_give_the_same_bits() {
        for (rows, width) in
            [(300, 2060), (7, 2060), (5, 6000), (70_000, 3), (1, BLOCKS * BLOCK), (2, BLOCKS * BLOCK + 1), (3, 300_000)]
        {
            let x = noise(rows, width);
            let mut first = None;
            for threads in [1, 2, 3, 7] {
                let cpu = CpuBackend::builder().threads(threads).build().unwrap();
                let (mut from, mut out) =
                    (cpu.alloc(DType::F32, rows * (width + 2)).unwrap(), cpu.alloc(DType::F32, rows * width).unwrap());
                let places = from.view_mut([rows, width + 2]).unwrap().narrow(1, 1, width).unwrap();
                Upload::new(&x, places).run(&cpu).unwrap();
                Softmax {
                    x: from.view([rows, width + 2]).unwrap().narrow(1, 1, width).unwrap(),
                    out: out.view_mut([rows, width]).unwrap(),
                }
                .run(&cpu)
                .unwrap();
                let mut got = vec![0f32; rows * width];
                Download::new(out.view([rows * width]).unwrap(), &mut got).run(&cpu).unwrap();
                for (x, got) in x.chunks(width).zip(got.chunks(width)) {
                    let (want, bounds) = softmax(x);
                    assert!(
                        got.iter().zip(want).zip(bounds).all(|((&got, want), bound)| (f64::from(got) - want).abs() <= bound),
                        "{rows} x {width}"
                    );
                }
                let first = first.get_or_insert_with(|| got.clone());
                assert!(*first == got, "{rows} x {width} on {threads} threads");
            }
        }
    }

    #[test]
    fn infinities_and_nan() {
        let width = 2 * BLOCK + 40;
        let lowest = vec![f32::NEG_INFINITY; width];
        for isa in Isa::available() {
            assert!(run(isa, Stores::Cached, &lowest, width, width) == vec![0.0; width], "{isa:?}");
            for at in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 39] {
                // One finite element, as low as −100, among −∞.
                let mut x = lowest.clone();
                x[at] = -100.0;
                let mut want = vec![0.0; width];
                want[at] = 1.0;
                assert!(run(isa, Stores::Cached, &x, width, width) == want, "{isa:?} {at}");
                for wrong in [f32::INFINITY, f32::NAN] {
                    // The rows around it know nothing of it.
                    let mut x = noise(3, width);
                    let alone = run(isa, Stores::Cached, &x[..width], width, width);
                    x[width + at] = wrong;
                    let got = run(isa, Stores::Cached, &x, width, width);
                    assert!(got[..width] == alone, "{isa:?} {at}");
                    assert!(got[width..2 * width].iter().all(|p| p.to_bits() == f32::NAN.to_bits()), "{isa:?} {at}");
                    assert!(got[2 * width..] == run(isa, Stores::Cached, &x[2 * width..], width, width), "{isa:?} {at}");
                    let streamed = run(isa, Stores::Streamed, &x, width, width);
                    assert!(streamed.iter().zip(got).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?} {at}");
                }
            }
            // Rows without room for their exponentials are of one NaN as well.
            let mut x = noise(1, BLOCKS * BLOCK + 5);
            (x[3], x[BLOCKS * BLOCK + 1]) = (f32::from_bits(0x7fc0_1234), f32::INFINITY);
            let mut out = vec![0.0f32; x.len()];
            long_row(isa, Stores::Cached, &x, &mut out);
            assert!(out.iter().all(|p| p.to_bits() == f32::NAN.to_bits()), "{isa:?}");
        }
    }
}
