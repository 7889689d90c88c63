//! The instruction set of any target: arrays of 8 that the compiler vectorizes as it can.

use super::{Lanes, Simd, Words};
use half::{bf16, f16};
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

/// Token of the plain instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar;

const LANES: usize = 8;

#[derive(Clone, Copy)]
pub(crate) struct F([f32; LANES]);
#[derive(Clone, Copy)]
pub(crate) struct I(pub(super) [i32; LANES]);

#[inline(always)]
fn each<A: Copy, B: Copy + Default>(f: impl Fn(A) -> B, a: [A; LANES]) -> [B; LANES] {
    let mut out = [B::default(); LANES];
    for i in 0..LANES {
        out[i] = f(a[i]);
    }
    out
}
#[inline(always)]
fn both<A: Copy, B: Copy + Default>(f: impl Fn(A, A) -> B, a: [A; LANES], b: [A; LANES]) -> [B; LANES] {
    let mut out = [B::default(); LANES];
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
    out
}

macro_rules! operator {
    ($($ty:ident $trait:ident $method:ident $f:expr;)*) => {$(
        impl $trait for $ty {
            type Output = $ty;
            #[inline(always)]
            fn $method(self, other: $ty) -> $ty {
                $ty(both($f, self.0, other.0))
            }
        }
    )*};
}
operator! {
    F Add add |a, b| a + b;
    F Sub sub |a, b| a - b;
    F Mul mul |a, b| a * b;
    F Div div |a, b| a / b;
    I Add add i32::wrapping_add;
    I Sub sub i32::wrapping_sub;
    I BitAnd bitand |a, b| a & b;
    I BitOr bitor |a, b| a | b;
    I BitXor bitxor |a, b| a ^ b;
}
impl Neg for F {
    type Output = F;
    #[inline(always)]
    fn neg(self) -> F {
        F(each(|a| -a, self.0))
    }
}
impl Lanes for F {}
impl Words for I {}

/// 1.5·2²³: adding and subtracting it rounds to an integer.
const ROUNDER: f32 = 12_582_912.0;

#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n as i32 + 127) as u32) << 23)
}

impl Simd for Scalar {
    type V = F;
    type I = I;
    type M = [bool; LANES];
    type Table = [f32; 16];
    const LANES: usize = LANES;

