//! The queue: what waits, what is ordered, and how many dispatches and workgroups there may be.

use kernels::ops::{Copy, Download, Fill, Matmul, Upload};
use kernels::{DType, Layout, Memory, Op};
use kernels_wgpu::WgpuBackend;

fn open() -> WgpuBackend {
    WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_upload_comes_after_what_is_queued_before_it() {
    let gpu = open();
    let mut x = gpu.alloc(DType::F32, 4).unwrap();
    let mut y = gpu.alloc(DType::F32, 4).unwrap();
    Fill { value: 1.0, out: x.view_mut([4]).unwrap() }.run(&gpu).unwrap();
    Copy { x: x.view([4]).unwrap(), out: y.view_mut([4]).unwrap() }.run(&gpu).unwrap();
    Upload::new(&[2f32; 4], x.view_mut([4]).unwrap()).run(&gpu).unwrap();
    let (mut first, mut second) = ([0f32; 4], [0f32; 4]);
    Download::new(y.view([4]).unwrap(), &mut first).run(&gpu).unwrap();
    Download::new(x.view([4]).unwrap(), &mut second).run(&gpu).unwrap();
    assert_eq!((first, second), ([1.0; 4], [2.0; 4]));
}

#[test]
fn every_dispatch_of_many_has_parameters_of_its_own() {
    let gpu = open();
    let len = 700; // more than one submission takes
    let mut x = gpu.alloc(DType::U32, len).unwrap();
    for at in 0..len {
        Fill { value: at as f64, out: x.view_mut_as(Layout::strided([1], &[1], at).unwrap()).unwrap() }.run(&gpu).unwrap();
    }
    let mut host = vec![0u32; len];
    Download::new(x.view([len]).unwrap(), &mut host).run(&gpu).unwrap();
    assert!(host.iter().enumerate().all(|(at, &value)| at as u32 == value));
}

#[test]
fn uploads_of_every_size_arrive_in_their_order_and_none_waits() {
    let gpu = open();
    // Parts of a chunk of the belt, all of one, more than one, and bytes that end within a word.
    let sizes = [1, 3, 4, 5, 100, 4096, (100 << 10) + 2, (256 << 10) - 4, 256 << 10, (256 << 10) + 4, (1 << 20) + 1];
    let mut buffers = Vec::new();
    // Fewer bytes in all than may be on their way.
    for round in 0..12u8 {
        for (at, &len) in sizes.iter().enumerate() {
            let (mut x, mut y) = (gpu.alloc(DType::U8, len).unwrap(), gpu.alloc(DType::U8, len).unwrap());
            let value = round.wrapping_mul(13).wrapping_add(at as u8);
            Upload::new(&vec![value; len], x.view_mut([len]).unwrap()).run(&gpu).unwrap();
            Copy { x: x.view([len]).unwrap(), out: y.view_mut([len]).unwrap() }.run(&gpu).unwrap();
            Upload::new(&vec![!value; len], x.view_mut([len]).unwrap()).run(&gpu).unwrap();
            buffers.push((x, y, len, value));
        }
    }
    assert_eq!(gpu.memory_stats().waits, 0);
    for (x, y, len, value) in buffers {
        let (mut later, mut before) = (vec![0u8; len], vec![0u8; len]);
        Download::new(x.view([len]).unwrap(), &mut later).run(&gpu).unwrap();
        Download::new(y.view([len]).unwrap(), &mut before).run(&gpu).unwrap();
        assert!(before.iter().all(|&byte| byte == value) && later.iter().all(|&byte| byte == !value), "{len}");
    }
}

#[test]
fn only_download_and_sync_wait() {
    let gpu = open();
    let waits = || gpu.memory_stats().waits;
    let mut x = gpu.alloc(DType::Bf16, 64).unwrap();
    let mut out = gpu.alloc(DType::Bf16, 64).unwrap();
    let ones = [half::bf16::ONE; 63];
    // Off the start of a word, so that a kernel puts it in place.
    Upload::new(&ones, x.view_mut([64]).unwrap().narrow(0, 1, 63).unwrap()).run(&gpu).unwrap();
    for _ in 0..1000 {
        Matmul::new(x.view([8, 8]).unwrap(), x.view([8, 8]).unwrap(), out.view_mut([8, 8]).unwrap()).run(&gpu).unwrap();
    }
    assert_eq!(waits(), 0);
    let mut host = [half::bf16::ZERO; 64];
    Download::new(out.view([64]).unwrap(), &mut host).run(&gpu).unwrap();
    assert_eq!(waits(), 1);
    assert_eq!((host[0].to_f32(), host[9].to_f32()), (7.0, 8.0));
    gpu.sync().unwrap();
    assert_eq!(waits(), 2);
}

#[test]
fn more_workgroups_than_one_dimension_holds_are_folded() {
    let gpu = open();
    let len = 65_535 * 64 + 65; // elements of one more workgroup, and one
    let mut x = gpu.alloc(DType::U8, len).unwrap();
    Fill { value: 9.0, out: x.view_mut([len]).unwrap() }.run(&gpu).unwrap();
    let mut host = vec![0u8; len];
    Download::new(x.view([len]).unwrap(), &mut host).run(&gpu).unwrap();
    assert!(host.iter().all(|&byte| byte == 9));
}

#[test]
fn transfers_from_many_threads_do_not_mix() {
    let gpu = open();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let gpu = &gpu;
            scope.spawn(move || {
                for round in 0..20u8 {
                    let data = [thread * 50 + round; 101];
                    let mut x = gpu.alloc(DType::U8, 104).unwrap();
                    Upload::new(&data, x.view_mut([104]).unwrap().narrow(0, 1, 101).unwrap()).run(gpu).unwrap();
                    let mut host = [0u8; 101];
                    Download::new(x.view([104]).unwrap().narrow(0, 1, 101).unwrap(), &mut host).run(gpu).unwrap();
                    assert_eq!(host, data);
                }
            });
        }
    });
}
