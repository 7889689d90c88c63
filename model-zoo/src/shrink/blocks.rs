//! Post-training quantization to GGUF's block formats of one scale, by rounding to nearest.

use crate::{Error, Result};
use half::f16;
use kernels::Weight;
use kernels::weight::{BlockFormat, Blocks};

/// Rounds every weight to a code of its block of 32.
///
/// `Q8_0`: `d = max|w| / 127`, `q = round(w / d)`, halves away from zero. `Q4_0`: `d = w* / −8` where w* is the weight of largest
/// magnitude, so that it is met by −8; `q = ⌊w / d + 8.5⌋`, at most 15. Codes are found with d in f32 and stand with d in f16. The
/// blocks are, bit for bit, those of ggml's reference.
///
/// Source: `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref` of ggml.
///
/// # Errors
/// `Config` if the weight is not dense, a value is not finite, a scale is beyond f16, K is no multiple of 32, or the format has
/// scales of scales, which this does not search for.
pub fn quantize_blocks(weight: &Weight, format: BlockFormat) -> Result<Weight> {
    let Weight::Dense { n, k, values } = weight else {
        return Err(Error::config("quantize", format!("a dense weight is needed, got {}", weight.format())));
    };
    let encode: fn(&[f32], &mut Vec<u8>) = match format {
        BlockFormat::Q8_0 => q8_0,
        BlockFormat::Q4_0 => q4_0,
        _ => return Err(Error::config("quantize", format!("q8_0 and q4_0 can be made, {format} only read"))),
    };
    let dense = values.to_f32(); // [N, K]
    if let Some(at) = dense.iter().position(|w| !w.is_finite()) {
        return Err(Error::config("quantize", format!("weight [{}, {}] is {}", at / k, at % k, dense[at])));
    }
    let mut bytes = Vec::with_capacity(dense.len() / format.block_size() * format.block_bytes());
    dense.chunks_exact(format.block_size()).for_each(|block| encode(block, &mut bytes));
    Ok(Weight::Blocks(Blocks::new(*n, *k, format, bytes)?))
}

/// 1 / d, or 0 for 0.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn q8_0(block: &[f32], to: &mut Vec<u8>) {
    let d = block.iter().fold(0f32, |max, w| max.max(w.abs())) / 127.0;
    let inverse = inverse(d);
    to.extend(f16::from_f32(d).to_le_bytes());
    to.extend(block.iter().map(|w| (w * inverse).round() as i8 as u8));
}

fn q4_0(block: &[f32], to: &mut Vec<u8>) {
    let largest = block.iter().fold(0f32, |largest, &w| if w.abs() > largest.abs() { w } else { largest });
    let d = largest / -8.0;
    let inverse = f64::from(inverse(d));
    // In f64, as a fused multiply-add has it.
    let code = |w: f32| ((f64::from(w) * inverse + 8.5) as u8).min(15);
    to.extend(f16::from_f32(d).to_le_bytes());
    to.extend((0..16).map(|i| code(block[i]) | code(block[i + 16]) << 4));
}
