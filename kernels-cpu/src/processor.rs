//! The processor a thread runs on, and how it gets to another. Linux tells and obeys; elsewhere nothing happens.

/// The processor this thread runs on at the moment.
#[cfg(target_os = "linux")]
pub(crate) fn current() -> Option<usize> {
    // SAFETY: no preconditions.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// The number of this thread.
#[cfg(target_os = "linux")]
pub(crate) fn this_thread() -> i32 {
    // SAFETY: no preconditions. A number of a thread is an i32; old C libraries have no function for it.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Keeps other threads off a processor: they may use all others that this thread may, if that is one for each.
#[cfg(target_os = "linux")]
pub(crate) fn keep_off(threads: impl ExactSizeIterator<Item = i32>, processor: usize) {
    const SIZE: usize = size_of::<libc::cpu_set_t>();
    // SAFETY: a set is plain bits, of the size that is told; the processor is among them.
    unsafe {
        let mut others: libc::cpu_set_t = std::mem::zeroed();
        if processor >= 8 * SIZE || libc::sched_getaffinity(0, SIZE, &mut others) != 0 {
            return;
        }
        libc::CPU_CLR(processor, &mut others);
        if libc::CPU_COUNT(&others) as usize >= threads.len() {
            threads.for_each(|thread| {
                // Refused, it stays where it is.
                libc::sched_setaffinity(thread, SIZE, &others);
            });
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn current() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn this_thread() -> i32 {
    0
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_off(_threads: impl ExactSizeIterator<Item = i32>, _processor: usize) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_kept_off_a_processor_runs_on_another() {
        let (to_test, from_thread) = channel();
        let (to_thread, from_test) = channel();
        let thread = std::thread::spawn(move || {
            to_test.send(this_thread()).unwrap();
            from_test.iter().for_each(|()| to_test.send(current().unwrap() as i32).unwrap());
        });
        let number = from_thread.recv().unwrap();
        let processors = std::thread::available_parallelism().unwrap().get();
        for kept_off in (0..processors).chain([usize::MAX]) {
            keep_off([number].into_iter(), kept_off);
            to_thread.send(()).unwrap();
            let runs_on = from_thread.recv().unwrap() as usize;
            assert!(processors == 1 || runs_on != kept_off, "{runs_on}");
        }
        drop(to_thread);
        thread.join().unwrap();
    }
}
