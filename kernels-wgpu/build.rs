//! A number for the sources of the kernels: what was measured or tested with other sources is not trusted.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src");
    let mut hash = 0xcbf2_9ce4_8422_2325;
    add(Path::new("src"), &mut hash)?;
    println!("cargo:rustc-env=SIZEWISE_WGPU_SOURCES={}-{hash:016x}", env::var("CARGO_PKG_VERSION").unwrap_or_default());
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
