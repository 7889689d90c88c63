//! Text features against scikit-learn, and as a reader of snippets needs them.

use std::time::Instant;

use model_zoo::Error;
use model_zoo::data::{Inputs, rust_snippets};
use model_zoo::model::{Classify, accuracy};
use model_zoo::small::features::{TextFeatures, TextFeaturesConfig};
use model_zoo::small::forest::{Forest, ForestConfig};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    dims: usize,
    max_ngram: usize,
    train_texts: Vec<Vec<u8>>,
    test_texts: Vec<Vec<u8>>,
    train: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
}

#[test]
fn the_weights_are_those_of_scikit_learn() {
    let golden: Golden = serde_json::from_str(include_str!("golden/features.json")).unwrap();
    let config = TextFeaturesConfig { dims: golden.dims, max_ngram: golden.max_ngram };
    let features = TextFeatures::fit(&golden.train_texts, config).unwrap();
    for (texts, wanted) in [(golden.train_texts, golden.train), (golden.test_texts, golden.test)] {
        let got = features.dense(&texts);
        assert_eq!([got.rows, got.cols], [wanted.len(), golden.dims]);
        for (row, wanted) in wanted.iter().enumerate() {
            let close = |(got, wanted): (&f32, &f32)| (got - wanted).abs() < 1e-6;
            assert!(got.row(row).iter().zip(wanted).all(close), "row {row}: {:?} {wanted:?}", got.row(row));
        }
    }
}

#[test]
fn sparse_and_dense_agree_and_rows_have_length_one() {
    let texts: Vec<Vec<u8>> = vec![b"let x = 1;".to_vec(), vec![], vec![0, 255, 0, 255], b"x".to_vec()];
    let features = TextFeatures::fit(&texts, TextFeaturesConfig::default()).unwrap();
    let (sparse, dense) = (features.sparse(&texts), features.dense(&texts));
    for (row, text) in texts.iter().enumerate() {
        let (columns, values) = sparse.row(row);
        assert!(columns.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(columns.iter().zip(values).all(|(&column, &value)| dense.row(row)[column as usize] == value && value != 0.0));
        assert_eq!(dense.row(row).iter().filter(|value| **value != 0.0).count(), columns.len());
        let length: f32 = values.iter().map(|value| value * value).sum();
        assert!(if text.is_empty() { length == 0.0 } else { (length - 1.0).abs() < 1e-5 });
    }
}

#[test]
fn features_survive_json_and_bad_settings_are_refused() {
    let features = TextFeatures::fit(&[b"abc".to_vec()], TextFeaturesConfig { dims: 8, max_ngram: 2 }).unwrap();
    let text = serde_json::to_string(&features).unwrap();
    assert_eq!(serde_json::from_str::<TextFeatures>(&text).unwrap(), features);
    assert!(serde_json::from_str::<TextFeatures>(&text.replace("\"dims\":8", "\"dims\":16")).is_err());
    for (dims, max_ngram) in [(0, 2), (12, 2), (1 << 21, 2), (8, 0), (8, 9)] {
        assert!(matches!(TextFeatures::fit(&[], TextFeaturesConfig { dims, max_ngram }), Err(Error::Config { .. })));
    }
}

#[test]
fn a_forest_on_the_features_tells_crates_apart() {
    let task = rust_snippets().unwrap();
    let start = Instant::now();
    let features = TextFeatures::fit(task.train.inputs.text().unwrap(), TextFeaturesConfig::default()).unwrap();
    let (train, test) = (features.dense(task.train.inputs.text().unwrap()), features.dense(task.test.inputs.text().unwrap()));
    let (featured, start) = (start.elapsed(), Instant::now());
    let forest = Forest::fit(&train, &task.train.labels, task.classes.len(), ForestConfig::default()).unwrap();
    let fitted = start.elapsed();
    let share = accuracy(&forest.predict(&Inputs::Table(test)).unwrap(), &task.test.labels).unwrap();
    println!("rust-snippets: accuracy {share:.3} of a forest on hashed n-grams; features {featured:?}, fit {fitted:?}");
    // Ten balanced classes: chance is 0.1.
    assert!(share > 0.4, "{share}");
}
