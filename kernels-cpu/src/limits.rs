//! What this machine can do at most, measured.

/// Limits of the machine.
pub struct Limits;

/// Measures them.
pub fn measure_limits() -> Limits {
    Limits
}
