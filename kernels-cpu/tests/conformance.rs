//! The conformance suite on this backend, with the instruction set and threads of `SIZEWISE_ISA` and `SIZEWISE_THREADS`.
//!
//! Kinds: `plain` as users run it; `end` and `start` with a guard page at that side of every allocation and 3 threads, on a
//! quarter of the cases; `bits` compares numbers of threads bit by bit.

use kernels::Backend;
use kernels::conformance::{self, Filter, same_bits};
use kernels_cpu::{CpuBackend, Guard};
use libtest_mimic::{Arguments, Failed, Trial};

fn open(threads: Option<usize>, guard: Guard) -> kernels::Result<Box<dyn Backend>> {
    let builder = CpuBackend::builder().guard(guard);
    let builder = threads.map_or(builder, |threads| builder.threads(threads));
    Ok(Box::new(builder.build()?))
}

fn main() {
    if std::env::var_os("SIZEWISE_REPLAY").is_some() {
        conformance::main(|| open(None, Guard::None));
    }
    let all = Filter::default().from_environment();
    let quarter = Filter { scale: all.scale / 4.0, ..all.clone() };
    let kind = |kind: &'static str| move |trial: Trial| trial.with_kind(kind);
    let mut trials: Vec<_> = conformance::tests(&all, || open(None, Guard::None)).into_iter().map(kind("plain")).collect();
    #[cfg(unix)]
    for (name, guard) in [("end", Guard::AtEnd), ("start", Guard::AtStart)] {
        trials.extend(conformance::tests(&quarter, move || open(Some(3), guard)).into_iter().map(kind(name)));
    }
    for threads in [2, 3, 7] {
        let filter = all.clone();
        let check = move || {
            let (one, many) = (open(Some(1), Guard::None), open(Some(threads), Guard::None));
            let (one, many) = (one.map_err(|e| e.to_string())?, many.map_err(|e| e.to_string())?);
            same_bits(&*one, &*many, &filter, 4).map_err(Failed::from)
        };
        trials.push(Trial::test(format!("one_and_{threads}_threads"), check).with_kind("bits"));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
