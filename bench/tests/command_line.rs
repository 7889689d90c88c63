//! The program as a shell sees it: exit status and what it says when something is wrong.

use std::path::Path;
use std::process::{Command, Output};

fn call(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sizewise-bench")).args(args).output().unwrap()
}

/// Status, and everything on stderr.
fn refused(args: &[&str]) -> (i32, String) {
    let output = call(args);
    assert!(output.stdout.is_empty(), "{args:?} printed {}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_line_that_is_not_understood_is_no_regression() {
    assert_eq!(refused(&["--no-such-flag"]).0, 64);
    assert_eq!(refused(&["--quick", "--full"]).0, 64);
    let (status, said) = refused(&["compare", "no-such-run", "no-such-run"]);
    assert!(status == 1 && said.contains("no-such-run"), "{status}: {said}");
}

#[test]
fn a_backend_that_cannot_be_had_ends_with_the_remedy() {
    let (status, said) = refused(&["kernels", "--backend", "tpu"]);
    assert!(status == 1 && said.contains("cpu, wgpu, cuda"), "{status}: {said}");
    if !Path::new("/dev/nvidia0").exists() && !Path::new("/dev/dxg").exists() {
        let (status, said) = refused(&["kernels", "--backend", "cuda"]);
        assert!(status == 1 && said.contains("remedy"), "{status}: {said}");
    }
}

#[test]
fn a_doctor_whose_tuning_keeps_nothing_fails_whatever_works_otherwise() {
    let output = call(&["doctor", "--backend", "cpu,wgpu", "--tune", "--device", "no such adapter"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("wgpu: no choice is kept") && said.contains("groups of ops right"), "{said}");
}

#[test]
fn a_doctor_that_finds_no_device_of_the_name_fails_whatever_works_otherwise() {
    for backends in ["cpu", "cpu,wgpu"] {
        let output = call(&["doctor", "--backend", backends, "--device", "no such adapter"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("no backend has a device `no such adapter`") && said.contains("groups of ops right"), "{said}");
    }
}

#[test]
fn a_doctor_fails_where_the_environment_names_an_adapter_that_is_not_there() {
    let status = |backends: &str| {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_sizewise-bench"));
        doctor.args(["doctor", "--backend", backends]).env("WGPU_ADAPTER_NAME", "no such adapter");
        doctor.output().unwrap().status.code()
    };
    assert_eq!((status("cpu"), status("cpu,wgpu")), (Some(0), Some(1)));
}

#[test]
fn a_mistake_in_a_table_is_named_by_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 7] = [
        ("missing", b"a,b\n1,2\n", "label"),
        ("single", b"a,label\n1,x\n2,x\n", "class"),
        ("empty", b"", "empty"),
        ("utf8", b"a,label\n1,x\n\xff,y\n", "line 3"),
        ("ragged", b"a,label\n1,x\n2,y,3\n", "line 3"),
        ("nan", b"a,label\n1,x\nNaN,y\n", "line 3"),
        ("blank", b"a,label\n1,x\n2,\n", "line 3"),
    ];
    for (name, text, named) in cases {
        let path = folder.path().join(format!("{name}.csv"));
        std::fs::write(&path, text).unwrap();
        let (status, said) = refused(&["models", "--task", path.to_str().unwrap(), "--label", "label"]);
        assert!(status == 1 && said.contains(named) && said.contains(name), "{name}: {status}: {said}");
        assert_eq!(std::fs::read(&path).unwrap(), text, "a user's file is never changed");
    }
    let (status, said) = refused(&["models", "--task", "no-such.csv", "--label", "label"]);
    assert!(status == 1 && said.contains("no-such.csv"), "{status}: {said}");
}

#[test]
fn a_filter_that_matches_nothing_is_refused_with_the_names_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let at = out.to_str().unwrap();
    let (status, said) = refused(&["kernels", "--ops", "no-such-op", "--out", at]);
    assert!(status == 1 && said.contains("no-such-op") && said.contains("attention"), "{status}: {said}");
    let (status, said) = refused(&["models", "--task", "digits,rust-lm", "--models", "no-such-model", "--out", at]);
    for name in ["no-such-model", "digits/logistic/f32/cpu", "digits/transformer/int8/cpu", "rust-lm/gpt/f32/cpu"] {
        assert!(status == 1 && said.contains(name), "{status}: {said}");
    }
    assert!(!out.exists());
}
