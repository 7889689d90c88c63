//! A Vulkan driver for the wgpu suite; Mesa's lavapipe, which runs on the CPU, where there is no other.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::packages;

/// Where the Vulkan loader on Linux looks for driver manifests (Khronos, "Loader Interface to Vulkan Drivers").
const MANIFEST_FOLDERS: [&str; 4] =
    ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/run/opengl-driver/share/vulkan/icd.d"];

/// Drivers that run on the CPU, by the start of their manifest's file name.
const SOFTWARE_DRIVERS: [&str; 2] = ["lvp_icd", "vk_swiftshader_icd"];

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

const REMEDY: &str = "install Mesa's software Vulkan driver (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers libvulkan1`; \
                      Fedora: `dnf install mesa-vulkan-drivers vulkan-loader`; Arch: `pacman -S vulkan-swrast vulkan-icd-loader`; \
                      Alpine: `apk add mesa-vulkan-swrast vulkan-loader`), or leave its tests out with --skip-wgpu";

/// Makes sure that wgpu finds an adapter, installing lavapipe where it must and may.
///
/// # Errors
/// No driver, and none could be installed: the message says how to get one.
pub fn ensure() -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("the system's own graphics interface (Metal or DX12) serves wgpu");
        return Ok(());
    }
    if let Some(driver) = find() {
        println!("Vulkan driver: {}", driver.display());
        return Ok(());
    }
    println!("no Vulkan driver");
    packages::install(&PACKAGES, REMEDY)?;
    let driver = find().context("the packages are installed, yet there is no Vulkan driver manifest")?;
    println!("Vulkan driver: {}", driver.display());
    Ok(())
}

/// The manifest of a driver that has a device: any software driver, or a hardware driver where there is hardware.
fn find() -> Option<PathBuf> {
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        if let Some(list) = std::env::var_os(variable) {
            return std::env::split_paths(&list).find(|path| path.is_file());
        }
    }
    let manifests = manifests(MANIFEST_FOLDERS.iter().map(Path::new));
    choose(&manifests, has_gpu())
}

fn manifests<'a>(folders: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let entries = folders.filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    found.sort();
    found
}

fn choose(manifests: &[PathBuf], has_gpu: bool) -> Option<PathBuf> {
    let is_software = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        SOFTWARE_DRIVERS.iter().any(|start| name.starts_with(start))
    };
    manifests.iter().find(|path| has_gpu || is_software(path)).cloned()
}

fn has_gpu() -> bool {
    let render_node = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("renderD");
    let has_render_node = Path::new("/dev/dri").read_dir().is_ok_and(|mut d| d.any(|e| e.is_ok_and(render_node)));
    has_render_node || Path::new("/dev/nvidia0").exists() || Path::new("/dev/dxg").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_driver_without_hardware_does_not_count() {
        let nvidia = PathBuf::from("/etc/vulkan/icd.d/nvidia_icd.json");
        let lavapipe = PathBuf::from("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json");
        assert_eq!(choose(std::slice::from_ref(&nvidia), false), None);
        assert_eq!(choose(std::slice::from_ref(&nvidia), true), Some(nvidia.clone()));
        assert_eq!(choose(&[nvidia, lavapipe.clone()], false), Some(lavapipe));
        assert_eq!(choose(&[], true), None);
    }
}
