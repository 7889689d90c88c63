//! The driver's side of the crate (`driver/gpu.rs`) on a stand-in for NVIDIA's library (`emulation/stand_in.cpp`), which runs kernels on
//! the CPU, as late as a device may, and ends the process where a driver would be misused.
//!
//! Each test runs in a process of its own: what the library is to be, its environment says.

use half::bf16;
use kernels::conformance::{Filter, Outcome, steady};
use kernels::ops::*;
use kernels::{Backend, Buffer, DType, Error, Layout, Memory, MemoryStats, Op, Result};
use kernels_cuda::compile::{KERNELS_VARIABLE, Target, ensure_present, source_names};
use kernels_cuda::{CudaBackend, LaunchCounts};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use tempfile::TempDir;

/// Says in which test's process this is.
const INSIDE: &str = "SIZEWISE_CUDA_INSIDE";

/// A process for `test`, with what the library is told.
fn process(test: &str, folder: &Path, library: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, test);
    let rest = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&rest));
    command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap()).env(KERNELS_VARIABLE, kernels());
    command.envs(library.iter().copied()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Runs `scenario` in the process of `test`, and fails with it.
fn inside(test: &str, library: &[(&str, &str)], scenario: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        return scenario();
    }
    let output = process(test, Path::new(env!("SIZEWISE_CUDA_STAND_IN")), library);
    assert!(output.status.success() && text(&output).contains("1 passed"), "{}: {}", output.status, text(&output));
}

/// A folder of machine code that the stand-in understands.
fn kernels() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stand-in-kernels");
        std::fs::create_dir_all(&folder).unwrap();
        for (source, target) in source_names().flat_map(|source| Target::PACKAGED.map(|target| (source, target))) {
            let image = format!("stand-in {source}\0");
            let file = [blake3::hash(image.as_bytes()).as_bytes(), image.as_bytes()].concat();
            // Put in place as a whole: another process may read it.
            let draft = folder.join(format!("{source}-{target}.{}", std::process::id()));
            std::fs::write(&draft, file).unwrap();
            std::fs::rename(draft, folder.join(format!("{source}-{target}.cubin"))).unwrap();
        }
        folder
    });
    &FOLDER
}

fn open() -> CudaBackend {
    CudaBackend::new(None).unwrap()
}

fn uploaded<T: kernels::Element>(on: &CudaBackend, values: &[T]) -> Result<Buffer> {
    let mut buffer = on.alloc(T::DTYPE, values.len())?;
    Upload::new(values, buffer.view_mut([values.len()])?).run(on)?;
    Ok(buffer)
}

fn downloaded(on: &CudaBackend, buffer: &Buffer) -> Result<Vec<f32>> {
    let mut host = vec![0f32; buffer.len()];
    Download::new(buffer.view([buffer.len()])?, &mut host).run(on)?;
    Ok(host)
}

