//! The user's own CSV and JSON Lines files: what is read from them, and what is said about bad ones.

use std::path::PathBuf;

use model_zoo::data::{Classification, Inputs, Task};
use model_zoo::{Error, Result};

fn file(extension: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(format!("own.{extension}"));
    std::fs::write(&path, content).unwrap();
    (directory, path)
}

fn load(extension: &str, content: impl AsRef<[u8]>) -> Result<Classification> {
    let (_directory, path) = file(extension, content.as_ref());
    match Task::load(path.to_str().unwrap(), Some("y"), 7)? {
        Task::Classification(task) => Ok(task),
        Task::Language(_) => panic!("a file with labels is a classification task"),
    }
}

/// The message without the path, which differs from run to run.
fn message(result: Result<Classification>) -> String {
    let error = result.expect_err("bad data was accepted");
    assert!(matches!(error, Error::Data { .. }), "{error:?}");
    let text = error.to_string();
    text[text.find("own.").unwrap()..].to_owned()
}

#[test]
fn a_table_becomes_numbers_and_one_column_per_category() {
    let mut csv = String::from("\u{feff}width,colour,y,height\r\n");
    for i in 0..20 {
        csv += &format!("{i}.5,{},{},\"-{i}e1\"\r\n", ["red", "blue"][i % 2], [10, 9][i % 2]);
    }
    let task = load("csv", &csv).unwrap();
    assert_eq!(task.columns, ["width", "colour=blue", "colour=red", "height"]);
    assert_eq!(task.classes, ["9", "10"], "classes that are numbers are in numeric order");
    let (train, test) = (task.train.inputs.table().unwrap(), task.test.inputs.table().unwrap());
    assert_eq!([train.rows, train.cols, test.rows, test.cols], [16, 4, 4, 4]);
    for (side, labels) in [(train, &task.train.labels), (test, &task.test.labels)] {
        for (row, &label) in labels.iter().enumerate() {
            let &[width, blue, red, height] = side.row(row) else { panic!("four columns") };
            let i = width - 0.5;
            assert_eq!([blue, red, height], [i % 2.0, 1.0 - i % 2.0, -10.0 * i]);
            assert_eq!(label, 1 - (i as u32 % 2));
        }
    }
    assert_eq!(task, {
        load("csv", &csv)
            .map(|again| Classification { name: task.name.clone(), provenance: task.provenance.clone(), ..again })
            .unwrap()
    });
}

#[test]
fn one_text_column_is_a_text_task_in_both_formats() {
    let (mut csv, mut jsonl) = (String::from("y,text\n"), String::new());
    for i in 0..10 {
        csv += &format!("{},\"line {i}\nand more, über\"\n", ["a", "b"][i % 2]);
        let fields = [format!("\"text\": \"line {i}\\nand more, über\""), format!("\"y\": \"{}\"", ["a", "b"][i % 2])];
        jsonl += &format!("{{{}, {}}}\n", fields[i % 2], fields[1 - i % 2]);
    }
    let (csv, jsonl) = (load("csv", csv).unwrap(), load("jsonl", jsonl).unwrap());
    assert_eq!((&csv.train, &csv.test, &csv.classes), (&jsonl.train, &jsonl.test, &jsonl.classes));
    let Inputs::Text(texts) = &csv.test.inputs else { panic!("texts") };
    assert_eq!(texts.len(), 2);
    assert!(texts.iter().all(|text| text.ends_with("\nand more, über".as_bytes())));
}

#[test]
fn json_numbers_and_booleans_are_features() {
    let jsonl: String = (0..8).map(|i| format!("{{\"n\": {i}, \"b\": {}, \"y\": {}}}\n\n", i % 3 == 0, i % 2 == 0)).collect();
    let task = load("jsonl", jsonl).unwrap();
    assert_eq!((task.columns, task.classes), (vec!["n".into(), "b".into()], vec!["false".into(), "true".into()]));
    let table = task.train.inputs.table().unwrap().clone();
    assert!((0..table.rows).all(|row| table.row(row)[1] == f32::from(table.row(row)[0] % 3.0 == 0.0)));
}

