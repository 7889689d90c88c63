//! What is kept on disk between runs, for one device, driver, version of wgpu and state of these sources: compiled pipelines, the verdict of the
//! self-test, and measured tiles. A file that is damaged or of something else is left aside, with a notice.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use wgpu::{AdapterInfo, Backend};

/// Environment variable that names the folder; `off` for none.
pub(crate) const VARIABLE: &str = "SIZEWISE_CACHE";

const MAGIC: &[u8; 16] = b"sizewise-cache1\n";
const HASH: usize = blake3::OUT_LEN;
/// Largest file that is read.
const MOST_BYTES: u64 = 64 << 20;

/// Why something is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unkept {
    /// Nothing is to be.
    Off,
    /// Nothing can be.
    Failed(String),
}

impl Unkept {
    fn failed(folder: &Path, error: &io::Error) -> Self {
        Unkept::Failed(format!("nothing can be kept in {}: {error}", folder.display()))
    }
}

/// A folder, and what its files are about.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: Option<PathBuf>,
    key: blake3::Hash,
}

impl Cache {
    /// For an adapter and the paths forced on it, where the environment says.
    pub fn of(about: &AdapterInfo, forced: &str) -> Self {
        Cache::new(folder(|name| std::env::var_os(name).map(PathBuf::from)), about, forced)
    }

    /// Where nothing is kept.
    pub fn none() -> Self {
        Cache { folder: None, key: blake3::hash(b"") }
    }

    pub fn new(folder: Option<PathBuf>, about: &AdapterInfo, forced: &str) -> Self {
        let compiler = compiler(about.backend, |name| std::env::var_os(name), || fs::read(SYSTEM));
        Cache { folder, key: blake3::hash(subject(about, forced, &compiler).as_bytes()) }
    }

    fn path(&self, folder: &Path, what: &str) -> PathBuf {
        folder.join(format!("wgpu-{}.{what}", &self.key.to_hex()[..16]))
    }

    fn checksum(&self, what: &str, content: &[u8]) -> blake3::Hash {
        blake3::Hasher::new().update(self.key.as_bytes()).update(what.as_bytes()).update(content).finalize()
    }

    /// What was stored last.
    pub fn load(&self, what: &str) -> Option<Vec<u8>> {
        let path = self.path(self.folder.as_ref()?, what);
        match self.read(&path, what) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                notice(&format!("{} is left aside: {error}", path.display()));
                None
            }
        }
    }

    fn read(&self, path: &Path, what: &str) -> io::Result<Vec<u8>> {
        let damaged = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let mut bytes = Vec::new();
        // Opening a pipe would wait for someone to write to it.
        if !fs::metadata(path)?.is_file() {
            return Err(damaged("it is no file"));
        }
        File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(damaged("it is too large"));
        }
        let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or_else(|| damaged("it is truncated"))?;
        let (key, rest) = rest.split_at_checked(HASH).ok_or_else(|| damaged("it is truncated"))?;
        let (checksum, content) = rest.split_at_checked(HASH).ok_or_else(|| damaged("it is truncated"))?;
        if magic != MAGIC || key != self.key.as_bytes() {
            return Err(damaged("it is about something else"));
        }
        if checksum != self.checksum(what, content).as_bytes() {
            return Err(damaged("it is damaged"));
        }
        Ok(content.to_vec())
    }

    /// A file to be kept, whose name is not yet given.
    fn begun(&self) -> Result<(&Path, NamedTempFile), Unkept> {
        let folder = self.folder.as_deref().ok_or(Unkept::Off)?;
        let begin = || {
            fs::create_dir_all(folder)?;
            NamedTempFile::new_in(folder)
        };
        Ok((folder, begin().map_err(|error| Unkept::failed(folder, &error))?))
    }

    /// Whether anything can be stored.
    ///
    /// # Errors
    /// Those of [`Cache::store`].
    pub fn check(&self) -> Result<(), Unkept> {
        self.begun().map(drop)
    }

    /// Puts something in place of what was stored before; readers see either whole.
    ///
    /// # Errors
    /// `Off` where nothing is to be kept, `Failed` where nothing can be.
    pub fn store(&self, what: &str, content: &[u8]) -> Result<(), Unkept> {
        let (folder, mut file) = self.begun()?;
        let write = || -> io::Result<()> {
            file.write_all(MAGIC)?;
            file.write_all(self.key.as_bytes())?;
            file.write_all(self.checksum(what, content).as_bytes())?;
            file.write_all(content)?;
            file.persist(self.path(folder, what))?;
            Ok(())
        };
        write().map_err(|error| Unkept::failed(folder, &error))
    }

    /// As [`Cache::store`], for what later runs can do without: a failure is a notice.
    pub fn keep(&self, what: &str, content: &[u8]) {
        if let Err(Unkept::Failed(why)) = self.store(what, content) {
            notice(&format!("{why}; {VARIABLE}=off stops trying"));
        }
    }
}

