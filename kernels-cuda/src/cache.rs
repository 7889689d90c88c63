//! Machine code on disk between runs. A file that is damaged is left aside, with a notice.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read.
const MOST_BYTES: u64 = 256 << 20;

/// `SIZEWISE_CACHE`, or `sizewise` in the user's folder of caches; none if that variable is `off`.
pub(crate) fn folder() -> Option<PathBuf> {
    folder_by(|name| std::env::var_os(name))
}

fn folder_by(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // Relative folders of users are to be ignored (XDG Base Directory Specification).
    let absolute = |name| variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    match variable("SIZEWISE_CACHE") {
        Some(off) if off == "off" => None,
        Some(folder) if !folder.is_empty() => Some(folder.into()),
        _ => Some(absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?.join("sizewise")),
    }
}

/// The content of a file, if it is there and whole.
pub(crate) fn load(file: &Path) -> Option<Vec<u8>> {
    match read(file) {
        Ok(content) => Some(content),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                eprintln!("notice: {} is left aside: {error}", file.display());
            }
            None
        }
    }
}

/// The content of a file.
///
/// # Errors
/// It cannot be read, or is not what was stored.
pub(crate) fn read(file: &Path) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let (hash, content) = bytes.split_at_checked(blake3::OUT_LEN).ok_or_else(damaged)?;
    if blake3::hash(content).as_bytes() != hash {
        return Err(damaged());
    }
    Ok(content.to_vec())
}

/// Writes a hash and the content, under another name first: readers see either whole, and a killed run leaves no half of it behind.
pub(crate) fn store(file: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let mut bytes = blake3::hash(content).as_bytes().to_vec();
    bytes.extend_from_slice(content);
    fs::write(&draft, bytes)?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("below").join("a.cubin");
        assert_eq!(load(&file), None);
        store(&file, b"machine code").unwrap();
        assert_eq!(load(&file).as_deref(), Some(&b"machine code"[..]));
        let bytes = fs::read(&file).unwrap();
        for end in 0..bytes.len() {
            fs::write(&file, &bytes[..end]).unwrap();
            assert_eq!(load(&file), None, "{end} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&file, changed).unwrap();
            assert_eq!(load(&file), None, "byte {at}");
        }
    }

    #[test]
    fn the_folder_is_where_the_environment_says() {
        let of =
            |set: &[(&str, &str)]| folder_by(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()));
        assert_eq!(of(&[("HOME", "/home/a")]), Some("/home/a/.cache/sizewise".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")]), Some("/c/sizewise".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "c")]), Some("/home/a/.cache/sizewise".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("SIZEWISE_CACHE", "/d")]), Some("/d".into()));
        assert_eq!(of(&[("HOME", "/home/a"), ("SIZEWISE_CACHE", "off")]), None);
        assert_eq!(of(&[]), None);
    }
}
