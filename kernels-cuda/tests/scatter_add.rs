//! Rows are added in their order, to the bit, however many go to one row.

use kernels::ops::{Download, ScatterAdd, Upload};
use kernels::{Buffer, DType, Element, Error, Memory, Op};
use kernels_cuda::CudaBackend;

const ROWS: usize = 6000;
const LIMIT: usize = 40;
const WIDTH: usize = 5;

fn uploaded<T: Element>(gpu: &CudaBackend, dtype: DType, values: &[T]) -> Buffer {
    let mut buffer = gpu.alloc(dtype, values.len()).unwrap();
    Upload::new(values, buffer.view_mut([values.len()]).unwrap()).run(gpu).unwrap();
    buffer
}

/// Three rows of four go to row 7: more than a block's list holds. The others are spread.
fn indices() -> Vec<u32> {
    let spread = |m: u32| m.wrapping_mul(2_654_435_761) >> 20;
    (0..ROWS as u32).map(|m| if m % 4 > 0 { 7 } else { spread(m) % LIMIT as u32 }).collect()
}

#[test]
fn long_lists_and_short_ones_are_added_in_order() {
    let gpu = CudaBackend::emulated();
    let indices = indices();
    let x: Vec<f32> = (0..ROWS * WIDTH).map(|i| (i as f32 * 0.7).sin()).collect();
    let (index_buffer, x_buffer) = (uploaded(&gpu, DType::U32, &indices), uploaded(&gpu, DType::F32, &x));
    let mut out = gpu.alloc(DType::F32, LIMIT * WIDTH).unwrap();
    ScatterAdd {
        index: index_buffer.view([ROWS]).unwrap(),
        x: x_buffer.view([ROWS, WIDTH]).unwrap(),
        out: out.view_mut([LIMIT, WIDTH]).unwrap(),
    }
    .run(&gpu)
    .unwrap();
    let mut got = vec![0f32; LIMIT * WIDTH];
    Download::new(out.view([LIMIT * WIDTH]).unwrap(), &mut got).run(&gpu).unwrap();

    let mut want = vec![0f32; LIMIT * WIDTH];
    for (&v, x) in indices.iter().zip(x.chunks(WIDTH)) {
        want[v as usize * WIDTH..][..WIDTH].iter_mut().zip(x).for_each(|(want, x)| *want += x);
    }
    assert_eq!(got, want);
}

#[test]
fn an_index_out_of_range_is_told_by_the_next_wait() {
    let gpu = CudaBackend::emulated();
    let (index, x) = (uploaded(&gpu, DType::U32, &[1u32, 9, 0]), uploaded(&gpu, DType::F32, &[1f32; 3]));
    let mut out = gpu.alloc(DType::F32, 2).unwrap();
    ScatterAdd { index: index.view([3]).unwrap(), x: x.view([3, 1]).unwrap(), out: out.view_mut([2, 1]).unwrap() }
        .run(&gpu)
        .unwrap();
    assert_eq!(gpu.sync(), Err(Error::Index { op: "scatter_add", arg: "index", at: 1, limit: 2, got: 9 }));
    assert_eq!(gpu.sync(), Ok(()));
}
