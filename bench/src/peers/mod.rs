//! Other people's kernels beside ours, on the same shapes and in the same process.
//!
//! Each peer is called as its users would call it, with operands laid out as it likes them and all that can be done once done
//! before the clock starts; but a weight stays `[N, K]` where a peer has no packed form of its own.

mod candle;
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    reason = "written by bindgen"
)]
mod cblas;
mod cells;
mod dense;
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    non_camel_case_types,
    non_snake_case,
    unsafe_op_in_unsafe_fn,
    reason = "written by bindgen"
)]
mod dnnl;
mod onednn;
mod openblas;
mod run;

pub use cells::{Cell, Sizes, cells};
pub use run::{Progress, run};

use crate::report::Work;

/// A peer with its operands, ready to be timed.
struct Peer {
    /// Name and version.
    name: String,
    /// One call, finished when it returns.
    call: Box<dyn FnMut() -> Result<(), String>>,
    /// Its own account of the work, where it stores the operands in another size than we do.
    work: Option<Work>,
}

impl Peer {
    /// A peer from this workspace's list of dependencies.
    fn of(package: &str, suffix: &str, call: impl FnMut() -> Result<(), String> + 'static) -> Self {
        let name = format!("{package} {}{suffix}", version(package));
        Self { name: name.replace("candle-core", "candle").replace("candle-nn", "candle"), call: Box::new(call), work: None }
    }
}

/// What a peer that should be there says of why it is not.
type Absent = String;

/// The version of a package that this program is built with.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown")
}

/// Seeded values in −1..1.
fn values(len: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(42);
    (0..len).map(|_| random.f32() * 2.0 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        for package in ["faer", "gemm", "matrixmultiply", "candle-core", "candle-nn"] {
            assert!(version(package).starts_with(|c: char| c.is_ascii_digit()), "{package} {}", version(package));
        }
        assert_eq!(version("no-such-package"), "unknown");
    }
}
