//! Packages of the operating system that checks need.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{steps, succeeds};

/// Installs Debian or Ubuntu packages, as root or by `sudo -n`.
///
/// # Errors
/// No apt-get here, no right to use it, or it failed; the message ends in `remedy`.
pub fn install(packages: &[&str], remedy: &str) -> Result<()> {
    println!("installing {}", packages.join(" "));
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("there is no apt-get: {remedy}");
    }
    let mut apt_get = vec!["apt-get"];
    if !succeeds(Command::new("test").args(["-w", "/var/lib/dpkg"])) {
        if !succeeds(Command::new("sudo").args(["-n", "true"])) {
            bail!("installing takes root: {remedy}");
        }
        apt_get.splice(0..0, ["sudo", "-n"]);
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new(apt_get[0]);
        command.args(&apt_get[1..]).args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]).args(args);
        steps::run(command.env("DEBIAN_FRONTEND", "noninteractive")).with_context(|| remedy.to_owned())
    };
    apt(&["update"])?;
    apt(&[["install", "--no-install-recommends"].as_slice(), packages].concat())
}