#[test]
fn bad_csv_is_named_by_line_and_column() {
    let distinct: String = (0..65).map(|i| format!("{i},name{i},{}\n", i % 2)).collect();
    let cases: &[(&[u8], &str)] = &[
        (b"", "own.csv: the file is empty; a header line and rows were expected"),
        (b"a,y\n", "own.csv: there is a header line but no rows"),
        (b"a,b\n1,2\n", "own.csv, line 1, column `y`: there is no such label column; the columns are `a`, `b`"),
        (b"a,y,a\n1,2,3\n", "own.csv, line 1, column `a`: this name stands twice"),
        (b"a,y\n1,x\n2,x\n3,x\n", "own.csv: every row is of class \"x\"; two classes are needed"),
        (b"a,y\n1,x\n2\n", "own.csv, line 3: 1 fields, but the header has 2"),
        (b"a,y\n1,x\n\n2,x,3\n", "own.csv, line 4: 3 fields, but the header has 2"),
        (b"a,y\r\n1,x\r\n2,x,3\r\n", "own.csv, line 3: 3 fields, but the header has 2"),
        (b"a,y\r1,x\r2,x,3\r", "own.csv, line 3: 3 fields, but the header has 2"),
        (b"\n\na,y\n\"1\n\n\",x\n2,x,3\n", "own.csv, line 7: 3 fields, but the header has 2"),
        ("\u{feff}a,y\n1,x\n2,x,3\n".as_bytes(), "own.csv, line 3: 3 fields, but the header has 2"),
        (b"a,y\n1,x\nNaN,x\n3,z\n4,z\n", "own.csv, line 3, column `a`: \"NaN\" is not a finite f32"),
        (b"a,y\n1,x\n2,x\n3,z\n-inf,z\n", "own.csv, line 5, column `a`: \"-inf\" is not a finite f32"),
        (b"a,y\n1,x\n2,x\n3,z\n1e39,z\n", "own.csv, line 5, column `a`: \"1e39\" is not a finite f32"),
        (b"a,y\n1,x\n2,x\nthree,z\n4,z\n", "own.csv, line 4, column `a`: \"three\" is not a number"),
        (b"a,y\n1,x\n2,x\n,z\n4,z\n", "own.csv, line 4, column `a`: the number is missing"),
        (b"a,y\n1,x\n2,x\n3,\n4,z\n", "own.csv, line 4: the label is missing"),
        (b"a,y\n1,x\n2,x\n3,z\n", "own.csv, line 4: class \"z\" has one row; each needs two, one to fit on and one to hold out"),
        (b"a,y\n1,x\n\xff2,x\n", "own.csv, line 3, column `a`: not UTF-8 at byte 0 of the field; save the file as UTF-8"),
        (b"\xffa,y\n1,x\n", "own.csv, line 1, column `#1`: not UTF-8 at byte 0 of the field; save the file as UTF-8"),
        (b"y\nx\nx\nz\nz\n", "own.csv: there is no column besides the label"),
        (
            &[b"n,name,y\n", distinct.as_bytes()].concat(),
            "own.csv, column `name`: 65 distinct texts, at most 64 can become features; leave the column out, or keep it as the \
             only one besides the label to classify texts",
        ),
    ];
    for (content, expected) in cases {
        assert_eq!(message(load("csv", content)), *expected);
    }
}