    #[inline(always)]
    fn splat(self, value: f32) -> F {
        F([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> F {
        // SAFETY: readable for LANES elements by contract.
        F(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> F {
        let mut v = [0.0; LANES];
        // SAFETY: `count` ≤ LANES elements are readable by contract.
        unsafe { std::ptr::copy_nonoverlapping(from, v.as_mut_ptr(), count) };
        F(v)
    }
    #[inline(always)]
    unsafe fn load_four(self, from: *const f32) -> F {
        // SAFETY: readable for 4 elements by contract.
        let four = unsafe { from.cast::<[f32; 4]>().read() };
        F(std::array::from_fn(|i| four[i % 4]))
    }
    #[inline(always)]
    unsafe fn gather(self, from: *const f32, at: *const u8) -> F {
        // SAFETY: readable where `at` says by contract.
        F(std::array::from_fn(|i| unsafe { *from.add(*at.add(i) as usize) }))
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..LANES {
            for j in 0..LANES {
                // SAFETY: within LANES rows and columns, by contract.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: F) {
        // SAFETY: writable for LANES elements by contract.
        unsafe { to.cast::<[f32; LANES]>().write(v.0) }
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize, v: F) {
        // SAFETY: `count` ≤ LANES elements are writable by contract.
        unsafe { std::ptr::copy_nonoverlapping(v.0.as_ptr(), to, count) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> F {
        // SAFETY: readable for LANES elements by contract.
        let bits = unsafe { from.cast::<[u16; LANES]>().read() };
        F(each(|b| f32::from_bits((b as u32) << 16), bits))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, v: F) {
        // SAFETY: writable for LANES elements by contract.
        unsafe { to.cast::<[u16; LANES]>().write(each(|x| bf16::from_f32(x).to_bits(), v.0)) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> I {
        let mut lanes = [0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: contract.
            *lane = i32::from(unsafe { *from.add(i) });
        }
        I(lanes)
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> I {
        let mut lanes = [0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate() {
            // SAFETY: contract.
            *lane = i32::from(unsafe { *from.add(i) });
        }
        I(lanes)
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8, i: I) {
        for (at, lane) in i.0.into_iter().enumerate() {
            // SAFETY: contract.
            unsafe { *to.add(at) = lane as i8 };
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> F {
        // SAFETY: readable for LANES elements by contract.
        let bits = unsafe { from.cast::<[u16; LANES]>().read() };
        F(each(|b| f16::from_bits(b).to_f32(), bits))
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, v: F) {
        // SAFETY: writable for LANES elements by contract.
        unsafe { to.cast::<[u16; LANES]>().write(each(|x| f16::from_f32(x).to_bits(), v.0)) }
    }

    #[inline(always)]
    unsafe fn load_columns(self, from: *const u8, stride_bytes: usize) -> [F; 4] {
        // SAFETY: element j < 4 of a row, by contract.
        let at = |i: usize, j: usize| unsafe { from.add(i * stride_bytes).cast::<f32>().add(j).read_unaligned() };
        std::array::from_fn(|j| F(std::array::from_fn(|i| at(i, j))))
    }

    // The product of two f32 is exact in f64. On x86-64 without FMA, `f32::mul_add` would be a library call per lane.
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        F(std::array::from_fn(|i| match cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            true => a.0[i].mul_add(b.0[i], c.0[i]),
            false => (a.0[i] as f64 * b.0[i] as f64 + c.0[i] as f64) as f32,
        }))
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        F(both(|a, b| if a > b { a } else { b }, a.0, b.0))
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        F(both(|a, b| if a < b { a } else { b }, a.0, b.0))
    }
    #[inline(always)]
    fn sqrt(self, v: F) -> F {
        F(each(f32::sqrt, v.0))
    }
    #[inline(always)]
    fn abs(self, v: F) -> F {
        F(each(f32::abs, v.0))
    }
    #[inline(always)]
    fn round(self, v: F) -> F {
        F(each(|x| (x + ROUNDER) - ROUNDER, v.0))
    }
    #[inline(always)]
    fn scale2(self, v: F, n: F) -> F {
        let n = self.round(n - self.splat(0.375)); // ⌊n⌋ of multiples of ¼, without a call
        let half = self.round(n * self.splat(0.5));
        F(std::array::from_fn(|i| v.0[i] * power_of_two(half.0[i]) * power_of_two(n.0[i] - half.0[i])))
    }

    #[inline(always)]
    fn lt(self, a: F, b: F) -> [bool; LANES] {
        both(|a, b| a < b, a.0, b.0)
    }
    #[inline(always)]
    fn eq(self, a: F, b: F) -> [bool; LANES] {
        both(|a, b| a == b, a.0, b.0)
    }
    #[inline(always)]
    fn select(self, mask: [bool; LANES], yes: F, no: F) -> F {
        F(std::array::from_fn(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    fn is_nan(self, v: F) -> [bool; LANES] {
        each(f32::is_nan, v.0)
    }
    #[inline(always)]
    fn first(self, count: usize) -> [bool; LANES] {
        std::array::from_fn(|i| i < count)
    }

    #[inline(always)]
    fn pick(self, v: F, at: I) -> F {
        F(std::array::from_fn(|i| v.0[i / 4 * 4 + (at.0[i] & 3) as usize]))
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> I {
        // SAFETY: readable for LANES words by contract.
        I(unsafe { from.cast::<[i32; LANES]>().read() })
    }
    #[inline(always)]
    fn int(self, value: i32) -> I {
        I([value; LANES])
    }
    #[inline(always)]
    fn bits(self, v: F) -> I {
        I(each(|x| x.to_bits() as i32, v.0))
    }
    #[inline(always)]
    fn from_bits(self, i: I) -> F {
        F(each(|x| f32::from_bits(x as u32), i.0))
    }
    #[inline(always)]
    fn to_float(self, i: I) -> F {
        F(each(|x| x as f32, i.0))
    }
    #[inline(always)]
    fn to_int(self, v: F) -> I {
        I(each(|x| (x + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32, v.0))
    }
    #[inline(always)]
    fn shr<const N: u32>(self, i: I) -> I {
        I(each(|x| (x as u32 >> N) as i32, i.0))
    }
    #[inline(always)]
    fn shr_by(self, i: I, n: u32) -> I {
        I(each(|x| (x as u32 >> n) as i32, i.0))
    }
    #[inline(always)]
    fn shl<const N: u32>(self, i: I) -> I {
        I(each(|x| x << N, i.0))
    }
    #[inline(always)]
    fn wide_product(self, i: I, factor: u32) -> (I, I) {
        let product = |x: i32| x as u32 as u64 * factor as u64;
        (I(each(|x| (product(x) >> 32) as i32, i.0)), I(each(|x| product(x) as i32, i.0)))
    }
    #[inline(always)]
    fn swap_pairs(self, v: F) -> F {
        F(std::array::from_fn(|i| v.0[i ^ 1]))
    }

    #[inline(always)]
    fn table(self, values: &[f32; 16]) -> [f32; 16] {
        *values
    }
    #[inline(always)]
    fn lookup(self, table: [f32; 16], i: I) -> F {
        F(each(|i| table[i as usize & 15], i.0))
    }
    #[inline(always)]
    fn reduce_add(self, v: F) -> f32 {
        let [a, b, c, d, e, f, g, h] = v.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn reduce_max(self, v: F) -> f32 {
        v.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}