/// Where macOS says which one it is.
const SYSTEM: &str = "/System/Library/CoreServices/SystemVersion.plist";
/// Environment variables by which wgpu chooses what compiles shaders for DX12.
const COMPILERS: [&str; 3] = ["WGPU_DX12_COMPILER", "WGPU_DX12_AGILITY_SDK_PATH", "WGPU_DX12_AGILITY_SDK_VERSION"];

/// What compiles shaders beside the driver: of Metal, which has no driver of a version of its own, the system.
fn compiler(backend: Backend, variable: impl Fn(&str) -> Option<OsString>, system: impl Fn() -> io::Result<Vec<u8>>) -> String {
    match backend {
        Backend::Dx12 => format!("{:?}", COMPILERS.map(variable)),
        Backend::Metal => system().map_or_else(|_| String::new(), |text| blake3::hash(&text).to_hex().to_string()),
        _ => String::new(),
    }
}

/// All that what is kept depends on.
fn subject(about: &AdapterInfo, forced: &str, compiler: &str) -> String {
    let AdapterInfo { name, vendor, device, driver, driver_info, backend, subgroup_min_size, subgroup_max_size, .. } = about;
    let sources = env!("SIZEWISE_WGPU_SOURCES");
    let driver = format!("{driver}\n{driver_info}\n{backend:?}\n{compiler}");
    format!("{sources}\n{name}\n{vendor}\n{device}\n{driver}\n{subgroup_min_size}\n{subgroup_max_size}\n{forced}")
}

/// The folder of caches, by the environment.
fn folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // Relative folders of users are to be ignored (XDG Base Directory Specification).
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    match variable(VARIABLE) {
        Some(path) if path.as_os_str() == "off" => None,
        Some(path) if !path.as_os_str().is_empty() => Some(path),
        _ => absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("LOCALAPPDATA"))
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|caches| caches.join("sizewise")),
    }
}