/// A few calls of every kind: uploads, launches, memory from one kernel to the next, a download.
fn step(on: &CudaBackend) -> Result<Vec<f32>> {
    let table = uploaded(on, &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    let index = uploaded(on, &[2u32, 0])?;
    let mut rows = on.alloc(DType::F32, 4)?;
    Gather { table: table.view([3, 2])?, index: index.view([2])?, out: rows.view_mut([2, 2])? }.run(on)?;
    let mut out = on.alloc(DType::F32, 4)?;
    Softmax { x: rows.view([2, 2])?, out: out.view_mut([2, 2])? }.run(on)?;
    downloaded(on, &out)
}

fn right(softmax: &[f32]) -> bool {
    let low = 1.0 / (1.0 + 1f32.exp());
    softmax.iter().zip([low, 1.0 - low, low, 1.0 - low]).all(|(got, want)| (got - want).abs() < 1e-6)
}

#[test]
fn all_ops_meet_the_contract() {
    // By way of graphs, where launches come a second time.
    inside("all_ops_meet_the_contract", &[("SIZEWISE_CUDA_GRAPHS", "1")], || {
        let filter = Filter { scale: 0.004, max_dim: 64, arithmetic: Default::default(), ..Filter::quarter() };
        let on = open();
        let report = kernels::conformance::run(&on, &filter);
        assert!(report.rows.len() > 100);
        let LaunchCounts { graphs_made, graphs_started, .. } = on.launch_counts();
        assert!(graphs_made >= 100 && graphs_started > graphs_made, "{:?}", on.launch_counts());
        for row in report.rows {
            if let Outcome::Failed(why) = row.outcome {
                panic!("{}/{}: {why}", row.op, row.group);
            }
        }
    });
}

/// A product for Hopper's own tensor cores: whether it is right.
fn product(on: &CudaBackend) -> Result<bool> {
    let (a, b) = (uploaded(on, &[bf16::ONE; 136 * 64])?, uploaded(on, &[bf16::from_f32(2.0); 64 * 136])?);
    let mut out = on.alloc(DType::F32, 136 * 136)?;
    let (a, b) = (a.view([136, 64])?, b.view([64, 136])?);
    Matmul { a, b, alpha: 1.0, beta: 0.0, out: out.view_mut([136, 136])? }.run(on)?;
    Ok(downloaded(on, &out)?.iter().all(|&sum| sum == 128.0))
}

#[test]
fn hopper_has_products_of_its_own() {
    inside("hopper_has_products_of_its_own", &[], || {
        let on = open();
        assert!(product(&on).unwrap());
        assert_eq!(on.hopper_products(), 1);
    });
}

#[test]
fn a_second_step_allocates_nothing() {
    inside("a_second_step_allocates_nothing", &[], || steady(&open()).unwrap());
}

/// Some ops of a training step, several of whose parameters are of this step alone.
fn train(on: &CudaBackend, buffers: &mut [Buffer; 4], number: u32) -> Result<Vec<f32>> {
    let [a, b, c, index] = buffers;
    let (shape, dims, all) = ([6, 4], [1, 6, 1, 4], [24]);
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    Random { seed: 1, stream: number.into(), distribution, out: a.view_mut(all)? }.run(on)?;
    for layer in 0..number % 3 + 9 {
        let (pairing, direction) = (Pairing::Halves, Direction::Forward);
        Rope { x: a.view(dims)?, position: number as usize, theta: 1e4, pairing, direction, out: b.view_mut(dims)? }.run(on)?;
        Softmax { x: b.view(shape)?, out: c.view_mut(shape)? }.run(on)?;
        Gather { table: c.view(shape)?, index: index.view([6])?, out: b.view_mut(shape)? }.run(on)?;
        Axpy { alpha: (number + layer) as f32, x: b.view(all)?, out: a.view_mut(all)? }.run(on)?;
    }
    downloaded(on, a)
}

fn buffers(on: &CudaBackend) -> Result<[Buffer; 4]> {
    let floats = || uploaded(on, &[0f32; 24]);
    Ok([floats()?, floats()?, floats()?, uploaded(on, &[5u32, 0, 1, 1, 4, 2])?])
}

/// Results of steps, and what was launched for those after the first nine.
fn steps(numbers: std::ops::Range<u32>) -> (Vec<Vec<f32>>, LaunchCounts) {
    let on = open();
    let mut own = buffers(&on).unwrap();
    let mut results = Vec::new();
    let mut early = LaunchCounts::default();
    for number in numbers {
        if results.len() == 9 {
            early = on.launch_counts();
        }
        results.push(train(&on, &mut own, number).unwrap());
    }
    let LaunchCounts { kernels, graphs_made, graphs_started, updates } = on.launch_counts();
    let since = LaunchCounts {
        kernels: kernels - early.kernels,
        graphs_made: graphs_made - early.graphs_made,
        graphs_started: graphs_started - early.graphs_started,
        updates: updates - early.updates,
    };
    (results, since)
}

#[test]
fn steps_become_graphs_and_give_the_same_bits() {
    inside("steps_become_graphs_and_give_the_same_bits", &[], || {
        let (results, counts) = steps(0..15);
        // The first step of a backend has no graph.
        for (number, result) in (0..).zip(&results) {
            assert_eq!(steps(number..number + 1).0[0], *result, "step {number}");
        }
        // Two steps each of 37, 41 and 45 launches, in pieces of 8, 16 and the rest.
        assert_eq!((counts.kernels, counts.graphs_made, counts.graphs_started), (2 * (37 + 41 + 45), 0, 18), "{counts:?}");
        // Of each step the random numbers, and rope and axpy of each layer.
        assert_eq!(counts.updates, 2 * (3 + 2 * (9 + 10 + 11)));
    });
}

#[test]
fn graphs_can_be_turned_off() {
    inside("graphs_can_be_turned_off", &[("SIZEWISE_CUDA_GRAPHS", "off")], || {
        let counts = steps(0..15).1;
        assert_eq!(counts, LaunchCounts { kernels: 246, ..LaunchCounts::default() });
    });
}

/// A device that makes no graph, changes none or has no memory to start one does without.
#[test]
fn steps_go_on_without_graphs_that_cannot_be_had() {
    const NAME: &str = "steps_go_on_without_graphs_that_cannot_be_had";
    if std::env::var_os(INSIDE).is_some() {
        let (results, counts) = steps(0..15);
        assert_eq!(counts.kernels, 246);
        let fault = std::env::var("STAND_IN_FAIL").unwrap();
        let (name, _) = fault.split_once(':').unwrap();
        // The second backend in the process is that of a device without faults.
        for (number, result) in (0..).zip(&results) {
            assert_eq!(steps(number..number + 1).0[0], *result, "step {number} after {name}");
        }
        return;
    }
    let folder = Path::new(env!("SIZEWISE_CUDA_STAND_IN"));
    for fault in ["cuGraphInstantiateWithFlags:1:1", "cuGraphExecKernelNodeSetParams_v2:2:1", "cuGraphLaunch:2:2"] {
        let name = fault.split(':').next().unwrap();
        assert!(entry_points().iter().any(|entry| entry == name), "{name} of {:?}", entry_points());
        let output = process(NAME, folder, &[("STAND_IN_FAIL", fault)]);
        assert!(output.status.success() && text(&output).contains("1 passed"), "{fault}: {}", text(&output));
    }
}

/// A launch that is lost takes all that follow along, even where the call that lost it has no one to tell: they might write where memory
/// has been given back.
#[test]
fn nothing_is_launched_after_a_launch_that_failed() {
    const NAME: &str = "nothing_is_launched_after_a_launch_that_failed";
    inside(NAME, &[("STAND_IN_FAIL", "cuLaunchKernel:1:1")], || {
        let on = open();
        let [mut out, first, second] = [(); 3].map(|()| on.alloc(DType::F32, 8).unwrap());
        let mut fill = || Fill { out: out.view_mut([8]).unwrap(), value: 1.0 }.run(&on);
        for dropped in [first, second] {
            fill().unwrap();
            drop(dropped);
        }
        assert_eq!(on.launch_counts(), LaunchCounts::default());
        let why = on.sync().unwrap_err();
        assert!(matches!(why, Error::Fault { .. }), "{why}");
        assert_eq!(fill(), Err(why));
    });
}

/// More sequences than are remembered: some are forgotten, and others take their place.
#[test]
fn sequences_that_do_not_come_again_are_forgotten() {
    inside("sequences_that_do_not_come_again_are_forgotten", &[("SIZEWISE_CUDA_GRAPHS", "1")], || {
        let on = open();
        let (mut words, mut bytes) = (on.alloc(DType::F32, 8).unwrap(), on.alloc(DType::U8, 8).unwrap());
        for sequence in 0..250u32 {
            for round in 0..2 {
                for place in 0..8 {
                    let out = if sequence >> place & 1 == 0 { &mut words } else { &mut bytes };
                    let out = out.view_mut_as(Layout::strided([1], &[1], place).unwrap()).unwrap();
                    Fill { out, value: f64::from(sequence % 16 + round) }.run(&on).unwrap();
                }
                on.sync().unwrap();
            }
            let got = downloaded(&on, &words).unwrap();
            let right = |place: usize| sequence >> place & 1 != 0 || got[place] == (sequence % 16 + 1) as f32;
            assert!((0..8).all(right), "{sequence}: {got:?}");
        }
        assert_eq!(on.launch_counts().graphs_made, 250);
    });
}

#[test]
fn uploads_of_any_size_arrive_as_they_were() {
    inside("uploads_of_any_size_arrive_as_they_were", &[], || {
        let on = open();
        // Five stages and a bit, then many small ones that go around the ring again, from memory that changes at once.
        let mut host: Vec<f32> = (0..(21 << 20) / 4 + 1).map(|i| i as f32).collect();
        let large = uploaded(&on, &host).unwrap();
        let small: Vec<Buffer> = (0..40)
            .map(|k| {
                host[..100_000].fill(k as f32);
                uploaded(&on, &host[..100_000]).unwrap()
            })
            .collect();
        assert!(downloaded(&on, &large).unwrap().iter().enumerate().all(|(i, &value)| value == i as f32));
        for (k, buffer) in small.iter().enumerate() {
            assert!(downloaded(&on, buffer).unwrap().iter().all(|&value| value == k as f32));
        }
    });
}

#[test]
fn memory_outlives_its_backend_and_threads_share_one() {
    inside("memory_outlives_its_backend_and_threads_share_one", &[("SIZEWISE_CUDA_GRAPHS", "1")], || {
        let on = open();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..10).for_each(|_| assert!(right(&step(&on).unwrap()))));
            }
        });
        assert!(on.launch_counts().graphs_started > 0);
        let mut gone = uploaded(&on, &[1f32; 10]).unwrap();
        Fill { out: gone.view_mut([10]).unwrap(), value: 2.0 }.run(&on).unwrap();
        // With a kernel on it that has not run.
        drop(gone);
        on.sync().unwrap();
        let kept = uploaded(&on, &[1f32; 10]).unwrap();
        drop(on);
        // A second one on the same device, beside what is left of the first.
        assert!(right(&step(&open()).unwrap()));
        drop(kept);
    });
}

