//! `rust-lm` and `rust-snippets`: the source text of crates that every build of this workspace has already downloaded.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Classification, Examples, Inputs, Language, Provenance, digest};
use crate::random::Random;
use crate::{Error, Result};

/// The crates whose text is used: distinct in subject, large enough, and among the dependencies of the default build. Each
/// must stand exactly once in Cargo.lock.
pub const CRATES: [&str; 10] =
    ["bytemuck", "crossbeam-epoch", "csv", "half", "proc-macro2", "rayon", "serde_derive", "serde_json", "winnow", "zerocopy"];

/// The versions this program was built from.
static CARGO_LOCK: &str = include_str!("../../../Cargo.lock");

const SEED: u64 = 42;
/// Text taken from one crate, so that no crate is most of the data.
const MAX_CRATE_BYTES: usize = 320 << 10;
/// Text taken from one file, so that the split by file has enough files to choose from.
const MAX_FILE_BYTES: usize = 48 << 10;
/// Shorter files say little and are often stubs.
const MIN_FILE_BYTES: usize = 512;
/// Lines at least this long, after trimming, count when two files are compared.
const TELLING_LINE_BYTES: usize = 20;
/// Share of its telling lines that a held-out file may have in common with the training files, in percent.
const MAX_SHARED_PERCENT: usize = 25;
/// Length of a snippet in bytes.
const SNIPPET_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
const TRAIN_SNIPPETS_PER_CRATE: usize = 200;
const TEST_SNIPPETS_PER_CRATE: usize = 50;

/// Byte-level language modelling of Rust source: about 80 % of the text to fit on, 10 % each for choosing and for quality.
/// Split by file; files much of whose text also stands in the training files are left out.
///
/// # Errors
/// `Data` with the remedy if a crate's sources are not on this machine.
pub fn rust_lm() -> Result<Language> {
    let crates = sources()?;
    let (mut train, mut valid, mut test) = (Vec::new(), Vec::new(), Vec::new());
    for files in split(&crates, &[80, 10, 10]) {
        for (side, files) in [&mut train, &mut valid, &mut test].into_iter().zip(files) {
            for file in files {
                side.extend_from_slice(file.text.as_bytes());
                side.push(Language::SEPARATOR);
            }
        }
    }
    let mut hasher = blake3::Hasher::new();
    for side in [&train, &valid, &test] {
        hasher.update(&(side.len() as u64).to_le_bytes()).update(side);
    }
    let digest = hasher.finalize().to_hex().to_string();
    let provenance = provenance(&crates, digest, "80/10/10 by file");
    Ok(Language { name: "rust-lm".into(), train, valid, test, provenance })
}

/// Which of ten crates is this snippet of 256 to 512 bytes from? Balanced: 200 snippets per crate to fit on and 50 held out,
/// cut from files of one side only.
///
/// # Errors
/// `Data` with the remedy if a crate's sources are not on this machine.
pub fn rust_snippets() -> Result<Classification> {
    let crates = sources()?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for ((class, files), name) in split(&crates, &[70, 30]).into_iter().enumerate().zip(CRATES) {
        let sides = [(&mut train, TRAIN_SNIPPETS_PER_CRATE), (&mut test, TEST_SNIPPETS_PER_CRATE)];
        for (side, ((snippets, wanted), files)) in sides.into_iter().zip(files).enumerate() {
            let random = Random::stream(SEED, (2 * class + side) as u64);
            let cut = snippets_of(&files, wanted, random);
            if cut.len() < wanted {
                let what = format!("{name}: only {} snippets of {wanted} could be cut from its sources", cut.len());
                return Err(Error::data(Path::new("rust-snippets"), what));
            }
            snippets.extend(cut.into_iter().map(|text| (text, class as u32)));
        }
    }
    let [train, test] = [(train, 0), (test, 1)].map(|(mut snippets, side)| {
        Random::stream(SEED, 1000 + side).shuffle(&mut snippets);
        let (texts, labels) = snippets.into_iter().unzip();
        Examples { inputs: Inputs::Text(texts), labels }
    });
    let provenance = provenance(&crates, digest(&train, &test), "70/30 by file, then snippets");
    let classes = CRATES.map(String::from).to_vec();
    Ok(Classification { name: "rust-snippets".into(), train, test, classes, columns: Vec::new(), provenance })
}

