//! What conformance does not ask: steady state, and errors that only the data or the device can tell.

use kernels::conformance::steady;
use kernels::ops::{Download, Gather, Upload};
use kernels::{DType, Error, Memory, Op};
use kernels_cuda::CudaBackend;

#[test]
fn a_second_step_allocates_nothing() {
    steady(&CudaBackend::emulated()).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn an_index_out_of_range_comes_out_of_the_next_wait_and_is_told_once() {
    let gpu = CudaBackend::emulated();
    let (mut table, mut index) = (gpu.alloc(DType::F32, 8).unwrap(), gpu.alloc(DType::U32, 3).unwrap());
    let mut out = gpu.alloc(DType::F32, 6).unwrap();
    Upload::new(&[1f32; 8], table.view_mut([8]).unwrap()).run(&gpu).unwrap();
    let mut gather = |indices: [u32; 3]| {
        Upload::new(&indices, index.view_mut([3]).unwrap()).run(&gpu).unwrap();
        let (table, index) = (table.view([4, 2]).unwrap(), index.view([3]).unwrap());
        Gather { table, index, out: out.view_mut([3, 2]).unwrap() }.run(&gpu).unwrap();
        let mut host = [0f32; 6];
        Download::new(out.view([6]).unwrap(), &mut host).run(&gpu)
    };
    assert_eq!(gather([3, 4, 0]), Err(Error::Index { op: "gather", arg: "index", at: 1, limit: 4, got: 4 }));
    assert_eq!(gather([3, 3, 0]), Ok(()));
}

#[test]
fn memory_that_is_not_there_is_an_error_and_nothing_breaks() {
    let gpu = CudaBackend::emulated();
    assert!(matches!(gpu.alloc(DType::F32, usize::MAX), Err(Error::Limit { op: "alloc", .. })));
    assert!(
        matches!(gpu.alloc(DType::F32, 1 << 56), Err(Error::OutOfMemory { backend: "cuda", wanted_bytes }) if wanted_bytes == 1 << 58)
    );
    let buffer = gpu.alloc(DType::F32, 16).unwrap();
    assert_eq!(gpu.memory_stats().live_bytes, 64);
    drop(buffer);
    assert_eq!((gpu.memory_stats().live_bytes, gpu.memory_stats().peak_bytes), (0, 64));
    assert_eq!(gpu.sync(), Ok(()));
}
