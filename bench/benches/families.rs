//! The four families on every backend compiled in: `cargo bench -p bench [--features wgpu,cuda] [FILTER]`.
//!
//! The next report of the same commit takes the results in as rows `criterion/…`.

use bench::backends::{Choice, NAMES, OpenError, open};
use bench::cases::cases;
use bench::criterion_import;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn families(criterion: &mut Criterion) {
    for name in NAMES {
        let backend = match open(name, &Choice::default()) {
            Ok(backend) => backend,
            Err(OpenError::NotCompiled(_)) => continue,
            Err(error) => {
                eprintln!("{name}: {error}");
                continue;
            }
        };
        for case in cases(false) {
            let Some(family) = case.family() else {
                continue;
            };
            let row = case.row(name, backend.info().threads as u32);
            let (mut ready, work) = match case.prepare(backend.as_ref()).and_then(|mut ready| Ok((ready.work()?, ready))) {
                Ok((work, ready)) => (ready, work),
                Err(error) => {
                    eprintln!("{}: skipped, {error}", row.id);
                    continue;
                }
            };
            let mut group = criterion.benchmark_group(family);
            group.throughput(Throughput::Elements(work.flop as u64));
            group.bench_function(&row.id, |bencher| {
                bencher.iter(|| {
                    if let Err(error) = ready.call() {
                        panic!("{}: {error}", row.id);
                    }
                });
            });
        }
    }
    if let Err(error) = criterion_import::stamp() {
        eprintln!("the report will not find these results: {error}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = families
}
criterion_main!(benches);
