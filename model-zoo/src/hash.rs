//! A hash of bytes that is the same on every machine and in every version: model files depend on it.

/// FNV-1a of no bytes.
pub const START: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// FNV-1a of the bytes so far and one more.
pub fn push(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(PRIME)
}

/// Spreads the bits of FNV, whose last byte reaches the high bits poorly (finalizer of MurmurHash3).
pub fn scramble(mut hash: u32) -> u32 {
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}
