//! GGUF's block formats against the gguf package: `tests/golden/make_blocks.py` says what each value is.

use kernels::Weight;
use kernels::weight::{BlockFormat, Blocks, Values};
use model_zoo::shrink::blocks::quantize_blocks;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Golden {
    formats: BTreeMap<String, GoldenFormat>,
    values: String,
    quantized: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct GoldenFormat {
    bytes: String,
    values: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/blocks.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn floats(hex: &str) -> Vec<f32> {
    bytes(hex).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn format(name: &str) -> BlockFormat {
    BlockFormat::ALL.into_iter().find(|format| format.name() == name).unwrap()
}

#[test]
fn blocks_stand_for_the_same_values() {
    let formats = golden().formats;
    assert_eq!(formats.len(), BlockFormat::ALL.len());
    for (name, golden) in formats {
        let (format, wanted) = (format(&name), floats(&golden.values));
        let blocks = Blocks::new(1, wanted.len(), format, bytes(&golden.bytes)).unwrap();
        let got = blocks.to_f32();
        for (at, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            assert_eq!(got.to_bits(), wanted.to_bits(), "{name} at {at}: {got} for {wanted}");
        }
        // Codes and groups say the same.
        let weight = Weight::Blocks(blocks);
        let coded = weight.coded().unwrap();
        for (k, wanted) in wanted.iter().enumerate() {
            assert_eq!(coded.group(0, k / coded.group_size()).value(coded.code(0, k)), *wanted, "{name} at {k}");
        }
    }
}

#[test]
fn values_become_the_same_blocks() {
    let golden = golden();
    let values = floats(&golden.values);
    let dense = Weight::dense(values.len() / 32, 32, Values::F32(values)).unwrap();
    for (name, wanted) in golden.quantized {
        let Weight::Blocks(blocks) = quantize_blocks(&dense, format(&name)).unwrap() else { panic!("not blocks") };
        assert_eq!(blocks.bytes(), bytes(&wanted), "{name}");
    }
}

#[test]
fn what_is_no_block_is_refused() {
    for format in BlockFormat::ALL {
        let (k, size) = (format.block_size(), format.block_bytes());
        let new = |k, bytes| Blocks::new(1, k, format, bytes);
        assert!(new(k, vec![0; size]).is_ok());
        assert!(new(k, vec![0; size - 1]).is_err());
        assert!(new(k + 1, vec![0; size]).is_err());
        assert!(Blocks::new(usize::MAX, k, format, Vec::new()).is_err());
        assert!(new(k, vec![0xff; size]).is_err()); // scales that are NaN
    }
    let dense = Weight::dense(1, 32, Values::F32(vec![f32::INFINITY; 32])).unwrap();
    assert!(quantize_blocks(&dense, BlockFormat::Q8_0).is_err());
    let dense = Weight::dense(1, 32, Values::F32(vec![1e9; 32])).unwrap();
    assert!(quantize_blocks(&dense, BlockFormat::Q4_0).is_err()); // its scale is beyond f16
    let odd = Weight::dense(1, 33, Values::F32(vec![1.0; 33])).unwrap();
    assert!(quantize_blocks(&odd, BlockFormat::Q8_0).is_err());
}
