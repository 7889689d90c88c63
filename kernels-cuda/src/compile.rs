//! CUDA C++ to the device's own machine code, by NVRTC, kept on disk.

use crate::cache;
use crate::driver::library::version_text;
use crate::source::{HEADERS, Source};
use cudarc::nvrtc::{result, sys};
use std::cmp::Reverse;
use std::ffi::{CString, c_char};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What machine code is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    major: u32,
    minor: u32,
    /// Whether the features of this very architecture are used (`sm_90a`), which no other runs.
    specific: bool,
}

impl Target {
    /// The targets that every test run compiles: Ampere, Hopper, and Hopper with its own features.
    pub const ALL: [Target; 3] = [Target::new(8, 0, false), Target::new(9, 0, false), Target::new(9, 0, true)];

    /// Those that packages carry: no device would take plain Hopper's.
    pub const PACKAGED: [Target; 2] = [Target::new(8, 0, false), Target::new(9, 0, true)];

    const fn new(major: u32, minor: u32, specific: bool) -> Self {
        Target { major, minor, specific }
    }

    /// Of a device of this compute capability.
    pub(crate) fn of_device(major: u32, minor: u32) -> Self {
        Target::new(major, minor, (major, minor) == (9, 0))
    }

    /// The target of [`Target::PACKAGED`] whose code runs on a device of `self`'s architecture.
    fn packaged(self) -> Option<Target> {
        // Code for a smaller minor version runs, unless it is specific; code for another major version does not.
        let runs = |of: &Target| of == &self || (!of.specific && of.major == self.major && of.minor <= self.minor);
        Target::PACKAGED.into_iter().rev().find(runs)
    }

    fn option(self) -> String {
        format!("--gpu-architecture={self}")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}{}", self.major, self.minor, if self.specific { "a" } else { "" })
    }
}

/// What the compiler says of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelUse {
    /// Its name.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of a thread's own memory: arrays that could not be kept in registers.
    pub stack_bytes: u32,
    /// Bytes that go from registers to memory, and back, for want of registers.
    pub spill_bytes: u32,
}

/// Machine code of the kernels of one source, or of one of them.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The code, an ELF file (cubin).
    pub cubin: Vec<u8>,
    /// What its kernels use.
    pub kernels: Vec<KernelUse>,
}

impl Source {
    /// Whether a device of this target runs the source's kernels.
    fn serves(&self, target: Target) -> bool {
        self.hopper.is_none() || target.specific
    }
}

/// Those of [`Target::ALL`] that a source, by its name, is compiled for.
pub fn targets_of(source: &str) -> impl Iterator<Item = Target> {
    let found = crate::source::ALL.iter().find(|of| of.name == source);
    Target::ALL.into_iter().filter(move |&target| found.is_some_and(|of| of.serves(target)))
}

/// Names of the sources, to [`compile`].
pub fn source_names() -> impl Iterator<Item = &'static str> {
    crate::source::ALL.iter().map(|source| source.name)
}

/// Compiles a source, by its name, or one kernel of it, for a target. Takes NVRTC and no GPU.
///
/// # Errors
/// The compiler's log; the remedy, where there is no compiler; a name that is none.
pub fn compile(source: &str, kernel: Option<&str>, target: Target) -> Result<Compiled, String> {
    let found = crate::source::ALL.iter().find(|of| of.name == source);
    let compiled = build(found.ok_or_else(|| format!("there is no source {source}.cu"))?, kernel, target)?;
    match kernel {
        Some(name) if compiled.kernels.is_empty() => Err(format!("there is no kernel {name} in {source}.cu")),
        _ => Ok(compiled),
    }
}

/// Reads the log of `--ptxas-options=-v`.
fn kernels_used(log: &str) -> Vec<KernelUse> {
    let mut kernels: Vec<KernelUse> = Vec::new();
    let before = |line: &str, what: &str| {
        line.split(what).next().and_then(|text| text.split([' ', ',']).rfind(|word| !word.is_empty())?.parse().ok()).unwrap_or(0)
    };
    for line in log.lines() {
        if let Some(name) = line.split("Compiling entry function '").nth(1) {
            kernels.push(KernelUse { kernel: name.split('\'').next().unwrap_or(name).to_owned(), ..KernelUse::default() });
        } else if let Some(kernel) = kernels.last_mut() {
            if line.contains("bytes stack frame") {
                kernel.stack_bytes = before(line, " bytes stack frame");
                kernel.spill_bytes = before(line, " bytes spill stores") + before(line, " bytes spill loads");
            } else if line.contains(" registers") {
                kernel.registers = before(line, " registers");
            }
        }
    }
    kernels
}

const REMEDY: &str =
    "install NVRTC 12.5 or newer: `pip install nvidia-cuda-nvrtc` and its folder in LD_LIBRARY_PATH, or the CUDA toolkit";

