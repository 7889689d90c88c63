//! What the kernels of this build are made of, as text: their sources, the contract's, and the versions of wgpu that compile them. What was
//! measured, tested or compiled with others is not trusted.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let mut sources = Vec::new();
    // How weights are laid out and what ops mean is said in `kernels`.
    for (name, folder) in [("kernels-wgpu", "src"), ("kernels", "../kernels/src")] {
        let mut hash = 0xcbf2_9ce4_8422_2325;
        // Not there where this crate is built alone, from a registry; its version then says what it is.
        if Path::new(folder).is_dir() {
            println!("cargo:rerun-if-changed={folder}");
            add(Path::new(folder), &mut hash)?;
        }
        sources.push(format!("{name}-{version}-{hash:016x}"));
    }
    println!("cargo:rustc-env=SIZEWISE_WGPU_SOURCES={}{}", sources.join(" "), compilers());
    Ok(())
}

/// FNV-1a of every file below a folder, in order of names.
fn add(folder: &Path, hash: &mut u64) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add(&path, hash)?;
            continue;
        }
        for byte in fs::read(&path)? {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(())
}

/// Names and versions of wgpu's crates, by the lock file of what is built: above the folder of build outputs, else above this crate.
fn compilers() -> String {
    let starts = ["OUT_DIR", "CARGO_MANIFEST_DIR"].map(|name| PathBuf::from(env::var_os(name).unwrap_or_default()));
    let files = starts.iter().flat_map(|start| start.ancestors()).map(|folder| folder.join("Cargo.lock"));
    for file in files {
        let versions = fs::read_to_string(&file).map(|text| locked(&text)).unwrap_or_default();
        if !versions.is_empty() {
            println!("cargo:rerun-if-changed={}", file.display());
            return versions;
        }
    }
    println!("cargo:warning=no Cargo.lock names wgpu: after an update of it, remove what sizewise keeps on disk by hand");
    String::new()
}

fn locked(text: &str) -> String {
    let mut versions = String::new();
    let mut name = "";
    for line in text.lines() {
        let value = |key: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
        name = value("name").unwrap_or(name);
        if let Some(version) =
            value("version").filter(|_| name == "kernels" || name.starts_with("wgpu") || name.starts_with("naga"))
        {
            versions += &format!(" {name}-{version}");
        }
    }
    versions
}
