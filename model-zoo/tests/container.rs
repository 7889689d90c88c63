//! A model file is intact or refused: cut, flipped and hostile files give a typed error, never a panic and never a model.

use std::path::Path;

use kernels::DType;
use model_zoo::Error;
use model_zoo::container::{CompressionStep, Container, Header, Tokenizer};
use model_zoo::data::Provenance;

fn sample() -> Container {
    let mut header = Header::new("sample", &serde_json::json!({"width": 3, "rate": 0.1})).unwrap();
    header.labels = vec!["no".into(), "yes \"quoted\"".into()];
    header.tokenizer = Some(Tokenizer::Bytes);
    header.compression = vec![CompressionStep { method: "int8".into(), card: serde_json::json!({"error": 1e-3}) }];
    header.seed = u64::MAX;
    header.provenance = Some(Provenance { source: "made here".into(), ..Provenance::default() });
    let mut container = Container::new(header);
    container.insert("weight", &[2, 3], &[1.0f32, -2.0, f32::NAN, 0.0, -0.0, f32::INFINITY]).unwrap();
    container.insert("bytes", &[5], &[1u8, 2, 3, 4, 5]).unwrap();
    container.insert("empty", &[0, 7], &[0i32; 0]).unwrap();
    container
}

fn assert_format(error: Error, at: &str) {
    let Error::Format { path, field, what, .. } = &error else { panic!("{at}: {error:?}") };
    assert!(path.ends_with("model") && !field.is_empty() && !what.is_empty(), "{at}: {error}");
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit_and_nothing_else_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let saved = sample();
    saved.save(&path).unwrap();
    saved.save(&path).unwrap();
    let loaded = Container::load(&path).unwrap();
    assert_eq!(loaded.names().collect::<Vec<_>>(), ["bytes", "empty", "weight"]);
    assert_eq!((&loaded.header.labels, loaded.header.seed), (&saved.header.labels, u64::MAX));
    assert_eq!((&loaded.header.config, &loaded.header.provenance), (&saved.header.config, &saved.header.provenance));
    assert_eq!((&loaded.header.compression, loaded.header.tokenizer), (&saved.header.compression, Some(Tokenizer::Bytes)));
    assert_eq!(loaded.info("empty").unwrap(), (DType::I32, [0, 7].as_slice()));
    let bits = |container: &Container| {
        container.values::<f32>("weight", &[Some(2), None]).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(bits(&loaded), bits(&saved));
    assert_eq!(loaded.to_bytes().unwrap(), std::fs::read(&path).unwrap());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let safetensors = std::fs::read(&path).unwrap();
    assert_eq!(safetensors::SafeTensors::deserialize(&safetensors).unwrap().tensor("bytes").unwrap().data(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = sample().to_bytes().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model");
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert_format(Container::load(&path).unwrap_err(), &format!("cut at {length}"));
        assert_format(Container::from_bytes(&path, bytes[..length].to_vec()).unwrap_err(), &format!("cut at {length}"));
    }
    std::fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert_format(Container::load(&path).unwrap_err(), "one byte more");
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    let bytes = sample().to_bytes().unwrap();
    for at in 0..bytes.len() {
        for value in [0, 0xff, bytes[at].wrapping_add(1), bytes[at].wrapping_sub(1), bytes[at] ^ 0x20, bytes[at] ^ 0x80] {
            if value == bytes[at] {
                continue;
            }
            let mut broken = bytes.clone();
            broken[at] = value;
            let Err(error) = Container::from_bytes(Path::new("model"), broken) else {
                // JSON may be padded with any white space; that changes nothing a reader sees.
                assert!(bytes[at].is_ascii_whitespace() && value.is_ascii_whitespace(), "byte {at} = {value} was accepted");
                continue;
            };
            assert_format(error, &format!("byte {at} = {value}"));
        }
    }
}

#[test]
fn hostile_headers_are_refused_before_anything_is_allocated() {
    let refused = |header: &str, data: &[u8]| {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        assert_format(Container::from_bytes(Path::new("model"), bytes).unwrap_err(), header);
    };
    refused(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, b"");
    refused(r#"{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}"#, b"1234");
    refused(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, b"12345678");
    refused(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
        b"123456",
    );
    refused(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551615]}}"#, b"1234");
    refused(r#"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"__metadata__":{"sizewise":"{}"}}"#, b"12345678");
    refused(r#"{"__metadata__":{"other":"x"}}"#, b"");
    refused(&format!(r#"{{"__metadata__":{{"sizewise":"{}"}}}}"#, "[".repeat(100_000)), b"");
    refused(r#"{"__metadata__":{"sizewise":"{\"schema\":2}"}}"#, b"");
    refused("", b"");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model");
    for length in [u64::MAX, 1 << 62, 100_000_001, 9] {
        std::fs::write(&path, [length.to_le_bytes(), [b'x'; 8]].concat()).unwrap();
        assert_format(Container::load(&path).unwrap_err(), "header length");
    }
}

#[test]
fn wrong_names_types_shapes_and_families_are_named() {
    let container = sample();
    let text = |error: Error| error.to_string();
    assert_eq!(text(container.values::<f32>("wait", &[None]).unwrap_err()), ": `wait`: there is no such tensor");
    assert_eq!(text(container.values::<f32>("bytes", &[None]).unwrap_err()), ": `bytes`: the elements are u8, expected f32");
    assert_eq!(
        text(container.values::<f32>("weight", &[Some(3), None]).unwrap_err()),
        ": `weight`: the shape is [2, 3], expected [3, any]"
    );
    assert_eq!(
        text(container.config::<u32>("other").unwrap_err()),
        ": `family`: this is a model of family sample, expected other"
    );
    assert!(container.config::<u32>("sample").is_err());
    let mut container = container;
    assert!(container.insert("bytes", &[1], &[1u8]).is_err());
    assert!(container.insert("short", &[usize::MAX, 2], &[1u8]).is_err());
}