#[test]
fn an_index_out_of_range_is_told_by_the_next_wait_and_once() {
    inside("an_index_out_of_range_is_told_by_the_next_wait_and_once", &[], || {
        let on = open();
        let (table, index) = (uploaded(&on, &[1f32; 8]).unwrap(), uploaded(&on, &[3u32, 4, 0]).unwrap());
        let mut out = on.alloc(DType::F32, 6).unwrap();
        Gather { table: table.view([4, 2]).unwrap(), index: index.view([3]).unwrap(), out: out.view_mut([3, 2]).unwrap() }
            .run(&on)
            .unwrap();
        assert_eq!(on.sync(), Err(Error::Index { op: "gather", arg: "index", at: 1, limit: 4, got: 4 }));
        assert_eq!(on.sync(), Ok(()));
    });
}

#[test]
fn exhausted_memory_is_an_error_and_nothing_breaks() {
    inside("exhausted_memory_is_an_error_and_nothing_breaks", &[], || {
        let on = open();
        let most = uploaded(&on, &[0f32; 4]).unwrap();
        // The device has 8 GiB, of which some are taken.
        assert_eq!(on.alloc(DType::F32, 2 << 30).err(), Some(Error::OutOfMemory { backend: "cuda", wanted_bytes: 8 << 30 }));
        assert_eq!(on.memory_stats().live_bytes, 16);
        assert!(right(&step(&on).unwrap()));
        drop(most);
        assert_eq!(on.memory_stats(), MemoryStats { live_bytes: 0, ..on.memory_stats() });
    });
}