fn provenance(crates: &[Crate], digest: String, split: &str) -> Provenance {
    Provenance {
        source: "source text of crates this program is built from".into(),
        licence: "MIT OR Apache-2.0, or more permissive; each crate's own licence files apply".into(),
        crates: crates.iter().map(|krate| format!("{} {}", krate.name, krate.version)).collect(),
        digest,
        split: format!("{split}, ordered by BLAKE3 of seed {SEED}, crate and path; near-copies of training files left out"),
    }
}

struct Crate {
    name: &'static str,
    version: String,
    files: Vec<SourceFile>,
}

struct SourceFile {
    /// Path inside the crate, with `/`.
    path: String,
    text: String,
}

/// The files of [`CRATES`], each crate's sorted by path.
fn sources() -> Result<Vec<Crate>> {
    let versions = locked_versions(CARGO_LOCK)?;
    let places = places();
    CRATES.into_iter().map(|name| read_crate(name, version_of(&versions, name)?, &places)).collect()
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// All versions of every package of a lock file.
fn locked_versions(lock: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let lock: Lock = toml::from_str(lock).map_err(|error| Error::data(Path::new("Cargo.lock"), error.to_string()))?;
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in lock.package {
        versions.entry(package.name).or_default().push(package.version);
    }
    Ok(versions)
}

fn version_of<'a>(versions: &'a BTreeMap<String, Vec<String>>, name: &str) -> Result<&'a str> {
    match versions.get(name).map(Vec::as_slice) {
        Some([version]) => Ok(version),
        found => {
            let what = format!("{name} stands {} times in it, expected once", found.map_or(0, <[String]>::len));
            Err(Error::data(Path::new("Cargo.lock"), what))
        }
    }
}

/// Directories that hold one directory per crate: cargo's registry cache, then vendored sources.
fn places() -> Vec<PathBuf> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let mut places = cargo_home.as_deref().map_or_else(Vec::new, |home| directories(&home.join("registry/src")));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|parent| parent.join(".cargo"));
    for config_dir in cargo_home.into_iter().chain(workspace) {
        let Ok(config) = std::fs::read_to_string(config_dir.join("config.toml")) else { continue };
        let Ok(config) = toml::from_str::<toml::Table>(&config) else { continue };
        let sources = config.get("source").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
        // Cargo resolves these against the directory that holds `.cargo`.
        let base = config_dir.parent().unwrap_or(&config_dir);
        places.extend(sources.filter_map(|source| source.get("directory")?.as_str()).map(|directory| base.join(directory)));
    }
    places
}

/// The directories in `path`, sorted; none if it cannot be read.
fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut directories: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    directories.sort();
    directories
}

fn read_crate(name: &'static str, version: &str, places: &[PathBuf]) -> Result<Crate> {
    // `cargo vendor` leaves the version out where only one is vendored; the manifest then tells.
    let is_version = |root: &Path| {
        let manifest = std::fs::read_to_string(root.join("Cargo.toml")).ok()?;
        let manifest: toml::Table = toml::from_str(&manifest).ok()?;
        Some(manifest.get("package")?.get("version")?.as_str()? == version)
    };
    let roots = places.iter().flat_map(|place| [place.join(format!("{name}-{version}")), place.join(name)]);
    let root = roots.into_iter().find(|root| is_version(root) == Some(true)).ok_or_else(|| {
        let what =
            format!("the sources of {name} {version} are not on this machine; run `cargo fetch --locked` in the workspace");
        Error::data(Path::new("rust-lm, rust-snippets"), what)
    })?;
    let mut files = Vec::new();
    read_rust_files(&root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Crate { name, version: version.to_owned(), files })
}

fn read_rust_files(directory: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    for entry in std::fs::read_dir(directory).map_err(Error::io(directory))? {
        let entry = entry.map_err(Error::io(directory))?;
        let (path, Ok(name)) = (entry.path(), entry.file_name().into_string()) else { continue };
        let kind = entry.file_type().map_err(Error::io(&path))?;
        if kind.is_dir() {
            read_rust_files(&path, &format!("{prefix}{name}/"), files)?;
        } else if kind.is_file() && name.ends_with(".rs") {
            let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
            if let Some(text) = usable(&bytes) {
                files.push(SourceFile { path: format!("{prefix}{name}"), text });
            }
        }
    }
    Ok(())
}