/// Options of every compilation. Subnormals are kept, divisions and roots correctly rounded: NVRTC's defaults, said aloud.
const OPTIONS: [&str; 7] = [
    "--std=c++17",
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--fmad=true",
    "--device-as-default-execution-space",
    "--ptxas-options=-v",
];

/// Whether NVRTC can be loaded.
///
/// # Errors
/// The remedy, where it cannot.
pub fn ensure_present() -> Result<(), String> {
    // cudarc panics on the first call when the library is missing, so its presence is asked first.
    // SAFETY: only tries to load the library, whose initialisers are NVIDIA's own.
    match unsafe { sys::is_culib_present() } {
        true => Ok(()),
        false => Err(format!("NVRTC, the run-time compiler of CUDA, is not installed; {REMEDY}")),
    }
}

/// What is compiled: a source, or one of its kernels, as `cu/platform.cuh` picks it.
fn program(source: &Source, kernel: Option<&str>) -> String {
    match kernel {
        None => source.text.to_owned(),
        Some(name) => format!("#define WANTED_{name} , COMPILED\n#define OTHERS LEFT_OUT\n#line 1\n{}", source.text),
    }
}

fn build(source: &Source, kernel: Option<&str>, target: Target) -> Result<Compiled, String> {
    ensure_present()?;
    let text = |text: &str| CString::new(text).map_err(|error| format!("{}.cu: {error}", source.name));
    let (code, name) = (text(&program(source, kernel))?, text(&format!("{}.cu", source.name))?);
    let mut headers = Vec::new();
    for (name, content) in HEADERS {
        headers.push((text(name)?, text(content)?));
    }
    let names: Vec<*const c_char> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
    let contents: Vec<*const c_char> = headers.iter().map(|(_, content)| content.as_ptr()).collect();
    let arch = target.option();
    let options: Vec<&str> = OPTIONS.into_iter().chain([arch.as_str()]).collect();
    let mut program = std::ptr::null_mut();
    // SAFETY: the strings live until the program is destroyed, and there are as many headers as said.
    let created = unsafe {
        let count = headers.len() as i32;
        sys::nvrtcCreateProgram(&mut program, code.as_ptr(), name.as_ptr(), count, contents.as_ptr(), names.as_ptr())
    };
    created.result().map_err(|error| format!("{}.cu: NVRTC cannot start: {error}", source.name))?;
    // SAFETY: created above, destroyed below.
    let compiled = unsafe { result::compile_program(program, &options) };
    let log = log(program);
    let built = match compiled {
        Ok(()) => match cubin(program) {
            Ok(cubin) => Ok(Compiled { cubin, kernels: kernels_used(&log) }),
            Err(error) => Err(format!("{}.cu: no machine code: {error}", source.name)),
        },
        Err(error) => Err(format!("{}.cu for {target}: {error}\n{log}", source.name)),
    };
    // SAFETY: not used any more.
    let destroyed = unsafe { result::destroy_program(program) };
    destroyed.map_err(|error| format!("{}.cu: {error}", source.name))?;
    built
}

fn cubin(program: sys::nvrtcProgram) -> Result<Vec<u8>, result::NvrtcError> {
    let mut size = 0;
    // SAFETY: a compiled program; the buffer is as large as NVRTC asks.
    unsafe {
        sys::nvrtcGetCUBINSize(program, &mut size).result()?;
        let mut cubin = vec![0u8; size];
        sys::nvrtcGetCUBIN(program, cubin.as_mut_ptr().cast()).result()?;
        Ok(cubin)
    }
}

fn log(program: sys::nvrtcProgram) -> String {
    // SAFETY: a program that was compiled, if without success.
    match unsafe { result::get_program_log(program) } {
        Ok(log) => String::from_utf8_lossy(bytemuck::cast_slice(&log)).trim_end_matches('\0').trim().to_owned(),
        Err(error) => format!("no log: {error}"),
    }
}

/// Version of the compiler, as part of what its results are kept by.
fn version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: writes two integers. An error leaves zeros, a key like any other.
    let _ = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    (major, minor)
}

/// The variable that names a folder of machine code made before, one file `SOURCE-TARGET.cubin` each, as packages carry it: NVRTC is
/// then not needed.
pub const KERNELS_VARIABLE: &str = "SIZEWISE_CUDA_KERNELS";

fn file_name(source: &Source, target: Target) -> String {
    format!("{}-{target}.cubin", source.name)
}