#[test]
fn a_kernels_fault_is_sticky_and_names_who_may_be_to_blame() {
    const NAME: &str = "a_kernels_fault_is_sticky_and_names_who_may_be_to_blame";
    inside(NAME, &[("STAND_IN_FAIL", "kernel:2:700")], || {
        let on = open();
        let Err(first) = step(&on) else { panic!("a kernel that fails goes unseen") };
        let Error::Fault { backend: "cuda", op: "download", what } = &first else { panic!("{first}") };
        assert!(
            what.contains("ILLEGAL_ADDRESS") && what.ends_with("since the last wait: alloc, upload, gather, softmax"),
            "{what}"
        );
        assert_eq!(on.sync(), Err(first.clone()));
        assert_eq!(step(&on), Err(first));
    });
}

#[test]
fn a_launch_that_fails_names_its_op() {
    const NAME: &str = "a_launch_that_fails_names_its_op";
    inside(NAME, &[("SIZEWISE_CUDA_GRAPHS", "off"), ("STAND_IN_FAIL", "cuLaunchKernel:2:719")], || {
        let on = open();
        let Err(first) = step(&on) else { panic!("a launch that fails goes unseen") };
        assert!(matches!(&first, Error::Fault { op: "softmax", .. }), "{first}");
        assert_eq!(on.sync(), Err(first));
    });
}

/// What comes by every entry point: steps that become graphs, graphs that change, uploads that go around the ring of stages, and Hopper's own
/// products. Whether results are right.
fn everything(on: &CudaBackend) -> [Result<bool>; 7] {
    let plain = || Ok(right(&step(on)?));
    let changing = || {
        let (mut same, mut other) = (on.alloc(DType::F32, 5)?, on.alloc(DType::F32, 5)?);
        for value in [1.0, 2.0, 3.0, 4.0] {
            Fill { out: same.view_mut([5])?, value: 7.0 }.run(on)?;
            Fill { out: other.view_mut([5])?, value }.run(on)?;
            if downloaded(on, &other)? != [value as f32; 5] {
                return Ok(false);
            }
        }
        Ok(downloaded(on, &same)? == [7.0; 5])
    };
    let large = || Ok(downloaded(on, &uploaded(on, &vec![1f32; (17 << 20) / 4])?)?.iter().all(|&value| value == 1.0));
    [plain(), plain(), plain(), changing(), large(), large(), product(on)]
}

