//! A look at `report.html` in a headless browser.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{packages, succeeds};

/// Chromium under the names that systems give it.
const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Runs before any script of the page.
const WATCH: &str = "<script>window.pageProblems = [];
addEventListener('error', (event) => window.pageProblems.push(event.message));
addEventListener('unhandledrejection', (event) => window.pageProblems.push(String(event.reason)));
console.error = (...words) => window.pageProblems.push(words.join(' '));</script>";

const CHECK: &str = include_str!("page_check.js");

/// What the check leaves in front of its verdict.
const VERDICT: &str = "<title>page check: ";

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Makes sure there is a browser, installing Chromium where it must and may; returns its name.
///
/// # Errors
/// None, and none could be installed: the message says how to get one.
pub fn ensure() -> Result<&'static str> {
    if let Some(name) = find() {
        return Ok(name);
    }
    println!("no Chromium");
    packages::install(&["chromium"], "install Chromium or Google Chrome, or leave the check out with --skip-browser")?;
    find().context("the package is installed, yet there is no Chromium")
}

fn find() -> Option<&'static str> {
    NAMES.into_iter().find(|name| succeeds(Command::new(name).arg("--version")))
}

/// Opens a copy of `page` that checks itself: no error, nothing fetched, charts drawn, tables that sort.
///
/// # Errors
/// What the check found, or that it did not run.
pub fn check(browser: &str, page: &Path, scratch: &Path) -> Result<()> {
    let html = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    fs::create_dir_all(scratch)?;
    let copy = scratch.join("page.html");
    fs::write(&copy, with_check(&html)?)?;
    let dom = dump(browser, &copy, scratch)?;
    match verdict(&dom) {
        Some("ok") => Ok(()),
        Some(problems) => bail!("{problems}"),
        None => bail!("the check did not run in {}", copy.display()),
    }
}

/// The page with the watch in front of its scripts and the check behind them.
fn with_check(html: &str) -> Result<String> {
    let (before, rest) = html.split_once("<head>").context("the page has no <head>")?;
    let (rest, after) = rest.rsplit_once("</body>").context("the page has no </body>")?;
    Ok(format!("{before}<head>{WATCH}{rest}<script>{CHECK}</script></body>{after}"))
}

fn verdict(dom: &str) -> Option<&str> {
    let (_, rest) = dom.split_once(VERDICT)?;
    rest.split_once("</title>").map(|(verdict, _)| verdict)
}

/// The document as it stands once scripts have run. The browser has a new home of its own in `scratch`, and neither network nor
/// session bus.
fn dump(browser: &str, page: &Path, scratch: &Path) -> Result<String> {
    let scratch = scratch.canonicalize()?;
    let (out, complaints, home) = (scratch.join("dom.html"), scratch.join("stderr.txt"), scratch.join("home"));
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    let mut profile = std::ffi::OsString::from("--user-data-dir=");
    profile.push(home.join("profile"));
    let mut url = std::ffi::OsString::from("file://");
    url.push(page.canonicalize()?);
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"])
        .args(["--disable-extensions", "--disable-breakpad", "--password-store=basic", "--host-resolver-rules=MAP * ~NOTFOUND"])
        .args(["--window-size=900,1600", "--virtual-time-budget=5000", "--dump-dom"])
        .args([profile, url])
        .envs(["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"].map(|name| (name, &home)))
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&complaints)?)
        .spawn()
        .with_context(|| format!("cannot start {browser}"))?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > TIME_LIMIT {
            child.kill()?;
            child.wait()?;
            bail!("{browser} did not finish in {} s; it said {}", TIME_LIMIT.as_secs(), complaints.display());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        bail!("{browser}: {status}: {}", fs::read_to_string(&complaints)?.trim());
    }
    Ok(fs::read_to_string(&out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_goes_around_the_page_and_its_verdict_comes_back() {
        let page = with_check("<html><head><title>t</title></head><body>b</body></html>").unwrap();
        let (watch, check) = (page.find("pageProblems = []").unwrap(), page.find("page check: ").unwrap());
        assert!(watch < page.find("<title>t").unwrap() && page.find(">b<").unwrap() < check);
        assert!(with_check("<p>").is_err());
        assert_eq!(verdict("<title>page check: no chart</title>"), Some("no chart"));
        assert_eq!(verdict("<title>report</title>"), None);
    }
}
