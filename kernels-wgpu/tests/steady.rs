//! Steady state: once an op has run, running it again makes nothing on the device.

use kernels::conformance::steady;
use kernels::ops::{Copy, Download, Fill, Upload};
use kernels::{Buffer, DType, Memory, Op, Result};
use kernels_wgpu::WgpuBackend;

fn open() -> WgpuBackend {
    WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_second_step_allocates_nothing() {
    steady(&open()).unwrap_or_else(|why| panic!("{why}"));
}

const LEN: usize = 1000;

fn copy(gpu: &WgpuBackend, from: &Buffer, to: &mut Buffer) -> Result<()> {
    Copy { x: from.view([LEN])?, out: to.view_mut([LEN])? }.run(gpu)
}

fn read(gpu: &WgpuBackend, x: &Buffer) -> Result<Vec<f32>> {
    let mut host = vec![0f32; LEN];
    Download::new(x.view([LEN])?, &mut host).run(gpu)?;
    Ok(host)
}

#[test]
fn memory_that_comes_and_goes_is_made_once_and_is_zero_each_time() {
    let gpu = open();
    let step = |value: f32| -> Result<()> {
        let (mut x, mut y) = (gpu.alloc(DType::F32, LEN)?, gpu.alloc(DType::F32, LEN)?);
        assert_eq!((read(&gpu, &x)?, read(&gpu, &y)?), (vec![0.0; LEN], vec![0.0; LEN]));
        Upload::new(&[value; LEN], x.view_mut([LEN])?).run(&gpu)?;
        copy(&gpu, &x, &mut y)?;
        // Gone, and given out again, while the copy from it is still queued.
        drop(x);
        let mut z = gpu.alloc(DType::F32, LEN)?;
        let mut sum = gpu.alloc(DType::F32, LEN)?;
        copy(&gpu, &z, &mut sum)?;
        Fill { value: -1.0, out: z.view_mut([LEN])? }.run(&gpu)?;
        assert_eq!((read(&gpu, &y)?, read(&gpu, &sum)?), (vec![value; LEN], vec![0.0; LEN]));
        assert_eq!(read(&gpu, &z)?, vec![-1.0; LEN]);
        Ok(())
    };
    (1..4).try_for_each(|round| step(round as f32)).unwrap();
    let (made, stats) = (gpu.made(), gpu.memory_stats());
    (4..40).try_for_each(|round| step(round as f32)).unwrap();
    assert_eq!(gpu.made(), made);
    let after = gpu.memory_stats();
    assert_eq!((after.live_bytes, after.peak_bytes, after.allocations), (stats.live_bytes, stats.peak_bytes, stats.allocations));
}

#[test]
fn views_of_one_buffer_share_what_binds_them() {
    let gpu = open();
    let (mut cache, x) = (gpu.alloc(DType::F32, 64 * 64).unwrap(), gpu.alloc(DType::F32, 64).unwrap());
    let mut sum = gpu.alloc(DType::F32, 64).unwrap();
    let mut step = |at: usize| -> Result<()> {
        Copy { x: x.view([1, 64])?, out: cache.view_mut([64, 64])?.narrow(0, at, 1)? }.run(&gpu)?;
        Copy { x: cache.view([64, 64])?.narrow(0, at, 1)?, out: sum.view_mut([1, 64])? }.run(&gpu)?;
        gpu.sync()
    };
    step(0).unwrap();
    let made = gpu.made();
    (1..64).try_for_each(step).unwrap();
    assert_eq!(gpu.made(), made);
}

#[test]
fn memory_for_uploads_is_made_once_where_a_step_takes_a_few_megabytes() {
    let gpu = open();
    let lens = [LEN, 100_000, 300_000, 1_500_000];
    let mut buffers = lens.map(|len| gpu.alloc(DType::F32, len).unwrap());
    let mut step = |value: f32| -> Result<()> {
        for (x, len) in buffers.iter_mut().zip(lens) {
            Upload::new(&vec![value; len], x.view_mut([len])?).run(&gpu)?;
        }
        assert_eq!(read(&gpu, &buffers[0])?, [value; LEN]);
        Ok(())
    };
    (0..3).try_for_each(|round| step(round as f32)).unwrap();
    let made = gpu.made();
    (3..9).try_for_each(|round| step(round as f32)).unwrap();
    assert_eq!(gpu.made(), made);
}