/// The text of a file without its licence header, which would give the crate away, cut at a line after
/// [`MAX_FILE_BYTES`]. None for generated, non-UTF-8 or very short files.
fn usable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.contains('\0') || text.lines().take(5).any(|line| line.contains("@generated")) {
        return None;
    }
    let is_comment = |line: &str| line.starts_with("//") && !line.starts_with("//!") && !line.starts_with("///");
    let header: usize = text.split_inclusive('\n').take_while(|line| is_comment(line)).map(str::len).sum();
    let is_licence = text[..header].contains("opyright") || text[..header].contains("icense");
    let mut text = if is_licence { text[header..].trim_start_matches('\n') } else { text };
    if text.len() > MAX_FILE_BYTES {
        let end = text.as_bytes()[..MAX_FILE_BYTES].iter().rposition(|&byte| byte == b'\n')?;
        text = &text[..=end];
    }
    (text.len() >= MIN_FILE_BYTES).then(|| text.to_owned())
}

/// The files of each crate dealt to sides of `percents` of its bytes; the first side is for training. A file whose lines
/// already stand in a training file, of any crate, or in a file of another held-out side, is on no other side.
fn split<'a>(crates: &'a [Crate], percents: &[usize]) -> Vec<Vec<Vec<&'a SourceFile>>> {
    let mut sides: Vec<Vec<Vec<&SourceFile>>> = crates.iter().map(|krate| deal(krate, percents)).collect();
    let mut known: HashSet<&str> = HashSet::new();
    for side in 0..percents.len() {
        if side > 0 {
            for files in &mut sides {
                files[side].retain(|file| {
                    let shared = telling_lines(&file.text).filter(|line| known.contains(line)).count();
                    shared * 100 <= telling_lines(&file.text).count() * MAX_SHARED_PERCENT
                });
            }
        }
        known.extend(sides.iter().flat_map(|files| &files[side]).flat_map(|file| telling_lines(&file.text)));
    }
    sides
}

/// Deals a crate's files, in the order of their seeded hashes, to the side that lacks most of its share; files with many lines
/// in common (a module per instruction set, say) go together.
fn deal<'a>(krate: &'a Crate, percents: &[usize]) -> Vec<Vec<&'a SourceFile>> {
    let mut files: Vec<&SourceFile> = krate.files.iter().collect();
    files.sort_by_cached_key(|file| *blake3::hash(format!("{SEED}\n{}\n{}", krate.name, file.path).as_bytes()).as_bytes());
    let (mut groups, mut taken_bytes) = (Vec::<Group>::new(), 0);
    for file in files {
        if taken_bytes + file.text.len() <= MAX_CRATE_BYTES {
            taken_bytes += file.text.len();
            match groups.iter_mut().find(|group| group.resembles(file)) {
                Some(group) => group.push(file),
                None => groups.push(Group::from(file)),
            }
        }
    }
    let mut sides: Vec<(usize, Vec<&SourceFile>)> = percents.iter().map(|_| (0, Vec::new())).collect();
    let mut dealt_bytes = 0;
    for group in groups {
        dealt_bytes += group.bytes;
        let lacks = |&side: &usize| (percents[side] * dealt_bytes) as i64 - (100 * sides[side].0) as i64;
        let side = (0..sides.len()).rev().max_by_key(lacks).unwrap_or(0);
        sides[side].0 += group.bytes;
        sides[side].1.extend(group.files);
    }
    sides.into_iter().map(|(_, files)| files).collect()
}

/// Files that resemble each other.
#[derive(Default)]
struct Group<'a> {
    files: Vec<&'a SourceFile>,
    lines: HashSet<&'a str>,
    bytes: usize,
}

impl<'a> Group<'a> {
    fn from(file: &'a SourceFile) -> Self {
        let mut group = Self::default();
        group.push(file);
        group
    }

    fn push(&mut self, file: &'a SourceFile) {
        self.files.push(file);
        self.lines.extend(telling_lines(&file.text));
        self.bytes += file.text.len();
    }

    fn resembles(&self, file: &SourceFile) -> bool {
        let lines: HashSet<&str> = telling_lines(&file.text).collect();
        let shared = lines.iter().filter(|line| self.lines.contains(*line)).count();
        shared * 100 > lines.len().min(self.lines.len()) * MAX_SHARED_PERCENT
    }
}

fn telling_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.len() >= TELLING_LINE_BYTES)
}

