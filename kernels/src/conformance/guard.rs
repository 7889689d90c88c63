//! Elements around and between those an op may write, and how a stray write is found.

use super::host::Host;
use crate::DType;

/// Elements behind every operand that no op may touch.
pub const MARGIN: usize = 19;

/// What lies outside of windows and in outputs that are to be overwritten: a NaN in every floating-point type (so that a stray read
/// poisons the result), an unlikely number in the others. Repeated to fill a word.
pub fn sentinel(dtype: DType) -> u32 {
    match dtype.size_bytes() {
        4 => 0xFFE5_E5E5,
        2 => 0xFFE5_FFE5,
        _ => 0xA5A5_A5A5,
    }
}

/// Checks that no element outside the window changed.
///
/// # Errors
/// The first element that did.
pub fn untouched_outside(before: &Host, after: &Host) -> Result<(), String> {
    let mut inside = vec![false; before.len()];
    before.layout.indices().for_each(|at| inside[at] = true);
    match (0..before.len()).find(|&at| !inside[at] && before.bits(at) != after.bits(at)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "`{}`: element {at} of the buffer, outside the window {:?}, was overwritten (bytes {:02x?})",
            before.arg,
            before.layout,
            after.bits(at)
        )),
    }
}

/// Checks that nothing at all changed.
///
/// # Errors
/// The operand that did.
pub fn untouched(before: &Host, after: &Host) -> Result<(), String> {
    match before.bytes() == after.bytes() {
        true => Ok(()),
        false => Err(format!("`{}` was written, though it is not to be", before.arg)),
    }
}
