//! A backend whose device is lost leaves the others of its process as they were.

#![cfg(feature = "wgpu")]

use kernels::ops::{Download, Matmul, Upload};
use kernels::{Backend, DType, Error, Op, Result};
use kernels_cpu::CpuBackend;
use kernels_wgpu::WgpuBackend;

/// The square of a matrix of 2s.
fn square(on: &dyn Backend) -> Result<Vec<f32>> {
    let mut x = on.alloc(DType::F32, 64)?;
    let mut out = on.alloc(DType::F32, 64)?;
    Upload::new(&[2f32; 64], x.view_mut([64])?).run(on)?;
    Matmul::new(x.view([8, 8])?, x.view([8, 8])?, out.view_mut([8, 8])?).run(on)?;
    let mut host = vec![0f32; 64];
    Download::new(out.view([64])?, &mut host).run(on)?;
    Ok(host)
}

#[test]
fn the_cpu_goes_on_where_a_device_of_wgpu_is_lost() {
    let cpu = CpuBackend::new().unwrap();
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    let right = vec![32f32; 64];
    assert_eq!((square(&cpu), square(&gpu)), (Ok(right.clone()), Ok(right.clone())));
    gpu.device().destroy();
    assert!(matches!(square(&gpu), Err(Error::Fault { backend: "wgpu", .. })));
    assert_eq!(square(&cpu), Ok(right));
    assert!(matches!(square(&gpu), Err(Error::Fault { backend: "wgpu", .. })));
}
