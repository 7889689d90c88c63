//! Every instruction set against plain arithmetic.

use super::*;
use half::{bf16, f16};

simd_fn! {
    fn convert[A: Float, B: Float](s, x: &[A], out: &mut [B]) {
        for at in (0..x.len()).step_by(S::LANES) {
            let v = load(s, x, at);
            store(s, out, at, v);
        }
    }
    fn sum(s, x: &[f32]) -> f32 {
        s.reduce_add(load(s, x, 0))
    }
    fn largest(s, x: &[f32]) -> f32 {
        s.reduce_max(load(s, x, 0))
    }
    fn copy_first(s, x: &[f32], out: &mut [f32], count: usize) {
        // SAFETY: both have at least `count` elements in the tests below.
        unsafe { s.store_part(out.as_mut_ptr(), count, s.load_part(x.as_ptr(), count)) }
    }
    fn orders(s, a: &[f32], b: &[f32], max: &mut [f32], max_nan: &mut [f32], min_nan: &mut [f32]) {
        for at in (0..a.len()).step_by(S::LANES) {
            let (x, y) = (load(s, a, at), load(s, b, at));
            store(s, max, at, s.max(x, y));
            store(s, max_nan, at, s.max_nan(x, y));
            store(s, min_nan, at, s.min_nan(x, y));
        }
    }
    fn columns[T: Float](s, x: &[T], stride: usize, out: &mut [f32]) {
        assert!(x.len() >= (S::LANES - 1) * stride + 8);
        // SAFETY: LANES rows of 8 elements.
        for (j, v) in unsafe { T::load_columns(s, x.as_ptr(), stride) }.into_iter().enumerate() {
            store(s, out, j * S::LANES, v);
        }
    }
    /// Bytes to words and back, and the table's entry for each.
    fn bytes(s, x: &[u8], table: &[f32; 16], back: &mut [i8], found: &mut [f32]) {
        for at in (0..x.len()).step_by(S::LANES) {
            // SAFETY: the tests below use whole vectors.
            unsafe {
                let words = s.load_u8(x.as_ptr().add(at));
                s.store_i8(back.as_mut_ptr().add(at), words);
                s.store(found.as_mut_ptr().add(at), s.lookup(s.table(table), words));
            }
        }
    }
    fn fused(s, a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) {
        for at in (0..a.len()).step_by(S::LANES) {
            store(s, out, at, s.fma(load(s, a, at), load(s, b, at), load(s, c, at)));
        }
    }
}