#[test]
fn bad_jsonl_is_named_by_line_and_field() {
    let cases: &[(&[u8], &str)] = &[
        (b"\n\n", "own.jsonl: the file is empty; one JSON object per line was expected"),
        (b"{\"a\": 1}\n", "own.jsonl, line 1, column `y`: there is no such label column; the columns are `a`"),
        (b"{\"a\": 1, \"y\": 1, \"a\": 2}\n", "own.jsonl, line 1, column `a`: this name stands twice"),
        (
            b"{\"a\": 1, \"y\": 1}\n{\"a\": 1, \"y\": 1, \"a\": 2}\n",
            "own.jsonl, line 2, column `a`: this field stands twice in the object",
        ),
        (b"{\"a\": 1, \"y\": 1}\n{\"y\": 1}\n", "own.jsonl, line 2, column `a`: this field of the first line is missing here"),
        (b"{\"a\": 1, \"y\": 1}\n{\"a\": 1}\n", "own.jsonl, line 2, column `y`: this field of the first line is missing here"),
        (
            b"{\"a\": 1, \"y\": 1}\n{\"a\": 1, \"y\": 1, \"c\": 0}\n",
            "own.jsonl, line 2, column `c`: the first line has no such field",
        ),
        (
            b"{\"a\": 1, \"y\": 1}\n{\"a\": \"1\", \"y\": 1}\n",
            "own.jsonl, line 2, column `a`: a text, expected a number as on the first line",
        ),
        (b"{\"a\": [], \"y\": 1}\n", "own.jsonl, line 1, column `a`: an array, expected a number or a text"),
        (b"{\"a\": 1, \"y\": null}\n", "own.jsonl, line 1, column `y`: null, expected the name of a class"),
        (b"{\"a\": 1e39, \"y\": 1}\n", "own.jsonl, line 1, column `a`: \"1e+39\" is not a finite f32"),
        (b"{\"a\": NaN, \"y\": 1}\n", "own.jsonl, line 1: no JSON object: expected value at character 7"),
        (b"[1]\n", "own.jsonl, line 1: no JSON object: invalid type: sequence, expected a JSON object"),
        (b"{\"a\": 1", "own.jsonl, line 1: no JSON object: EOF while parsing an object at character 7"),
        (b"{\"a\": \"\xff\"}\n", "own.jsonl, line 1: not UTF-8 at byte 7 of the line; save the file as UTF-8"),
    ];
    for (content, expected) in cases {
        assert_eq!(message(load("jsonl", content)), *expected);
    }
    let long = [b"{\"y\": \"", vec![b'x'; 17 << 20].as_slice(), b"\"}"].concat();
    assert_eq!(message(load("jsonl", long)), "own.jsonl, line 1: longer than 16777216 bytes, the limit of a line");
}

#[test]
fn any_bytes_give_an_error_and_never_a_panic() {
    let valid = b"a,\"b\",y\n1,x,0\n2,y,1\n3,x,0\n4,y,1\n".as_slice();
    let object =
        b"{\"a\": 1, \"y\": \"0\"}\n{\"a\": 2, \"y\": \"1\"}\n{\"a\": 3, \"y\": \"0\"}\n{\"a\": 4, \"y\": \"1\"}\n".as_slice();
    for (extension, valid) in [("csv", valid), ("jsonl", object)] {
        assert!(load(extension, valid).is_ok());
        for at in 0..valid.len() {
            let _ = load(extension, &valid[..at]);
            for byte in [0, 0xff, b'"', b'\n', b',', valid[at] ^ 0x20] {
                let mut broken = valid.to_vec();
                broken[at] = byte;
                let _ = load(extension, broken);
            }
        }
    }
}

#[test]
fn the_file_is_only_read_and_names_are_checked() {
    let content = b"a,y\n1,x\n2,x\n3,z\n4,z\n";
    let (_directory, path) = file("csv", content);
    Task::csv(&path, "y", 1).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content);
    let unlabelled = Task::load(path.to_str().unwrap(), None, 1).unwrap_err().to_string();
    assert!(unlabelled.starts_with("`label`: "), "{unlabelled}");
    assert!(matches!(Task::load("absent.csv", Some("y"), 1), Err(Error::Io { .. })));
    let unknown = Task::load("digit", None, 1).unwrap_err().to_string();
    assert_eq!(unknown, "`task`: `digit` is none of digits, rust-lm, rust-snippets, PATH.csv, PATH.jsonl");
    for name in Task::EMBEDDED {
        assert_eq!(Task::load(name, None, 1).unwrap().name(), name);
    }
}
