//! What a device has no memory for is told, and is no fault.

use crate::memory::Counters;
use wgpu::{Device, ErrorFilter};

/// What `make` gives, where the device has memory for it.
pub(crate) fn within_memory<T>(device: &Device, counters: &Counters, make: impl FnOnce() -> T) -> Option<T> {
    if counters.refuses() {
        return None;
    }
    let exhausted = device.push_error_scope(ErrorFilter::OutOfMemory);
    let made = make();
    pollster::block_on(exhausted.pop()).is_none().then_some(made)
}

#[cfg(test)]
mod tests {
    use crate::WgpuBackend;
    use kernels::ops::{ClipNorm, Copy, Download, Fill, Matmul, Upload};
    use kernels::{Buffer, DType, Error, Memory, Op, Result};

    const LEN: usize = 1000;

    fn open() -> WgpuBackend {
        WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn copied(gpu: &WgpuBackend, x: &Buffer) -> Result<Vec<f32>> {
        let mut y = gpu.alloc(DType::F32, LEN)?;
        Copy { x: x.view([LEN])?, out: y.view_mut([LEN])? }.run(gpu)?;
        let mut host = vec![0f32; LEN];
        Download::new(y.view([LEN])?, &mut host).run(gpu)?;
        Ok(host)
    }

    fn exhausted<T: std::fmt::Debug>(result: Result<T>, wanted: u64) {
        assert_eq!(result.unwrap_err(), Error::OutOfMemory { backend: "wgpu", wanted_bytes: wanted });
    }

    #[test]
    fn what_is_kept_makes_room_before_memory_is_said_to_be_out() {
        let gpu = open();
        let mut x = gpu.alloc(DType::F32, LEN).unwrap();
        Upload::new(&[7f32; LEN], x.view_mut([LEN]).unwrap()).run(&gpu).unwrap();
        copied(&gpu, &x).unwrap();
        assert_eq!((gpu.queue.pooled(), gpu.queue.bindings()), (0, 1));
        // The copy's result is kept once the queue is told that it was dropped, and what binds it too.
        gpu.sync().unwrap();
        assert_eq!((gpu.queue.pooled(), gpu.queue.bindings()), (1, 1));
        let waits = gpu.memory_stats().waits;
        gpu.counters.refuse(1);
        gpu.alloc(DType::F32, 3 * LEN).unwrap();
        assert_eq!((gpu.queue.pooled(), gpu.queue.bindings(), gpu.memory_stats().waits - waits), (0, 0, 1));
        gpu.counters.refuse(2);
        exhausted(gpu.alloc(DType::F32, 3 * LEN + 4), 4 * (3 * LEN as u64 + 4));
        // Nothing sticks.
        assert_eq!(copied(&gpu, &x).unwrap(), [7.0; LEN]);
    }

    #[test]
    fn memory_that_brought_uploads_makes_room_too() {
        let gpu = open();
        let mut x = gpu.alloc(DType::F32, 1 << 18).unwrap();
        let kept = |chunks: u64| chunks * (256 << 10);
        for len in [LEN, 1 << 18] {
            Upload::new(&vec![7f32; len], x.view_mut([1 << 18]).unwrap().narrow(0, 0, len).unwrap()).run(&gpu).unwrap();
        }
        gpu.sync().unwrap();
        assert_eq!(gpu.queue.staging_kept(), kept(1) + (1 << 20));
        gpu.counters.refuse(1);
        gpu.alloc(DType::F32, 3 * LEN).unwrap();
        assert_eq!(gpu.queue.staging_kept(), 0);
    }

    #[test]
    fn what_is_said_to_be_wanted_is_what_the_call_wanted() {
        let gpu = open();
        let mut x = gpu.alloc(DType::F32, LEN).unwrap();
        Fill { value: 2.0, out: x.view_mut([LEN]).unwrap() }.run(&gpu).unwrap();
        // The call's own memory, and twice that which submitting what is gathered would take.
        gpu.counters.refuse(3);
        exhausted(gpu.alloc(DType::F32, 3 * LEN), 12 * LEN as u64);
        assert_eq!(copied(&gpu, &x).unwrap(), [2.0; LEN]);
    }

    #[test]
    fn work_space_is_no_larger_than_wanted_where_there_is_no_memory_for_more() {
        let gpu = open();
        let wanted = (1 << 20) + 16;
        gpu.counters.refuse(4);
        exhausted(gpu.queue.staging("copy", wanted).map(drop), wanted);
        gpu.counters.refuse(2);
        assert_eq!(gpu.queue.staging("copy", wanted).unwrap().buffer.size(), wanted);
        gpu.queue.staging("copy", wanted + 16).unwrap();
    }

    /// More gradients than a few submissions hold: wherever memory is out, all of them are scaled or none.
    #[test]
    fn gradients_are_clipped_all_or_none() {
        let gpu = open();
        const SIDE: usize = 1024;
        let count = 700;
        let mut buffers: Vec<Buffer> = (0..count).map(|_| gpu.alloc(DType::F32, 1).unwrap()).collect();
        let mut norm = gpu.alloc(DType::F32, 1).unwrap();
        let [factor, mut product] = [0, 1].map(|_| gpu.alloc(DType::F32, SIDE * SIDE).unwrap());
        let (mut clipped, mut not) = (0, 0);
        for spared in 0..12 {
            for x in &mut buffers {
                Fill { value: 3.0, out: x.view_mut([1]).unwrap() }.run(&gpu).unwrap();
            }
            // What is kept is let go of, so that memory is asked for again.
            gpu.sync().unwrap();
            gpu.counters.refuse(1);
            gpu.alloc(DType::F32, 1 << 20).unwrap();
            // So that nothing comes back meanwhile.
            let [a, b] = [&factor, &factor].map(|of| of.view([SIDE, SIDE]).unwrap());
            Matmul::new(a, b, product.view_mut([SIDE, SIDE]).unwrap()).run(&gpu).unwrap();
            let mut grads: Vec<_> = buffers.iter_mut().map(|x| x.view_mut([1]).unwrap()).collect();
            gpu.counters.refuse_after(spared, 40);
            let ran = ClipNorm { grads: &mut grads, max_norm: 1.0, norm: norm.view_mut([1]).unwrap() }.run(&gpu);
            gpu.counters.refuse(0);
            let wanted = match ran {
                Ok(()) => 1.0 / (count as f32).sqrt(),
                Err(error) => {
                    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
                    3.0
                }
            };
            *if wanted < 3.0 { &mut clipped } else { &mut not } += 1;
            for x in &buffers {
                let mut host = [0f32; 1];
                Download::new(x.view([1]).unwrap(), &mut host).run(&gpu).unwrap();
                assert!((host[0] - wanted).abs() < 1e-6, "{spared}: {} instead of {wanted}", host[0]);
            }
        }
        assert!(clipped > 0 && not > 1, "{clipped} {not}");
    }

    #[test]
    fn transfers_without_memory_say_so_and_come_later() {
        let gpu = open();
        let (mut x, mut large) = (gpu.alloc(DType::F32, LEN).unwrap(), gpu.alloc(DType::F32, 1 << 20).unwrap());
        let upload = |x: &mut Buffer, value: f32| {
            let values = vec![value; x.len()];
            Upload::new(&values, x.view_mut([values.len()]).unwrap()).run(&gpu)
        };
        // A chunk of the belt, and what is too large for one.
        for (to, wanted) in [(&mut x, 256 << 10), (&mut large, 4 << 20)] {
            gpu.counters.refuse(2);
            exhausted(upload(to, 1.0), wanted);
            gpu.counters.refuse(1);
            upload(to, 2.0).unwrap();
        }
        assert_eq!(copied(&gpu, &x).unwrap(), [2.0; LEN]);
        let mut host = vec![0f32; 1 << 20];
        Download::new(large.view([1 << 20]).unwrap(), &mut host).run(&gpu).unwrap();
        assert!(host.iter().all(|x| *x == 2.0));
    }

    #[test]
    fn dispatches_without_memory_for_their_parameters_are_lost_to_no_one() {
        let gpu = open();
        let mut x = gpu.alloc(DType::F32, LEN).unwrap();
        let mut fill = |value: f64| Fill { value, out: x.view_mut([LEN]).unwrap() }.run(&gpu);
        // Where they lie on the device.
        gpu.counters.refuse(2);
        exhausted(fill(1.0), 128 << 10);
        fill(2.0).unwrap();
        // What brings them there.
        gpu.counters.refuse(2);
        exhausted(gpu.sync(), 256 << 10);
        let mut host = [0f32; LEN];
        gpu.counters.refuse(1);
        Download::new(x.view([LEN]).unwrap(), &mut host).run(&gpu).unwrap();
        assert_eq!(host, [2.0; LEN]);
    }
}
