//! A fork-join pool for kernels: no allocation per call, under a microsecond to start while the workers are awake.
//!
//! Results never depend on the number of threads: neither how a kernel cuts its work into tasks nor which thread runs a task has an
//! influence on what it computes. Each thread has a range of tasks of its own, the same from call to call, so that weights it
//! has read before are still in its caches; who is done takes tasks from the others. Workers look for work for [`SPIN`], then sleep.

use crate::processor;
use kernels::{Error, Result};
use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::*, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Work below this many element operations (or multiply-adds: whatever the kernel counts) stays on the calling thread. A copied
/// element, 1/8 ns in the caches, counts as 1 and others as what they take beside it, so that this is about 8 µs: measured, two
/// threads are no faster than one at 5 µs, where handing over the work and fetching it from the other cache eat up the gain.
pub(crate) const SERIAL_WORK: usize = 1 << 16;

/// How long a worker looks for work before it sleeps. It does not yield meanwhile: two threads that yield to each other on one
/// processor keep Linux from moving either to an idle one, as both ran just now, for seconds at a time.
const SPIN: Duration = Duration::from_micros(50);

/// No processor.
const NOWHERE: usize = usize::MAX;

/// Most threads a pool may have.
pub(crate) const MAX_THREADS: usize = 1024;

/// Set in [`Shared::gate`] while workers may join; the other bits count those inside.
const OPEN: usize = 1 << 31;

type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The work of one call. Written only while the gate is closed and empty.
struct Job {
    body: *const Body<'static>,
    tasks: usize,
}

/// A counter with a cache line of its own.
#[repr(align(64))]
struct Next(AtomicUsize);

struct Shared {
    /// Held by the call that owns the pool at the moment.
    busy: AtomicBool,
    job: UnsafeCell<Job>,
    gate: AtomicUsize,
    /// For each thread, the caller first, the next task of its range.
    next: Box<[Next]>,
    /// Counts jobs, so that workers notice a new one.
    epoch: AtomicU32,
    shutdown: AtomicBool,
    /// Processor of the caller, if there is one for each thread.
    caller: AtomicUsize,
    /// Processor on which a worker has met the caller.
    crowded: AtomicUsize,
    /// Workers that run.
    started: AtomicUsize,
    /// What a task panicked with, if one did.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    crew: Box<[Worker]>,
}

/// A worker as others see it.
#[derive(Default)]
struct Worker {
    asleep: AtomicBool,
    /// What the system calls it.
    thread: AtomicI32,
}

// SAFETY: `job` is written by the owner of `busy` while the gate is closed and empty, and read by workers that have passed the
// open gate; opening is a release and passing an acquire.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is only followed as above.
unsafe impl Send for Shared {}

/// Threads that run the tasks of one call at a time, together with the caller.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    sleepers: Vec<Thread>,
    workers: Vec<JoinHandle<()>>,
    /// Whether there is a processor for each thread.
    own_processors: bool,
}