/// `wanted` snippets that do not overlap, or as many as the files give: each file is cut into pieces that begin with a line,
/// and the pieces are drawn at random.
fn snippets_of(files: &[&SourceFile], wanted: usize, mut random: Random) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for file in files {
        let mut rest = file.text.as_str();
        while rest.len() >= *SNIPPET_BYTES.end() {
            let length = SNIPPET_BYTES.start() + random.below(SNIPPET_BYTES.end() - SNIPPET_BYTES.start() + 1);
            let end = (0..=length).rev().find(|&end| rest.is_char_boundary(end)).unwrap_or(0);
            let (piece, after) = rest.split_at(end);
            pieces.push(piece.as_bytes().to_vec());
            rest = after.split_once('\n').map_or("", |(_, next)| next);
        }
    }
    random.shuffle(&mut pieces);
    pieces.truncate(wanted);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_stands_once_in_the_lock_file() {
        let versions = locked_versions(CARGO_LOCK).unwrap();
        for name in CRATES {
            version_of(&versions, name).unwrap();
        }
    }

    #[test]
    fn absent_sources_name_the_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let error = read_crate("csv", "1.4.0", &[empty.path().into()]).err().unwrap().to_string();
        assert!(error.contains("csv 1.4.0") && error.contains("cargo fetch --locked"), "{error}");
    }

    #[test]
    fn finds_vendored_sources_of_the_locked_version_only() {
        let vendor = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(vendor.path().join("csv/src")).unwrap();
        std::fs::write(vendor.path().join("csv/src/lib.rs"), "pub fn vendored() {}\n".repeat(50)).unwrap();
        let manifest = |version| format!("[package]\nname = \"csv\"\nversion = \"{version}\"\n");
        std::fs::write(vendor.path().join("csv/Cargo.toml"), manifest("1.3.0")).unwrap();
        assert!(read_crate("csv", "1.4.0", &[vendor.path().into()]).is_err());
        std::fs::write(vendor.path().join("csv/Cargo.toml"), manifest("1.4.0")).unwrap();
        assert_eq!(read_crate("csv", "1.4.0", &[vendor.path().into()]).unwrap().files[0].path, "src/lib.rs");
    }

    #[test]
    fn language_text_is_the_same_every_time_and_leaks_no_file() {
        let task = rust_lm().unwrap();
        assert_eq!(task, rust_lm().unwrap());
        assert!(task.train.len() > 1 << 20 && task.valid.len() > 100_000 && task.test.len() > 100_000);
        assert!(task.test.len() * 20 > task.train.len());
        let lines = |side: &[u8]| String::from_utf8(side.to_vec()).unwrap();
        let (train, test) = (lines(&task.train), lines(&task.test));
        let known: HashSet<&str> = telling_lines(&train).collect();
        let shared = telling_lines(&test).filter(|line| known.contains(line)).count();
        let share = shared as f64 / telling_lines(&test).count() as f64;
        println!(
            "train {} valid {} test {} bytes; {share:.3} of the test lines stand in train",
            train.len(),
            task.valid.len(),
            test.len()
        );
        assert!(share <= MAX_SHARED_PERCENT as f64 / 100.0);
    }

    #[test]
    fn snippets_are_balanced_bounded_and_disjoint() {
        let task = rust_snippets().unwrap();
        assert_eq!(task, rust_snippets().unwrap());
        for (side, per_class) in [(&task.train, TRAIN_SNIPPETS_PER_CRATE), (&task.test, TEST_SNIPPETS_PER_CRATE)] {
            let mut counts = [0; CRATES.len()];
            side.labels.iter().for_each(|&label| counts[label as usize] += 1);
            assert_eq!(counts, [per_class; CRATES.len()]);
            // A snippet may end a little earlier, at the boundary of a character.
            assert!(side.inputs.text().unwrap().iter().all(|text| (253..=512).contains(&text.len())));
        }
        let train: HashSet<&Vec<u8>> = task.train.inputs.text().unwrap().iter().collect();
        assert!(task.test.inputs.text().unwrap().iter().all(|text| !train.contains(text)));
    }

    #[test]
    fn licence_headers_generated_and_short_files_are_left_out() {
        let code = "fn f() {}\n".repeat(100);
        assert_eq!(usable(format!("// Copyright A\n// Licensed under B\n\n{code}").as_bytes()), Some(code.clone()));
        let kept = format!("// about this file\n{code}");
        assert_eq!(usable(kept.as_bytes()), Some(kept.clone()));
        assert_eq!(usable(format!("// @generated\n{code}").as_bytes()), None);
        assert_eq!(usable(b"fn f() {}\n"), None);
        assert_eq!(usable(&[0xff; 2000]), None);
        assert!(usable("fn f() {}\n".repeat(20_000).as_bytes()).unwrap().len() <= MAX_FILE_BYTES);
    }
}
