//! Exact products of 8-bit integers.

use crate::CpuBackend;
use crate::matmul::{matrix_offset, matrix_strides, sizes};
use crate::memory::{input, output};
use kernels::Result;
use kernels::ops::Matmul;

/// out = a · b (+ out), i8 × i8 summed in i32, wrapping.
///
/// # Errors
/// None beyond those of memory.
pub(crate) fn matmul(_: &CpuBackend, args: Matmul<'_>) -> Result<()> {
    let (size, batch) = sizes(&args);
    let (a_layout, b_layout, out_layout) = (*args.a.layout(), *args.b.layout(), *args.out.layout());
    let (a, b) = (input::<i8>(&args.a)?, input::<i8>(&args.b)?);
    let out = output::<i32>(args.out)?;
    let (a_strides, b_strides, out_strides) = (matrix_strides(&a_layout), matrix_strides(&b_layout), matrix_strides(&out_layout));
    for index in 0..batch {
        let (a, b) = (&a[matrix_offset(&a_layout, index)..], &b[matrix_offset(&b_layout, index)..]);
        let out = &mut out[matrix_offset(&out_layout, index)..];
        for i in 0..size.m {
            for j in 0..size.n {
                let mut sum = 0i32;
                for k in 0..size.k {
                    let (x, y) = (a[i * a_strides.0 + k * a_strides.1], b[k * b_strides.0 + j * b_strides.1]);
                    sum = sum.wrapping_add(x as i32 * y as i32);
                }
                let to = &mut out[i * out_strides.0 + j * out_strides.1];
                *to = if args.beta == 0.0 { sum } else { to.wrapping_add(sum) };
            }
        }
    }
    Ok(())
}