/// Compiles every source for the targets of packages, or for one of them, into files of such a folder, with a hash of their content, on
/// all cores; says of each that it is done, and gives their number.
///
/// # Errors
/// As [`compile`]; a file that cannot be written.
pub fn package(folder: &Path, only: Option<&str>, done: impl Fn(&str) + Sync) -> Result<usize, String> {
    let mut files: Vec<_> =
        crate::source::ALL.iter().flat_map(|&source| Target::PACKAGED.map(|target| (source, target))).collect();
    files.retain(|(source, target)| source.serves(*target) && only.is_none_or(|only| target.to_string() == only));
    if files.is_empty() {
        return Err(format!("packages have no kernels for {}", only.unwrap_or_default()));
    }
    // Long ones take longest: last, they would keep one core busy and the others idle.
    files.sort_by_key(|(source, _)| Reverse(source.text.len()));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&(source, target)) = files.get(next.fetch_add(1, Relaxed)) {
            let name = file_name(source, target);
            let file = folder.join(&name);
            let store = |code: Compiled| cache::store(&file, &code.cubin).map_err(|error| format!("{}: {error}", file.display()));
            if let Err(why) = build(source, None, target).and_then(store) {
                next.store(files.len(), Relaxed);
                return Err(why);
            }
            done(&name);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a compiler has panicked".to_owned())));
        joined.collect::<Result<(), String>>()
    })?;
    Ok(files.len())
}

fn kernels_folder() -> Option<PathBuf> {
    std::env::var_os(KERNELS_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Whether kernels are those of a package.
pub(crate) fn is_packaged() -> bool {
    kernels_folder().is_some()
}

/// Whether machine code that a driver of this version loads can be had: from a package, which is tried once it can be, or by NVRTC.
///
/// # Errors
/// The remedy, where it cannot.
pub(crate) fn ensure_kernels(driver: i32) -> Result<(), String> {
    if is_packaged() {
        return Ok(());
    }
    ensure_present()?;
    let (major, minor) = version();
    // Drivers load what compilers of their own major version make.
    if major > driver / 1000 {
        let driver = version_text(driver);
        return Err(format!(
            "the driver is of {driver} and cannot load what NVRTC {major}.{minor} makes; install a newer driver, or the older NVRTC: \
             `pip install nvidia-cuda-nvrtc-cu12`"
        ));
    }
    Ok(())
}

/// What [`machine_code`] for a kernel is that of: all of its source in a package, or itself, as compiling the others would take long.
pub(crate) fn unit(source: &Source, kernel: &'static str) -> &'static str {
    if is_packaged() { source.name } else { kernel }
}

/// Machine code that has a kernel: of the package, of the cache on disk where the same text has been compiled for the same target
/// before, or compiled now.
///
/// # Errors
/// As [`compile`]; a package without the file. A cache that cannot be read or written is not an error: the code is compiled.
pub(crate) fn machine_code(source: &Source, kernel: &str, target: Target) -> Result<Vec<u8>, String> {
    if let Some(folder) = kernels_folder() {
        let found = target.packaged().ok_or_else(|| {
            format!("{KERNELS_VARIABLE} names a package, which has no kernels for {target}: unset it to compile, with NVRTC")
        })?;
        let file = folder.join(file_name(source, found));
        // Whole, as its hash says: the driver is not told how long the code is.
        return cache::read(&file).map_err(|error| format!("{}: {error}; unset {KERNELS_VARIABLE} to compile", file.display()));
    }
    ensure_present()?;
    let name = format!("{kernel}-{}.cubin", key(&program(source, Some(kernel)), target));
    let folder = cache::folder();
    if let Some(cubin) = folder.as_ref().and_then(|folder| cache::load(&folder.join(&name))) {
        return Ok(cubin);
    }
    let cubin = build(source, Some(kernel), target)?.cubin;
    if let Some(folder) = folder {
        // Nothing is lost but time when this fails.
        let _ = cache::store(&folder.join(&name), &cubin);
    }
    Ok(cubin)
}

/// What the result depends on, hashed.
fn key(program: &str, target: Target) -> String {
    let mut hasher = blake3::Hasher::new();
    let (major, minor) = version();
    let version = format!("{major}.{minor}");
    let arch = target.option();
    let parts = HEADERS.iter().flat_map(|&(name, text)| [name, text]).chain(OPTIONS);
    for part in parts.chain([program, arch.as_str(), version.as_str()]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_serves_newer_devices_of_a_generation() {
        let served = |major, minor| Target::of_device(major, minor).packaged().map(|target| target.to_string());
        assert_eq!(served(8, 0).as_deref(), Some("sm_80"));
        assert_eq!(served(8, 9).as_deref(), Some("sm_80"));
        assert_eq!(served(9, 0).as_deref(), Some("sm_90a"));
        assert_eq!(served(10, 0), None);
    }

    #[test]
    fn the_compilers_log_is_read() {
        let log = "ptxas info    : Compiling entry function 'a_f32' for 'sm_90'\n\
                   ptxas info    : Function properties for a_f32\n\
                   ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n\
                   ptxas info    : Used 27 registers, used 1 barriers, 64 bytes smem\n";
        let kernel = KernelUse { kernel: "a_f32".into(), registers: 27, stack_bytes: 8, spill_bytes: 16 };
        assert_eq!(kernels_used(log), [kernel]);
    }
}