impl Pool {
    /// A pool of `threads` threads, the caller of [`Pool::run`] among them.
    ///
    /// # Errors
    /// `Unavailable` if the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self> {
        fn idle(_: usize, _: usize) {}
        let count = threads.saturating_sub(1);
        let shared = Arc::new(Shared {
            busy: AtomicBool::new(false),
            job: UnsafeCell::new(Job { body: &(idle as fn(usize, usize)), tasks: 0 }),
            gate: AtomicUsize::new(0),
            next: (0..=count).map(|_| Next(AtomicUsize::new(0))).collect(),
            epoch: AtomicU32::new(0),
            shutdown: AtomicBool::new(false),
            caller: AtomicUsize::new(NOWHERE),
            crowded: AtomicUsize::new(NOWHERE),
            started: AtomicUsize::new(0),
            panic: Mutex::new(None),
            crew: (0..count).map(|_| Worker::default()).collect(),
        });
        let own_processors = std::thread::available_parallelism().is_ok_and(|processors| processors.get() >= threads);
        let mut pool = Pool { shared, sleepers: Vec::new(), workers: Vec::new(), own_processors };
        for index in 0..count {
            let shared = pool.shared.clone();
            let worker = std::thread::Builder::new()
                .name(format!("sizewise-{index}"))
                .spawn(move || work(&shared, index))
                .map_err(|error| Error::Unavailable {
                    backend: crate::NAME,
                    reason: format!("thread {} of {threads} cannot be started: {error}", index + 2),
                    remedy: "set SIZEWISE_THREADS to a smaller number".into(),
                })?;
            pool.sleepers.push(worker.thread().clone());
            pool.workers.push(worker);
        }
        // A thread that starts allocates; that must not fall into the steady state.
        while pool.shared.started.load(Acquire) < count {
            std::thread::yield_now();
        }
        Ok(pool)
    }

    /// Threads that may run tasks at once, the caller among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body(task)` for every task in 0..tasks and returns when all have finished. A call from within a task, or while
    /// another thread has the pool, runs inline.
    ///
    /// # Panics
    /// Passes on a panic of `body`, after all tasks in progress have ended.
    pub fn run(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        self.run_on(tasks, &|task, _| body(task));
    }

    /// As [`Pool::run`], but inline when `work` (see [`SERIAL_WORK`]) is too little to share.
    pub fn run_sized(&self, work: usize, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        if work < SERIAL_WORK {
            return (0..tasks).for_each(body);
        }
        self.run(tasks, body);
    }

    /// As [`Pool::run`]; `body(task, slot)` also gets the number of the thread, below [`Pool::threads`], which no other running
    /// task of this call has: the index of its part of the work space.
    pub fn run_on(&self, tasks: usize, body: &Body<'_>) {
        let shared = &*self.shared;
        let alone = tasks <= 1 || self.workers.is_empty();
        if alone || shared.busy.swap(true, Acquire) {
            (0..tasks).for_each(|task| body(task, 0));
            return crate::simd::fence_streams();
        }
        // SAFETY: `busy` is ours and the gate closed and empty, so that nobody reads the job. The longer lifetime is never used:
        // no worker follows the pointer after the gate has been seen closed and empty below, before this call returns.
        unsafe {
            (*shared.job.get()).body = std::mem::transmute::<*const Body<'_>, *const Body<'static>>(body);
            (*shared.job.get()).tasks = tasks;
        }
        for (slot, next) in shared.next.iter().enumerate() {
            next.0.store(shared.range(slot, tasks).start, Relaxed);
        }
        if self.own_processors {
            shared.spread(processor::current().unwrap_or(NOWHERE));
        }
        shared.gate.store(OPEN, Release);
        shared.epoch.fetch_add(1, SeqCst);
        fence(SeqCst);
        for (worker, thread) in shared.crew.iter().zip(&self.sleepers).take(tasks - 1) {
            if worker.asleep.swap(false, SeqCst) {
                thread.unpark();
            }
        }
        shared.claim_tasks(body, tasks, 0);
        shared.gate.fetch_and(!OPEN, AcqRel);
        let mut rounds = 0u32;
        while shared.gate.load(Acquire) != 0 {
            pause(&mut rounds);
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.busy.store(false, Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// As [`Pool::run_on`] with slots below `slots`, which is 1 (everything on this thread) or all threads.
    pub fn run_slots(&self, slots: usize, tasks: usize, body: &Body<'_>) {
        if slots < self.threads() {
            return (0..tasks).for_each(|task| body(task, 0));
        }
        self.run_on(tasks, body);
    }
}

/// Waits a little, longer the more rounds it has been.
fn pause(rounds: &mut u32) {
    *rounds += 1;
    if *rounds < 200 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

impl Shared {
    /// The tasks that thread `slot` does before it takes from others. Few tasks go to the threads that are woken for them.
    fn range(&self, slot: usize, tasks: usize) -> Range<usize> {
        let parts = self.next.len().min(tasks).max(1);
        let start = |slot: usize| slot.min(parts) * tasks / parts;
        start(slot)..start(slot + 1)
    }

    /// Runs tasks until none is left. A panic ends the job for everyone and is kept for the caller.
    fn claim_tasks(&self, body: &Body<'_>, tasks: usize, slot: usize) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let threads = self.next.len();
            for owner in (slot..threads).chain(0..slot) {
                let (next, end) = (&self.next[owner].0, self.range(owner, tasks).end);
                while next.load(Relaxed) < end {
                    let task = next.fetch_add(1, Relaxed);
                    if task < end {
                        body(task, slot);
                    }
                }
            }
            crate::simd::fence_streams();
        }));
        if let Err(panic) = outcome {
            self.next.iter().for_each(|next| next.0.store(tasks, Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Sees to it that workers run on other processors than `here`, if one has been met there. Linux wakes a thread there again and
    /// again, even if others are idle, where it is not told what caches are shared, as in virtual machines.
    fn spread(&self, here: usize) {
        self.caller.store(here, Relaxed);
        if here != NOWHERE && self.crowded.load(Relaxed) == here {
            self.crowded.store(NOWHERE, Relaxed);
            processor::keep_off(self.crew.iter().map(|worker| worker.thread.load(Relaxed)), here);
        }
    }

    /// Enters the open gate, if it is.
    fn join(&self) -> bool {
        self.gate.fetch_update(Acquire, Relaxed, |gate| (gate & OPEN != 0).then_some(gate + 1)).is_ok()
    }
}

/// Life of worker `index`.
fn work(shared: &Shared, index: usize) {
    let this = &shared.crew[index];
    this.thread.store(processor::this_thread(), Relaxed);
    shared.started.fetch_add(1, Release);
    let mut seen = 0;
    loop {
        let mut since = Instant::now();
        while shared.epoch.load(Acquire) == seen {
            if shared.shutdown.load(Acquire) {
                return;
            }
            if since.elapsed() < SPIN {
                // A clock costs more than a look.
                let looks = (0..16).take_while(|_| shared.epoch.load(Relaxed) == seen);
                looks.for_each(|_| std::hint::spin_loop());
                continue;
            }
            this.asleep.store(true, SeqCst);
            fence(SeqCst);
            if shared.epoch.load(SeqCst) == seen && !shared.shutdown.load(SeqCst) {
                std::thread::park();
            }
            this.asleep.store(false, SeqCst);
            since = Instant::now();
        }
        seen = shared.epoch.load(Acquire);
        let caller = shared.caller.load(Relaxed);
        if caller != NOWHERE && processor::current() == Some(caller) {
            shared.crowded.store(caller, Relaxed);
        }
        if shared.join() {
            // SAFETY: the gate was open and counts us, so that the call that owns the job waits until we leave.
            let (body, tasks) = unsafe { (&*(*shared.job.get()).body, (*shared.job.get()).tasks) };
            shared.claim_tasks(body, tasks, index + 1);
            shared.gate.fetch_sub(1, Release);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, SeqCst);
        fence(SeqCst);
        self.sleepers.iter().for_each(Thread::unpark);
        for worker in self.workers.drain(..) {
            // A worker catches what tasks panic with, so that there is nothing to learn here.
            let _ = worker.join();
        }
    }
}

/// A slice whose disjoint parts are handed to tasks: the one way kernels write from several threads.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: hands out parts of a mutably borrowed slice, disjoint by the contract of `part`.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Takes the slice over for the life of the borrow.
    pub fn new(slice: &'a mut [T]) -> Self {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// Elements `start..start + len`.
    ///
    /// # Panics
    /// If they are not within the slice.
    ///
    /// # Safety
    /// While the part lives, no other part that shares an element with it may exist.
    #[allow(clippy::mut_from_ref, reason = "disjointness is the caller's obligation")]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part {start} + {len} of {}", self.len);
        // SAFETY: within the slice; the caller keeps parts disjoint.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// First element, for kernels that write strided tiles. Writes must stay within the slice and within the task's own tile.
    pub fn as_ptr(&self) -> *mut T {
        self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 2, 5, 64, 1000] {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                pool.run(tasks, &|task| {
                    counts[task].fetch_add(1, Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Relaxed) == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn ranges_cover_all_tasks_once() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 2, 5, 64, 1001] {
                let covered: Vec<usize> = (0..threads).flat_map(|slot| pool.shared.range(slot, tasks)).collect();
                assert_eq!(covered, (0..tasks).collect::<Vec<_>>(), "{threads} threads");
            }
        }
    }

    #[test]
    fn many_short_calls_from_several_callers() {
        let pool = Pool::new(3).unwrap();
        let total = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        pool.run(4, &|task| {
                            total.fetch_add(task as u64, Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 3 * 2_000 * 6);
    }

    #[test]
    fn nested_calls_run_inline() {
        let pool = Pool::new(2).unwrap();
        let total = AtomicU32::new(0);
        pool.run(8, &|_| {
            pool.run(8, &|_| {
                total.fetch_add(1, Relaxed);
            })
        });
        assert_eq!(total.into_inner(), 64);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3).unwrap();
        for _ in 0..50 {
            let caught = catch_unwind(AssertUnwindSafe(|| pool.run(16, &|task| assert_ne!(task, 5, "task five"))));
            assert!(caught.is_err());
            let done = AtomicU32::new(0);
            pool.run(16, &|_| {
                done.fetch_add(1, Relaxed);
            });
            assert_eq!(done.into_inner(), 16);
        }
    }

    #[test]
    fn slots_are_never_shared() {
        let pool = Pool::new(4).unwrap();
        let taken: Vec<_> = (0..4).map(|_| AtomicBool::new(false)).collect();
        pool.run_on(1000, &|_, slot| {
            assert!(!taken[slot].swap(true, SeqCst));
            taken[slot].store(false, SeqCst);
        });
    }

    #[test]
    fn sleeping_workers_wake_up() {
        let pool = Pool::new(2).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let both = std::sync::Barrier::new(2);
        pool.run(2, &|_| {
            both.wait(); // passes only if two threads take part
        });
    }

    #[test]
    fn a_worker_that_met_the_caller_runs_on_another_processor() {
        let processors = std::thread::available_parallelism().unwrap().get();
        let pool = Pool::new(2).unwrap();
        for met_on in (0..processors).filter(|_| processors > 1 && processor::current().is_some()) {
            pool.shared.crowded.store(met_on, Relaxed);
            pool.shared.spread(met_on);
            let (both, caller, found) = (std::sync::Barrier::new(2), std::thread::current().id(), AtomicUsize::new(NOWHERE));
            pool.run(2, &|_| {
                if std::thread::current().id() != caller {
                    found.store(processor::current().unwrap(), Relaxed);
                }
                both.wait();
            });
            assert!(![met_on, NOWHERE].contains(&found.into_inner()), "on {met_on}");
        }
    }

    #[test]
    fn parts_cover_the_slice() {
        let pool = Pool::new(2).unwrap();
        let mut out = vec![0usize; 103];
        let parts = Parts::new(&mut out);
        pool.run(11, &|i| {
            // SAFETY: parts of different tasks do not meet.
            unsafe { parts.part(i * 10, 10.min(103 - i * 10)) }.fill(i + 1);
        });
        assert!(out.iter().enumerate().all(|(at, &v)| v == at / 10 + 1));
    }
}
