//! What the run was measured on, and the counters of the system that rows draw on.
//!
//! A counter that cannot be read is `None`: nothing is estimated in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Machine;

/// What the caller knows and the system does not tell.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// GPU or software adapter in use.
    pub gpu: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Threads of the CPU backend.
    pub threads: u32,
}

/// Describes this machine and the checkout at `repository`.
pub fn describe(setup: Setup, repository: &Path) -> Machine {
    let git = |arguments: &[&str]| output("git", arguments, Some(repository));
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let dirty = commit.as_ref().and_then(|_| git(&["status", "--porcelain"])).map(|list| !list.is_empty());
    Machine {
        cpu: cpu_model().unwrap_or_else(|| "unknown".into()),
        isa: instruction_sets().into_iter().map(str::to_string).collect(),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        memory_bytes: memory_bytes(),
        gpu: setup.gpu,
        driver: setup.driver,
        os: operating_system(),
        rustc: output("rustc", &["--version"], Some(repository)).unwrap_or_else(|| "unknown".into()),
        commit,
        dirty,
        seed: setup.seed,
        threads: setup.threads,
    }
}

fn output(program: &str, arguments: &[&str], directory: Option<&Path>) -> Option<String> {
    let mut command = Command::new(program);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let output = command.args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&info, "model name")
        .map(str::to_string)
        .or_else(|| output("sysctl", &["-n", "machdep.cpu.brand_string"], None))
        .or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok())
}

fn operating_system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    format!("{name} ({})", std::env::consts::ARCH)
}

/// Physical memory, or the control group's limit where that is lower.
fn memory_bytes() -> Option<u64> {
    let physical = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(physical, |limit: u64| limit.min(physical)))
}

/// The value of `name : value` or `name: value`, the form of files under `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The bytes of a field `name: 123 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The instruction sets that matter to kernels, as found at run time.
#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<&'static str> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512fp16", is_x86_feature_detected!("avx512fp16")),
    ];
    found.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

/// The instruction sets that matter to kernels, as found at run time.
#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected;
    let found = [
        ("neon", is_aarch64_feature_detected!("neon")),
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
        ("bf16", is_aarch64_feature_detected!("bf16")),
        ("sve", is_aarch64_feature_detected!("sve")),
    ];
    found.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

/// The instruction sets that matter to kernels: none is known on this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<&'static str> {
    Vec::new()
}

/// Peak resident memory of this process since its start or the last [`reset_peak_memory`], in bytes (`VmHWM` of
/// proc(5)); `None` off Linux.
pub fn peak_memory_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// Resident memory of this process now, in bytes (`VmRSS`); `None` off Linux.
pub fn resident_memory_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// Whether the peak could be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeakReset {
    /// The next [`peak_memory_bytes`] counts from now.
    Done,
    /// The system does not allow it: a peak read later belongs to the whole run, not to a row.
    Refused,
}

/// Starts the peak anew by writing 5 to `/proc/self/clear_refs` (proc(5)).
pub fn reset_peak_memory() -> PeakReset {
    match fs::write("/proc/self/clear_refs", "5") {
        Ok(()) => PeakReset::Done,
        Err(_) => PeakReset::Refused,
    }
}

/// Energy counters of the CPU packages (RAPL, through `/sys/class/powercap`).
#[derive(Debug)]
pub struct Energy {
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// The counter wraps to 0 after this value.
    max_uj: u64,
}

/// Counter values at one moment.
#[derive(Debug)]
pub struct EnergyReading(Vec<u64>);

impl Energy {
    /// The counters of this machine; `None` where there are none or they may not be read (they usually need root).
    pub fn open() -> Option<Self> {
        Self::open_at(Path::new("/sys/class/powercap"))
    }

    fn open_at(root: &Path) -> Option<Self> {
        let mut packages = Vec::new();
        for entry in fs::read_dir(root).ok()?.flatten() {
            // Zones below a package (core, dram) are parts of it on most machines; psys contains it.
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if !name.starts_with("package-") {
                continue;
            }
            let max_uj = number(&entry.path().join("max_energy_range_uj"))?;
            let counter = entry.path().join("energy_uj");
            number(&counter)?;
            packages.push(Package { counter, max_uj });
        }
        (!packages.is_empty()).then_some(Self { packages })
    }

    /// The counters now; `None` when one cannot be read any more.
    pub fn read(&self) -> Option<EnergyReading> {
        self.packages.iter().map(|package| number(&package.counter)).collect::<Option<_>>().map(EnergyReading)
    }

    /// Joules used by all packages between two readings, at most one wrap of each counter apart. The whole machine
    /// counts, whoever used it.
    pub fn joules(&self, from: &EnergyReading, to: &EnergyReading) -> f64 {
        let pairs = self.packages.iter().zip(from.0.iter().zip(&to.0));
        let micro = |(package, (from, to)): (&Package, (&u64, &u64))| match to.checked_sub(*from) {
            Some(used) => used as f64,
            None => package.max_uj.saturating_sub(*from) as f64 + *to as f64,
        };
        pairs.map(micro).sum::<f64>() * 1e-6
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let text = "VmHWM:\t  1024 kB\nmodel name\t: AMD EPYC\nVmX: 5 pages\n";
        assert_eq!(kibibytes(text, "VmHWM"), Some(1 << 20));
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
        assert_eq!((kibibytes(text, "VmX"), kibibytes(text, "VmRSS")), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peak_memory_sees_a_large_allocation() {
        const SIZE: usize = 64 << 20;
        let reset = reset_peak_memory();
        let before = resident_memory_bytes().unwrap();
        let block = std::hint::black_box(vec![1u8; SIZE]);
        drop(block);
        if reset == PeakReset::Done {
            let grown = peak_memory_bytes().unwrap().saturating_sub(before);
            assert!(grown >= SIZE as u64 / 2, "peak grew by {grown} bytes only");
        }
    }

    #[test]
    fn energy_counts_packages_and_wraps() {
        let root = tempfile::tempdir().unwrap();
        let zone = |zone: &str, name: &str, energy_uj: u64| {
            let path = root.path().join(zone);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("name"), name).unwrap();
            fs::write(path.join("max_energy_range_uj"), "10000000\n").unwrap();
            fs::write(path.join("energy_uj"), format!("{energy_uj}\n")).unwrap();
        };
        assert!(Energy::open_at(root.path()).is_none(), "no zones, no counter");
        zone("intel-rapl:0", "package-0\n", 9_000_000);
        zone("intel-rapl:0:0", "core\n", 1);
        zone("intel-rapl:1", "package-1\n", 1_000_000);
        let energy = Energy::open_at(root.path()).unwrap();
        let from = energy.read().unwrap();
        zone("intel-rapl:0", "package-0\n", 500_000);
        zone("intel-rapl:1", "package-1\n", 3_000_000);
        assert_eq!(energy.joules(&from, &energy.read().unwrap()), 1.5 + 2.0);
    }

    #[test]
    fn this_machine_has_a_description() {
        let machine = describe(Setup { seed: 42, threads: 2, ..Setup::default() }, Path::new("."));
        assert!(machine.cores >= 1 && !machine.cpu.is_empty() && machine.os.contains(std::env::consts::ARCH));
        assert_eq!((machine.seed, machine.threads), (42, 2));
    }

    #[test]
    fn outside_a_checkout_there_is_no_commit() {
        let machine = describe(Setup::default(), Path::new("/"));
        assert_eq!((machine.commit, machine.dirty), (None, None));
    }
}