simd_fn! {
    fn doubled[T: Float](s, stores: Stores, x: &[T], out: &mut [T]) {
        map(s, stores, [x], out, #[inline(always)] |[x]| x + x);
    }
}

fn streams<T: Float + PartialEq + std::fmt::Debug>() {
    let x: Vec<T> = (0..1200).map(|i| T::from_f32(i as f32)).collect();
    for (isa, len) in Isa::available().flat_map(|isa| [0, 1, 15, 16, 17, 31, 100, 1024].map(|len| (isa, len))) {
        for start in 0..33 {
            let (mut cached, mut streamed) = (x.clone(), x.clone());
            let part = start..start + len;
            doubled(isa, Stores::Cached, &x[part.clone()], &mut cached[part.clone()]);
            doubled(isa, Stores::Streamed, &x[part.clone()], &mut streamed[part]);
            fence_streams();
            assert_eq!(cached, streamed, "{isa:?} {len} from {start}");
        }
    }
}

#[test]
fn streamed_stores_write_the_same() {
    streams::<f32>();
    streams::<bf16>();
    streams::<f16>();
}

#[test]
fn names_round_trip() {
    for isa in Isa::available() {
        assert_eq!(Isa::named(isa.name()), Ok(isa));
    }
    assert!(matches!(Isa::named("neon"), Err(Error::Unavailable { .. })));
}

#[test]
fn columns_are_transposed() {
    fn check<T: Float>(isa: Isa, lanes: usize) {
        for stride in [8, 11, 24] {
            // In a buffer that ends with the last row.
            let x: Vec<T> = (0..(lanes - 1) * stride + 8).map(|i| T::from_f32(i as f32 - 100.0)).collect();
            let mut out = vec![0.0; 8 * lanes];
            columns(isa, &x, stride, &mut out);
            for (at, &got) in out.iter().enumerate() {
                assert_eq!(got, x[at % lanes * stride + at / lanes].to_f32(), "{isa:?} {stride} {at}");
            }
        }
    }
    for isa in Isa::available() {
        let lanes = if isa.name().starts_with("avx512") { 16 } else { 8 };
        check::<f32>(isa, lanes);
        check::<bf16>(isa, lanes);
        check::<f16>(isa, lanes);
    }
}

#[test]
fn bytes_widen_narrow_and_choose() {
    let x: Vec<u8> = (0..=255).collect();
    let table: [f32; 16] = std::array::from_fn(|i| (i * i) as f32 - 8.0);
    for isa in Isa::available() {
        let (mut back, mut found) = (vec![0i8; 256], vec![0f32; 256]);
        bytes(isa, &x, &table, &mut back, &mut found);
        for i in 0..256 {
            assert_eq!((back[i] as u8, found[i]), (x[i], table[i % 16]), "{isa:?}");
        }
    }
}

#[test]
fn widening_is_exact() {
    let b: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let h: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for isa in Isa::available() {
        let (mut from_b, mut from_h) = (vec![0f32; b.len()], vec![0f32; h.len()]);
        convert(isa, &b, &mut from_b);
        convert(isa, &h, &mut from_h);
        for i in 0..b.len() {
            let (want, got) = (b[i].to_f64() as f32, from_b[i]);
            assert!(
                want == got && want.is_sign_negative() == got.is_sign_negative() || want.is_nan() && got.is_nan(),
                "{isa:?} {:?}",
                b[i]
            );
            let (want, got) = (h[i].to_f64() as f32, from_h[i]);
            assert!(
                want == got && want.is_sign_negative() == got.is_sign_negative() || want.is_nan() && got.is_nan(),
                "{isa:?} {:?}",
                h[i]
            );
        }
    }
}

/// All values of the narrow type, their neighbours in f32, the midpoints between them and the midpoints' neighbours.
fn around(narrow: impl Fn(u16) -> f32) -> Vec<f32> {
    let mut values = Vec::new();
    for bits in 0..=u16::MAX {
        let (a, b) = (narrow(bits), narrow(bits.wrapping_add(1)));
        let middle = ((a as f64 + b as f64) / 2.0) as f32;
        for v in [a, middle] {
            values.extend([v, f32::from_bits(v.to_bits().wrapping_sub(1)), f32::from_bits(v.to_bits().wrapping_add(1))]);
        }
    }
    values
}

#[test]
fn rounding_is_to_nearest_even() {
    use kernels::Element;
    let x = around(|bits| bf16::from_bits(bits).to_f32());
    let y = around(|bits| f16::from_bits(bits).to_f32());
    for isa in Isa::available() {
        let mut out = vec![bf16::ZERO; x.len()];
        convert(isa, &x, &mut out);
        for (&x, &got) in x.iter().zip(&out) {
            let want = <bf16 as Element>::from_f64(x as f64);
            assert!(want.to_bits() == got.to_bits() || x.is_nan() && got.is_nan(), "{isa:?} {x:e}: {want:e} {got:e}");
        }
        let mut out = vec![f16::ZERO; y.len()];
        convert(isa, &y, &mut out);
        for (&y, &got) in y.iter().zip(&out) {
            let want = <f16 as Element>::from_f64(y as f64);
            assert!(want.to_bits() == got.to_bits() || y.is_nan() && got.is_nan(), "{isa:?} {y:e}: {want:e} {got:e}");
        }
    }
}

#[test]
fn parts_touch_only_their_lanes() {
    let x: Vec<f32> = (1..=16).map(|i| i as f32).collect();
    for isa in Isa::available() {
        let lanes = if isa.name().starts_with("avx512") { 16 } else { 8 };
        for count in 0..=lanes {
            let mut out = [-1f32; 16];
            copy_first(isa, &x, &mut out, count);
            assert_eq!(out[..count], x[..count]);
            assert!(out[count..].iter().all(|&v| v == -1.0), "{isa:?} {count}");
        }
        let mut tail = [0f32; 5];
        convert(isa, &x[3..8], &mut tail);
        assert_eq!(tail, x[3..8]);
        assert_eq!((sum(isa, &x[..7]), largest(isa, &x[..8])), (28.0, 8.0));
    }
}

#[test]
fn comparisons_order_nan_as_said() {
    let values = [0.0f32, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-45];
    let a: Vec<f32> = values.iter().flat_map(|&v| [v; 8]).collect();
    let b: Vec<f32> = values.iter().cycle().take(64).copied().collect();
    for isa in Isa::available() {
        let (mut max, mut max_nan, mut min_nan) = (vec![0f32; 64], vec![0f32; 64], vec![0f32; 64]);
        orders(isa, &a, &b, &mut max, &mut max_nan, &mut min_nan);
        for i in 0..64 {
            let (a, b) = (a[i], b[i]);
            assert_eq!(max[i].to_bits(), if a > b { a } else { b }.to_bits(), "{isa:?} {a} {b}");
            let nan = a.is_nan() || b.is_nan();
            assert!(if nan { max_nan[i].is_nan() } else { max_nan[i] == a.max(b) }, "{isa:?} {a} {b}");
            assert!(if nan { min_nan[i].is_nan() } else { min_nan[i] == a.min(b) }, "{isa:?} {a} {b}");
        }
    }
}

#[test]
fn fma_does_not_round_the_product() {
    let a = [1.0 + f32::EPSILON; 16];
    let c = [-1.0 - 2.0 * f32::EPSILON; 16];
    for isa in Isa::available() {
        let mut out = [0f32; 16];
        fused(isa, &a, &a, &c, &mut out);
        assert_eq!(out, [f32::EPSILON * f32::EPSILON; 16], "{isa:?}");
    }
}
