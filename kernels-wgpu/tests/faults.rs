//! What goes wrong on a device comes out as a typed error: no panic, no hang.

use kernels::ops::{Copy, Download, Fill, Gather, Matmul, Upload};
use kernels::{Backend, Buffer, DType, Error, Layout, Memory, Op, Result};
use kernels_wgpu::WgpuBackend;
use std::time::{Duration, Instant};
use wgpu::{BufferDescriptor, BufferUsages, MapMode};

fn open() -> WgpuBackend {
    WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_adapter_that_does_not_exist_is_unavailable_with_a_remedy() {
    for wanted in ["no such adapter", "9999"] {
        match WgpuBackend::new(Some(wanted)).err() {
            Some(Error::Unavailable { backend: "wgpu", reason, remedy }) => {
                assert!(reason.contains(wanted) && !remedy.is_empty(), "{reason}: {remedy}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Runs alone in a process of its own, whose environment offers no driver.
#[test]
fn in_a_process_without_drivers() {
    if std::env::var_os("SIZEWISE_WITHOUT_DRIVERS").is_none() {
        return;
    }
    match WgpuBackend::new(None).err() {
        Some(Error::Unavailable { backend: "wgpu", reason, remedy }) => {
            assert!(reason.contains("no ") && remedy.contains("driver"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_driver_the_backend_is_unavailable_with_a_remedy() {
    let elsewhere = if cfg!(windows) { "metal" } else { "dx12" };
    let start = Instant::now();
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_without_drivers"])
        .env("SIZEWISE_WITHOUT_DRIVERS", "1")
        .env("WGPU_BACKEND", elsewhere)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_device_destroyed_under_a_thread_that_works_and_waits_ends_its_work() {
    let gpu = open();
    let start = Instant::now();
    let fault = std::thread::scope(|scope| {
        let working = scope.spawn(|| -> Error {
            let x = gpu.alloc(DType::F32, 64 * 64).unwrap();
            let mut out = gpu.alloc(DType::F32, 64 * 64).unwrap();
            let mut work = || -> Result<()> {
                Matmul::new(x.view([64, 64])?, x.view([64, 64])?, out.view_mut([64, 64])?).run(&gpu)?;
                gpu.sync()
            };
            loop {
                if let Err(error) = work() {
                    return error;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        gpu.device().destroy();
        working.join().unwrap()
    });
    assert!(matches!(fault, Error::Fault { backend: "wgpu", .. }), "{fault}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Runs alone in a process of its own, that has no more than 4 GiB of addresses.
#[test]
fn in_a_process_with_little_memory() {
    if std::env::var_os("SIZEWISE_LITTLE_MEMORY").is_none() {
        return;
    }
    let gpu = open();
    if !gpu.info().software {
        return; // its memory is its own
    }
    let len = 256 << 20;
    let values = vec![7u8; len];
    let mut x = gpu.alloc(DType::U8, len).unwrap();
    let mut others = Vec::new();
    let full = loop {
        match gpu.alloc(DType::U8, 64 << 20) {
            Ok(buffer) => others.push(buffer),
            Err(error) => break error,
        }
    };
    assert_eq!(full, Error::OutOfMemory { backend: "wgpu", wanted_bytes: 64 << 20 });
    // Room for what the program itself takes, and for no upload.
    others.truncate(others.len() - 2);
    let upload = |x: &mut Buffer| Upload::new(&values, x.view_mut([len])?).run(&gpu);
    assert_eq!(upload(&mut x), Err(Error::OutOfMemory { backend: "wgpu", wanted_bytes: len as u64 }));
    drop(others);
    upload(&mut x).unwrap();
    let mut host = [0u8; 8];
    Download::new(x.view_as(Layout::strided([8], &[1], len - 8).unwrap()).unwrap(), &mut host).run(&gpu).unwrap();
    assert_eq!(host, [7; 8]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_upload_without_memory_leaves_the_device_usable() {
    let run = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 4194304; exec \"$0\" --exact in_a_process_with_little_memory"])
        .env("SIZEWISE_LITTLE_MEMORY", "1")
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
}

/// A panic of a callback within wgpu: wgpu's own, where a driver loses the device while it is waited for, come the same way, but no
/// driver here loses one.
fn panic_within_wgpu(gpu: &WgpuBackend) -> wgpu::Buffer {
    let usage = BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC;
    let buffer = gpu.device().create_buffer(&BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false });
    buffer.map_async(MapMode::Write, .., |_| panic!("an end of the device"));
    buffer
}

#[test]
fn a_panic_of_a_submission_or_a_wait_is_a_sticky_fault() {
    for submits in [false, true] {
        let gpu = open();
        let mut x = gpu.alloc(DType::F32, 64).unwrap();
        if submits {
            Fill { value: 2.0, out: x.view_mut([64]).unwrap() }.run(&gpu).unwrap();
        }
        let _waited_for = panic_within_wgpu(&gpu);
        let fault = Error::Fault { backend: "wgpu", op: "sync", what: "an end of the device".into() };
        assert_eq!(gpu.sync(), Err(fault.clone()));
        let mut host = [0f32; 64];
        assert_eq!(Download::new(x.view([64]).unwrap(), &mut host).run(&gpu), Err(fault.clone()));
        assert_eq!(gpu.alloc(DType::F32, 4).map(drop), Err(fault));
    }
    open().sync().unwrap();
}

#[test]
fn a_panic_of_the_wait_in_which_a_backend_ends_is_told_to_no_one() {
    let gpu = open();
    let _waited_for = panic_within_wgpu(&gpu);
    drop(gpu);
}

#[test]
fn adapters_open_by_index_and_by_a_part_of_their_name() {
    let name = open().info().name.clone();
    assert_eq!(WgpuBackend::new(Some(&name.to_uppercase())).unwrap().info().name, name);
    WgpuBackend::new(Some("0")).unwrap();
}

#[test]
fn a_destroyed_device_is_a_sticky_fault_that_names_the_op() {
    let gpu = open();
    let mut x = gpu.alloc(DType::F32, 64).unwrap();
    let mut out = gpu.alloc(DType::F32, 64).unwrap();
    Upload::new(&[1f32; 64], x.view_mut([64]).unwrap()).run(&gpu).unwrap();
    Fill { value: 2.0, out: out.view_mut([64]).unwrap() }.run(&gpu).unwrap();
    gpu.device().destroy();

    let start = Instant::now();
    let mut host = [0f32; 64];
    let mut calls: Vec<(&str, Result<()>)> = Vec::new();
    let product = Matmul::new(x.view([8, 8]).unwrap(), x.view([8, 8]).unwrap(), out.view_mut([8, 8]).unwrap()).run(&gpu);
    calls.push(("matmul", product));
    calls.push(("copy", Copy { x: x.view([64]).unwrap(), out: out.view_mut([64]).unwrap() }.run(&gpu)));
    calls.push(("upload", Upload::new(&[1f32; 64], x.view_mut([64]).unwrap()).run(&gpu)));
    calls.push(("download", Download::new(out.view([64]).unwrap(), &mut host).run(&gpu)));
    calls.push(("sync", gpu.sync()));
    calls.push(("alloc", gpu.alloc(DType::F32, 64).map(drop)));
    assert!(start.elapsed() < Duration::from_secs(5));

    // Ops and uploads are queued; the fault comes out as soon as something reaches the device, and then of every call.
    let at = calls.iter().position(|(_, result)| result.is_err()).unwrap();
    assert!(at <= 3, "{:?}", calls[at]);
    let first = calls[at].1.clone().unwrap_err();
    assert!(matches!(&first, Error::Fault { backend: "wgpu", op, what } if !op.is_empty() && !what.is_empty()), "{first}");
    for (name, result) in &calls[at..] {
        assert_eq!(result.as_ref().unwrap_err(), &first, "{name}");
    }

    // Another backend of the same process is not affected.
    let other = open();
    let mut y = other.alloc(DType::F32, 4).unwrap();
    Fill { value: 3.0, out: y.view_mut([4]).unwrap() }.run(&other).unwrap();
    let mut host = [0f32; 4];
    Download::new(y.view([4]).unwrap(), &mut host).run(&other).unwrap();
    assert_eq!(host, [3.0; 4]);
}

#[test]
fn an_allocation_beyond_the_device_is_refused() {
    let gpu = open();
    let limit = gpu.device().limits().max_buffer_size;
    for len in [limit as usize / 4 + 1, 1 << 60, usize::MAX] {
        match gpu.alloc(DType::F32, len).err() {
            Some(Error::Limit { op: "alloc", limit: of, got, .. }) => assert!(of == limit && got > limit),
            other => panic!("{len}: {other:?}"),
        }
    }
    // Nothing is left behind.
    gpu.sync().unwrap();
    assert_eq!(gpu.memory_stats().live_bytes, 0);
}

#[test]
fn an_index_out_of_range_is_told_once_by_the_next_call_that_waits() {
    let gpu = open();
    let mut table = gpu.alloc(DType::F32, 12).unwrap();
    let mut index = gpu.alloc(DType::U32, 3).unwrap();
    let mut out = gpu.alloc(DType::F32, 9).unwrap();
    Upload::new(&[1f32; 12], table.view_mut([12]).unwrap()).run(&gpu).unwrap();
    let mut host = [0f32; 9];
    for waits_by_download in [true, false] {
        Upload::new(&[0u32, 4, 1], index.view_mut([3]).unwrap()).run(&gpu).unwrap();
        let gather = |out: &mut Buffer| {
            let (table, index) = (table.view([4, 3]).unwrap(), index.view([3]).unwrap());
            Gather { table, index, out: out.view_mut([3, 3]).unwrap() }.run(&gpu)
        };
        gather(&mut out).unwrap();
        let told = match waits_by_download {
            true => Download::new(out.view([9]).unwrap(), &mut host).run(&gpu),
            false => gpu.sync(),
        };
        assert_eq!(told, Err(Error::Index { op: "gather", arg: "index", at: 1, limit: 4, got: 4 }));
        gpu.sync().unwrap();
        // Rows of legal indices are there, and nothing is left of the error.
        Upload::new(&[3u32, 0, 2], index.view_mut([3]).unwrap()).run(&gpu).unwrap();
        let (table, index) = (table.view([4, 3]).unwrap(), index.view([3]).unwrap());
        Gather { table, index, out: out.view_mut([3, 3]).unwrap() }.run(&gpu).unwrap();
        Download::new(out.view([9]).unwrap(), &mut host).run(&gpu).unwrap();
        assert_eq!(host, [1.0; 9]);
    }
}
