//! After the first tokens, decoding allocates nothing, neither on the heap nor on the device.

use kernels::{Backend, DType};
use kernels_cpu::CpuBackend;
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::large::sampling::{Sampler, Sampling};
use model_zoo::large::session::GptRunner;
use model_zoo::params::Params;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test in this file: the counter counts every thread of the process, also the harness's, and those of the backend that start late
// on a busy machine. So the steps come in five groups of ten, one of which must be free of allocations: a step that allocates
// does so in every group.
#[test]
fn a_decode_step_allocates_nothing() {
    let on: Arc<dyn Backend> = Arc::new(CpuBackend::new().unwrap());
    for config in [GptConfig::gpt2(64, 64, 2, 4), GptConfig::llama(64, 64, 2, 4, 2)] {
        for dtype in [DType::F32, DType::Bf16] {
            let gpt = Arc::new(Gpt::new(&config).unwrap());
            let weights = Params::init(&on, gpt.plan(), 1).unwrap().export(&on).unwrap();
            let runner = GptRunner::new(Arc::clone(&on), gpt, &weights, dtype).unwrap();
            let mut sampler = Sampler::new(Sampling { temperature: 0.8, top_k: 40, top_p: 0.95 }, 1).unwrap();
            let mut session = runner.session().unwrap();
            let mut token = sampler.sample(session.prefill(&[1, 2, 3]).unwrap());
            let mut fewest = (u64::MAX, u64::MAX);
            for _ in 0..5 {
                let before = (ALLOCATIONS.load(Ordering::Relaxed), on.memory_stats().allocations);
                for _ in 0..10 {
                    token = sampler.sample(session.decode(token).unwrap());
                }
                let heap = ALLOCATIONS.load(Ordering::Relaxed) - before.0;
                let device = on.memory_stats().allocations - before.1;
                fewest = (fewest.0.min(heap), fewest.1.min(device));
            }
            assert_eq!(fewest, (0, 0), "allocations on the heap and on the device, {dtype} {config:?}");
        }
    }
}
