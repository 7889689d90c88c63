//! Dense f32 products: faer, gemm, matrixmultiply, candle, OpenBLAS, oneDNN.

use std::rc::Rc;

use super::onednn;
use super::openblas::OpenBlas;
use super::{Absent, Peer, candle, values};

/// How the right operand of a product lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// `[K, N]`, row by row.
    Matrix,
    /// `[N, K]`, row by row: a weight, used transposed.
    Weight,
}

/// The operands of `[M, K] · [K, N]`.
#[derive(Debug)]
pub(super) struct Operands {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) right: Right,
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
}

impl Operands {
    pub(super) fn new(m: usize, n: usize, k: usize, right: Right) -> Self {
        Self { m, n, k, right, a: values(m * k), b: values(k * n) }
    }

    /// Steps of the right operand along K and along N.
    fn b_strides(&self) -> (isize, isize) {
        match self.right {
            Right::Matrix => (self.n as isize, 1),
            Right::Weight => (1, self.k as isize),
        }
    }
}

/// Every peer that multiplies f32 matrices.
pub(super) fn peers(m: usize, n: usize, k: usize, right: Right, threads: usize) -> Vec<Result<Peer, Absent>> {
    let operands = Rc::new(Operands::new(m, n, k, right));
    let out = || vec![0.0; m * n];
    let call = |product: fn(&Operands, &mut [f32], usize)| {
        let (operands, mut out) = (operands.clone(), out());
        move || {
            product(&operands, std::hint::black_box(&mut out), threads);
            Ok(())
        }
    };
    vec![
        Ok(Peer::of("faer", "", call(faer))),
        Ok(Peer::of("gemm", "", call(gemm))),
        Ok(Peer::of("matrixmultiply", "", call(matrixmultiply))),
        candle::matmul(&operands, candle_core::DType::F32),
        OpenBlas::open(threads).map(|openblas| {
            let (operands, mut out) = (operands.clone(), out());
            let name = openblas.name();
            let call = move || openblas.sgemm(&operands, std::hint::black_box(&mut out));
            Peer { name, call: Box::new(call), work: None }
        }),
        onednn::peer(m, n, k, right, onednn::Product::F32, threads),
    ]
}

fn faer(x: &Operands, out: &mut [f32], threads: usize) {
    let a = ::faer::MatRef::from_row_major_slice(&x.a, x.m, x.k);
    let b = match x.right {
        Right::Matrix => ::faer::MatRef::from_row_major_slice(&x.b, x.k, x.n),
        Right::Weight => ::faer::MatRef::from_column_major_slice(&x.b, x.k, x.n),
    };
    let out = ::faer::MatMut::from_row_major_slice_mut(out, x.m, x.n);
    let parallel = if threads > 1 { ::faer::Par::rayon(threads) } else { ::faer::Par::Seq };
    ::faer::linalg::matmul::matmul(out, ::faer::Accum::Replace, a, b, 1.0, parallel);
}

fn gemm(x: &Operands, out: &mut [f32], threads: usize) {
    assert!(x.a.len() == x.m * x.k && x.b.len() == x.k * x.n && out.len() == x.m * x.n);
    let (along_k, along_n) = x.b_strides();
    let parallel = if threads > 1 { ::gemm::Parallelism::Rayon(threads) } else { ::gemm::Parallelism::None };
    // SAFETY: the three slices hold m·k, k·n and m·n elements, as asserted, and the strides stay within them.
    unsafe {
        ::gemm::gemm(
            x.m,
            x.n,
            x.k,
            out.as_mut_ptr(),
            1,
            x.n as isize,
            false,
            x.a.as_ptr(),
            1,
            x.k as isize,
            x.b.as_ptr(),
            along_n,
            along_k,
            0.0,
            1.0,
            false,
            false,
            false,
            parallel,
        );
    }
}

/// It takes its number of threads from `MATMUL_NUM_THREADS`.
fn matrixmultiply(x: &Operands, out: &mut [f32], _threads: usize) {
    assert!(x.a.len() == x.m * x.k && x.b.len() == x.k * x.n && out.len() == x.m * x.n);
    let (along_k, along_n) = x.b_strides();
    let (a, b, out) = (x.a.as_ptr(), x.b.as_ptr(), out.as_mut_ptr());
    // SAFETY: the three slices hold m·k, k·n and m·n elements, as asserted, and the strides stay within them.
    unsafe {
        ::matrixmultiply::sgemm(x.m, x.k, x.n, 1.0, a, x.k as isize, 1, b, along_k, along_n, 0.0, out, x.n as isize, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer fed wrong strides would be timed on another product than ours.
    #[test]
    fn peers_multiply_the_operands_they_are_given() {
        for right in [Right::Matrix, Right::Weight] {
            let x = Operands::new(3, 5, 7, right);
            let (along_k, along_n) = x.b_strides();
            let sum = |row: usize, col: usize| -> f64 {
                let b = |k: usize| x.b[k * along_k as usize + col * along_n as usize];
                (0..x.k).map(|k| f64::from(x.a[row * x.k + k]) * f64::from(b(k))).sum()
            };
            let check = |name: &str, out: &[f32]| {
                for (index, got) in out.iter().enumerate() {
                    let wanted = sum(index / x.n, index % x.n);
                    // γ₇ · Σ|a·b| with |a|, |b| ≤ 1.
                    assert!((f64::from(*got) - wanted).abs() <= 7.0 * 7.0 * f64::from(f32::EPSILON), "{name} {right:?}");
                }
            };
            type Product = fn(&Operands, &mut [f32], usize);
            let products: [(&str, Product); 3] = [("faer", faer), ("gemm", gemm), ("matrixmultiply", matrixmultiply)];
            for (name, product) in products {
                let mut out = [f32::NAN; 15];
                product(&x, &mut out, 1);
                check(name, &out);
            }
            if let Ok(openblas) = OpenBlas::open(1) {
                let mut out = [f32::NAN; 15];
                openblas.sgemm(&x, &mut out).unwrap();
                check("OpenBLAS", &out);
            }
            check("candle", &candle::product(&x).unwrap());
        }
    }
}
