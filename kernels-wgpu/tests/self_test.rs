//! The self-test of a device, on this one and on one that computes an op wrong.

use kernels::ops::{Fill, Softmax};
use kernels::{Backend, DType, Error, Memory, Op, Result};
use kernels_wgpu::WgpuBackend;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

fn open() -> WgpuBackend {
    WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"))
}

fn softmax(on: &WgpuBackend) -> Result<()> {
    let (x, mut out) = (on.alloc(DType::F32, 8)?, on.alloc(DType::F32, 8)?);
    Softmax { x: x.view([2, 4])?, out: out.view_mut([2, 4])? }.run(on)
}

#[test]
fn a_device_that_computes_right_passes() {
    let gpu = open();
    assert_eq!(gpu.self_test(), Ok(Vec::new()));
    assert_eq!(softmax(&gpu), Ok(()));
    // A second one makes nothing new but its own buffers.
    let before = gpu.memory_stats().live_bytes;
    assert_eq!(gpu.self_test(), Ok(Vec::new()));
    assert_eq!(gpu.memory_stats().live_bytes, before);
}

/// Runs a test of this file, otherwise ignored, on a device whose softmax does nothing. What it told the user.
fn on_a_broken_device(test: &str, caches: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SIZEWISE_WGPU", "break-softmax")
        .env("SIZEWISE_CACHE", caches);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

#[test]
fn an_op_that_computes_wrong_is_quarantined_and_stays_so() {
    let caches = tempfile::tempdir().unwrap();
    // First tested, then known from disk; then the file is damaged, and it is tested again.
    for round in 0..3 {
        let told = on_a_broken_device("softmax_is_refused_and_other_ops_are_not", caches.path());
        assert!(told.contains("softmax computes wrong on"), "{told}");
        assert_eq!(told.contains("is left aside: it is damaged"), round == 2, "{told}");
        let verdict = std::fs::read_dir(caches.path()).unwrap().map(|entry| entry.unwrap().path());
        let verdict = verdict.filter(|path| path.extension().is_some_and(|kind| kind == "verdict")).collect::<Vec<_>>();
        assert_eq!(verdict.len(), 1);
        if round == 1 {
            let mut bytes = std::fs::read(&verdict[0]).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&verdict[0], bytes).unwrap();
        }
    }
}

#[test]
#[ignore = "needs a device with an op broken: an_op_that_computes_wrong_is_quarantined_and_stays_so"]
fn softmax_is_refused_and_other_ops_are_not() {
    let start = Instant::now();
    let gpu = open().tested().unwrap();
    println!("opened in {:.2} s", start.elapsed().as_secs_f64());
    let Err(Error::Quarantined { op, backend, device, what }) = softmax(&gpu) else { panic!("not refused") };
    assert_eq!((op, backend, &device), ("softmax", "wgpu", &gpu.info().name));
    assert!(what.contains("value 0 of 185 is 0 instead of"), "{what}");
    let mut x = gpu.alloc(DType::F32, 8).unwrap();
    Fill { value: 1.0, out: x.view_mut([8]).unwrap() }.run(&gpu).unwrap();
    gpu.sync().unwrap();
}