/// Tells the user what is no error.
pub(crate) fn notice(text: &str) {
    eprintln!("sizewise, wgpu: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu::DeviceType;

    fn cache(folder: &Path, name: &str) -> Cache {
        let mut about = AdapterInfo::new(DeviceType::Cpu, Backend::Vulkan);
        about.name = name.to_owned();
        Cache::new(Some(folder.to_owned()), &about, "")
    }

    #[test]
    fn what_is_stored_is_loaded_whole_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let of = cache(folder.path(), "a");
        assert_eq!(of.load("tuning"), None);
        of.store("tuning", b"before").unwrap();
        of.store("tuning", b"large").unwrap();
        of.check().unwrap();
        assert_eq!(of.load("tuning").as_deref(), Some(&b"large"[..]));
        assert_eq!(of.load("pipelines"), None);
        assert_eq!(cache(folder.path(), "b").load("tuning"), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let path = of.path(folder.path(), "tuning");
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(of.load("tuning"), None, "{len} bytes");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(of.load("tuning"), None, "byte {at}");
        }
        // Of another device, or of something else, under this name.
        fs::copy(&path, of.path(folder.path(), "pipelines")).unwrap();
        fs::write(&path, &whole).unwrap();
        fs::copy(&path, cache(folder.path(), "b").path(folder.path(), "tuning")).unwrap();
        fs::copy(&path, of.path(folder.path(), "pipelines")).unwrap();
        assert_eq!((of.load("pipelines"), cache(folder.path(), "b").load("tuning")), (None, None));
    }

    #[test]
    fn what_is_kept_is_of_these_versions_of_what_compiles_kernels() {
        let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
        for name in ["wgpu", "wgpu-core", "wgpu-hal", "naga"] {
            let (_, from) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap();
            let (version, _) = from.split_once('"').unwrap();
            let sources = env!("SIZEWISE_WGPU_SOURCES");
            assert!(sources.split(' ').any(|of| of == format!("{name}-{version}")), "{name} {version}: {sources}");
        }
    }

    #[test]
    fn what_is_kept_is_of_these_sources_and_of_the_contract_s() {
        let words: Vec<&str> = env!("SIZEWISE_WGPU_SOURCES").split(' ').collect();
        let hash = |name: &str| {
            let start = format!("{name}-{}-", env!("CARGO_PKG_VERSION"));
            let hash = words.iter().find_map(|word| word.strip_prefix(&start));
            hash.filter(|hash| hash.len() == 16).unwrap_or_else(|| panic!("{name}: {words:?}"))
        };
        assert_ne!(hash("kernels-wgpu"), hash("kernels"));
        // That of no file.
        assert_ne!(hash("kernels"), "cbf29ce484222325");
    }

    #[test]
    fn what_is_kept_is_of_one_device_and_of_what_compiles_for_it() {
        let system = |text: &'static str| move || Ok(text.as_bytes().to_vec());
        let with = |set: &'static str| move |name: &str| (name == set).then(|| OsString::from("value"));
        let of = |backend, set, text| compiler(backend, with(set), system(text));
        for name in COMPILERS {
            assert_ne!(of(Backend::Dx12, name, ""), of(Backend::Dx12, "", ""));
            assert_eq!(of(Backend::Vulkan, name, "14.1"), of(Backend::Vulkan, "", "14.2"));
        }
        assert_ne!(of(Backend::Metal, "", "14.1"), of(Backend::Metal, "", "14.2"));
        assert_eq!(compiler(Backend::Metal, with(""), || Err(io::ErrorKind::NotFound.into())), "");

        let about = AdapterInfo::new(DeviceType::Cpu, Backend::Vulkan);
        let base = subject(&about, "", "");
        let (mut least, mut most, mut driver) = (about.clone(), about.clone(), about.clone());
        least.subgroup_min_size += 1;
        most.subgroup_max_size += 1;
        driver.driver_info.push('1');
        for other in [&least, &most, &driver].map(|about| subject(about, "", "")) {
            assert_ne!(base, other);
        }
        assert!(base != subject(&about, "small", "") && base != subject(&about, "", "14.1"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_left_aside_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let of = cache(folder.path(), "a");
        let (tuning, verdict) = (of.path(folder.path(), "tuning"), of.path(folder.path(), "verdict"));
        fs::create_dir(tuning).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(verdict).status().unwrap().success());
        let (done, loaded) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send((of.load("tuning"), of.load("verdict"))));
        assert_eq!(loaded.recv_timeout(std::time::Duration::from_secs(5)), Ok((None, None)));
    }

    #[test]
    fn what_is_not_kept_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let unwritable = cache(&file, "a");
        let failed = |kept: Result<(), Unkept>| matches!(kept, Err(Unkept::Failed(why)) if why.contains(file.to_str().unwrap()));
        assert!(failed(unwritable.check()) && failed(unwritable.store("tuning", b"large")));
        assert_eq!((Cache::none().check(), Cache::none().store("tuning", b"large")), (Err(Unkept::Off), Err(Unkept::Off)));
        unwritable.keep("tuning", b"large");
        assert_eq!(unwritable.load("tuning"), None);
    }

    #[test]
    fn the_folder_is_that_of_the_environment() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<(String, PathBuf)> = set.iter().map(|(name, value)| ((*name).into(), value.into())).collect();
            folder(move |name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(of(&[("HOME", "/home/a")]), Some("/home/a/.cache/sizewise".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")]), Some("/c/sizewise".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "c")]), Some("/home/a/.cache/sizewise".into()));
        assert_eq!(of(&[("HOME", "/home/a"), (VARIABLE, "/d")]), Some("/d".into()));
        assert_eq!(of(&[("HOME", "/home/a"), (VARIABLE, "off")]), None);
        assert_eq!(of(&[]), None);
    }
}