/// Fails every call there is, once: nothing panics, nothing is misused, and where memory was short all goes on.
#[test]
fn whichever_call_fails_is_told() {
    const NAME: &str = "whichever_call_fails_is_told";
    if std::env::var_os(INSIDE).is_some() {
        match CudaBackend::new(None).map(|on| everything(&on)) {
            Err(why) => assert!(matches!(why, Error::Unavailable { .. }), "{why}"),
            Ok(results) => {
                for result in results {
                    match result {
                        Ok(right) => assert!(right),
                        Err(Error::Fault { op, .. }) => assert!(!op.is_empty()),
                        Err(Error::OutOfMemory { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
        return;
    }
    let folder = Path::new(env!("SIZEWISE_CUDA_STAND_IN"));
    let graphs = ("SIZEWISE_CUDA_GRAPHS", "1");
    let counted = text(&process(NAME, folder, &[graphs, ("STAND_IN_COUNT", "1")]));
    // That which tells what failed does not fail itself.
    for name in entry_points().into_iter().filter(|name| name != "cuGetErrorString") {
        let count = counted.split(&format!("stand-in driver: {name} was called ")).nth(1);
        let count: usize = count.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
        assert!(count > 0, "nothing comes by {name}: {counted}");
        for nth in 1..=count.min(2) {
            for code in [2, 999] {
                let output = process(NAME, folder, &[graphs, ("STAND_IN_FAIL", &format!("{name}:{nth}:{code}"))]);
                let text = text(&output);
                assert!(output.status.success(), "{name}, call {nth}, error {code}: {}: {text}", output.status);
                assert!(text.contains(&format!("stand-in driver: {name} fails as it was to")), "{name}, call {nth}: {text}");
            }
        }
    }
}

/// Names of the stand-in's entry points, as its table of symbols has them.
fn entry_points() -> Vec<String> {
    let library = std::fs::read(Path::new(env!("SIZEWISE_CUDA_STAND_IN")).join("libcuda.so")).unwrap();
    let words = library.split(|&byte| byte == 0).filter_map(|word| std::str::from_utf8(word).ok());
    // Shorter ones are machine code.
    let is_name = |word: &&str| {
        word.len() >= "cuInit".len() && word.starts_with("cu") && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut names: Vec<String> =
        words.filter(is_name).filter(|word| word[2..].starts_with(char::is_uppercase)).map(String::from).collect();
    names.sort();
    names.dedup();
    names
}

fn refuses(test: &str, library: &[(&str, &str)], words: &str) {
    inside(test, library, || match CudaBackend::new(None) {
        Err(Error::Unavailable { backend: "cuda", reason, remedy }) => {
            assert!(reason.contains(words) && remedy.contains("--backend cpu"), "{reason}; {remedy}");
        }
        other => panic!("{:?}", other.err()),
    });
}

#[test]
fn no_device_is_said() {
    refuses("no_device_is_said", &[("STAND_IN_DEVICES", "0")], "CUDA_ERROR_NO_DEVICE");
}

#[test]
fn an_old_device_is_said() {
    refuses("an_old_device_is_said", &[("STAND_IN_CAPABILITY", "75")], "compute capability 7.5");
}

#[test]
fn an_old_driver_is_said() {
    refuses("an_old_driver_is_said", &[("STAND_IN_VERSION", "11040")], "CUDA 11.4; CUDA 12.0 or newer");
}

#[test]
fn a_compiler_newer_than_the_driver_is_said() {
    const NAME: &str = "a_compiler_newer_than_the_driver_is_said";
    ensure_present().unwrap_or_else(|why| panic!("{why}"));
    refuses(NAME, &[("STAND_IN_VERSION", "12040"), (KERNELS_VARIABLE, "")], "CUDA 12.4 and cannot load what NVRTC 13");
}

#[test]
fn a_word_for_graphs_without_meaning_is_said() {
    refuses("a_word_for_graphs_without_meaning_is_said", &[("SIZEWISE_CUDA_GRAPHS", "0")], "SIZEWISE_CUDA_GRAPHS is `0`");
}

#[test]
fn kernels_for_products_that_the_device_has_not_are_said() {
    let test = "kernels_for_products_that_the_device_has_not_are_said";
    refuses(test, &[("STAND_IN_CAPABILITY", "80"), ("SIZEWISE_CUDA_PRODUCTS", "hopper")], "no device of compute capability 9.0");
}

#[test]
fn a_package_that_the_driver_cannot_load_is_said() {
    const NAME: &str = "a_package_that_the_driver_cannot_load_is_said";
    refuses(NAME, &[("STAND_IN_FAIL", "cuModuleLoadData:1:222")], "the packaged kernels cannot be loaded");
}

#[test]
fn a_device_that_the_package_has_no_kernels_for_is_said() {
    const NAME: &str = "a_device_that_the_package_has_no_kernels_for_is_said";
    refuses(NAME, &[("STAND_IN_CAPABILITY", "100")], "no kernels for sm_100");
}

/// Without any one of its entry points the library is not used: cudarc would panic.
#[test]
fn an_incomplete_library_is_said() {
    const NAME: &str = "an_incomplete_library_is_said";
    if std::env::var_os(INSIDE).is_some() {
        return refuses(NAME, &[], "too old: it has no cu");
    }
    let library = std::fs::read(Path::new(env!("SIZEWISE_CUDA_STAND_IN")).join("libcuda.so")).unwrap();
    for name in entry_points() {
        // Its name becomes another one, wherever it stands.
        let (from, to) = (format!("\0{name}\0"), format!("\0X{}\0", &name[1..]));
        let mut without = library.clone();
        for at in 0..without.len() - from.len() {
            if without[at..].starts_with(from.as_bytes()) {
                without[at..at + from.len()].copy_from_slice(to.as_bytes());
            }
        }
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("libcuda.so"), without).unwrap();
        let output = process(NAME, folder.path(), &[]);
        assert!(output.status.success(), "{name}: {}", text(&output));
    }
}

#[test]
fn devices_are_told_apart() {
    inside("devices_are_told_apart", &[("STAND_IN_DEVICES", "2")], || {
        let opened = |device| CudaBackend::new(Some(device)).unwrap();
        assert_eq!([open(), opened("0"), opened("stand-in a"), opened("in")].map(|on| on.info().name.clone()), ["Stand-in A"; 4]);
        for unknown in ["2", "-1", "18446744073709551615", "H200", ""] {
            let Err(Error::Unavailable { reason, remedy, .. }) = CudaBackend::new(Some(unknown)) else { panic!("{unknown}") };
            assert_eq!(reason, format!("no device is `{unknown}`; the driver lists 0: Stand-in A, 1: Stand-in B"));
            assert!(remedy.contains("--device"));
        }
        let (first, second) = (opened("0"), opened("B"));
        assert_eq!([&first, &second].map(|on| on.info().name.as_str()), ["Stand-in A", "Stand-in B"]);
        assert_eq!([&first, &second].map(|on| on.info().features.as_str()), ["sm_90", "sm_80"]);
        // Their calls alternate on this thread.
        for _ in 0..3 {
            assert!(right(&step(&first).unwrap()) && right(&step(&second).unwrap()));
        }
    });
}

/// One op with machine code that NVRTC makes, then once more from the cache.
#[test]
fn machine_code_is_made_and_kept() {
    const NAME: &str = "machine_code_is_made_and_kept";
    if std::env::var_os(INSIDE).is_some() {
        let on = open();
        let mut out = on.alloc(DType::F32, 5).unwrap();
        Fill { out: out.view_mut([5]).unwrap(), value: 2.5 }.run(&on).unwrap();
        assert_eq!(downloaded(&on, &out), Ok(vec![2.5; 5]));
        return;
    }
    ensure_present().unwrap_or_else(|why| panic!("{why}"));
    let cache = TempDir::new().unwrap();
    let kept =
        || cache.path().read_dir().unwrap().map(|file| file.unwrap().metadata().unwrap().modified().unwrap()).collect::<Vec<_>>();
    let library = [("SIZEWISE_CACHE", cache.path().to_str().unwrap()), (KERNELS_VARIABLE, "")];
    let mut times = Vec::new();
    for _ in 0..2 {
        let output = process(NAME, Path::new(env!("SIZEWISE_CUDA_STAND_IN")), &library);
        assert!(output.status.success(), "{}: {}", output.status, text(&output));
        times.push(kept());
    }
    assert_eq!((times[0].len(), &times[0]), (1, &times[1]));
}
