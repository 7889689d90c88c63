//! The small MLP: how well it tells digits apart, what it learns from a teacher, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kernels::Backend;
use kernels::weight::{Bits, QuantScheme, Zero};
use kernels_cpu::CpuBackend;
use model_zoo::Result;
use model_zoo::data::{Inputs, Table, digits};
use model_zoo::model::{Classify, Describe, Store, accuracy};
use model_zoo::shrink::quantize::quantize;
use model_zoo::small::features::{TextFeatures, TextFeaturesConfig};
use model_zoo::small::logistic::Targets;
use model_zoo::small::mlp::{Activation, Mlp, MlpConfig};
use model_zoo::small::reader::Reader;
use model_zoo::train::fit::{Ended, Summary, Surroundings};
use model_zoo::train::precision::Precision;

fn cpu(threads: usize) -> Arc<dyn Backend> {
    Arc::new(CpuBackend::builder().threads(threads).build().unwrap())
}

fn fit(
    on: &Arc<dyn Backend>,
    reader: Reader,
    inputs: &Inputs,
    targets: Targets<'_>,
    classes: usize,
    config: MlpConfig,
) -> Result<(Mlp, Summary)> {
    let (mut quiet, stop) = (|_: &_| (), AtomicBool::new(false));
    Mlp::fit(on, reader, inputs, targets, classes, config, &mut Surroundings::new(&mut quiet, &stop))
}

#[test]
fn held_out_digits_are_told_apart_also_by_small_forms_and_students() {
    let (task, on) = (digits().unwrap(), cpu(2));
    let right = |model: &Mlp| {
        let predicted = model.place(&on).unwrap().predict(&task.test.inputs).unwrap();
        accuracy(&predicted, &task.test.labels).unwrap()
    };
    let labels = Targets::Classes(&task.train.labels);
    let (model, summary) = fit(&on, Reader::Table, &task.train.inputs, labels, 10, MlpConfig::default()).unwrap();
    assert!(right(&model) >= 0.96, "{} {summary:?}", right(&model));
    let placed = model.place(&on).unwrap();
    assert_eq!((placed.family(), placed.params()), ("mlp", 64 * 128 + 128 + 128 * 10 + 10));

    let scheme = QuantScheme { bits: Bits::Int8, group_size: 64, zero: Zero::Symmetric };
    let int8 = model.with_weights(model.weights().map(|_, weight| quantize(weight, scheme)).unwrap());
    assert!((right(&int8) - right(&model)).abs() <= 0.005, "{} {}", right(&int8), right(&model));

    let path = tempfile::tempdir().unwrap().keep().join("mlp.safetensors");
    int8.save(&path).unwrap();
    let loaded = Mlp::load(&path).unwrap();
    assert_eq!(loaded.weights(), int8.weights());
    assert_eq!(
        loaded.place(&on).unwrap().predict_proba(&task.test.inputs).unwrap(),
        int8.place(&on).unwrap().predict_proba(&task.test.inputs).unwrap()
    );

    // A student of eight neurons that sees no label.
    let taught = placed.predict_proba(&task.train.inputs).unwrap();
    let config = MlpConfig { hidden: vec![8], activation: Activation::Gelu, ..MlpConfig::default() };
    let (student, _) = fit(&on, Reader::Table, &task.train.inputs, Targets::Distributions(&taught), 10, config).unwrap();
    assert!(right(&student) > 0.88, "{}", right(&student));
}

#[test]
fn threads_change_no_bit_and_bf16_learns_too() {
    let task = digits().unwrap();
    let labels = Targets::Classes(&task.train.labels);
    for precision in [Precision::F32, Precision::Bf16] {
        let config = MlpConfig { hidden: vec![32], epochs: 8, precision, ..MlpConfig::default() };
        let models = [1, 2].map(|threads| {
            let on = cpu(threads);
            let (model, _) = fit(&on, Reader::Table, &task.train.inputs, labels, 10, config.clone()).unwrap();
            let predicted = model.place(&on).unwrap().predict(&task.test.inputs).unwrap();
            assert!(accuracy(&predicted, &task.test.labels).unwrap() > 0.9);
            model
        });
        assert_eq!(models[0].weights(), models[1].weights(), "{precision:?}");
    }
}

#[test]
fn texts_are_read_by_their_features() {
    let on = cpu(1);
    let texts: Vec<Vec<u8>> = (0..120).map(|i| format!("{} number {i}", ["alpha", "beta"][i % 2]).into_bytes()).collect();
    let labels: Vec<u32> = (0..120).map(|i| i % 2).collect();
    let features = TextFeatures::fit(&texts, TextFeaturesConfig { dims: 512, max_ngram: 3 }).unwrap();
    let inputs = Inputs::Text(texts);
    let config = MlpConfig { epochs: 20, batch: 16, ..MlpConfig::default() };
    let (model, _) = fit(&on, Reader::Text(features), &inputs, Targets::Classes(&labels), 2, config).unwrap();
    let container = model.to_container().unwrap();
    let model = Mlp::from_container(&container).unwrap().place(&on).unwrap();
    assert!(accuracy(&model.predict(&inputs).unwrap(), &labels).unwrap() > 0.95);
    assert!(model.predict(&Inputs::Table(Table::new(1, 512, vec![0.0; 512]).unwrap())).is_err());
}

#[test]
fn odd_data_is_fitted_or_refused_by_name() {
    let on = cpu(1);
    // A constant column, class 1 without rows, and fewer rows than a batch.
    let values: Vec<f32> = (0..20).flat_map(|i| [3.5, (i % 2) as f32 + 0.01 * i as f32]).collect();
    let inputs = Inputs::Table(Table::new(20, 2, values).unwrap());
    let labels: Vec<u32> = (0..20).map(|i| 2 * (i % 2)).collect();
    let config = MlpConfig { hidden: vec![4, 4], epochs: 300, lr: 0.02, ..MlpConfig::default() };
    let (model, summary) = fit(&on, Reader::Table, &inputs, Targets::Classes(&labels), 3, config.clone()).unwrap();
    assert!(matches!(summary.ended, Ended::Finished | Ended::NoImprovement));
    let placed = model.place(&on).unwrap();
    assert_eq!(placed.predict(&inputs).unwrap(), labels);
    assert!(placed.predict_proba(&Inputs::Table(Table::new(0, 2, vec![]).unwrap())).unwrap().is_empty());
    let nan = Inputs::Table(Table { rows: 2, cols: 2, values: vec![0.0, 1.0, 2.0, f32::NAN] });
    assert!(placed.predict(&nan).unwrap_err().to_string().contains("row 1, column 1"));
    assert!(fit(&on, Reader::Table, &nan, Targets::Classes(&[0, 1]), 2, config.clone()).is_err());
    for (name, broken) in [
        ("hidden", MlpConfig { hidden: vec![0], ..config.clone() }),
        ("batch", MlpConfig { batch: 0, ..config.clone() }),
        ("validation", MlpConfig { validation: f64::NAN, ..config.clone() }),
        ("peak", MlpConfig { lr: -1.0, ..config.clone() }),
    ] {
        let error = fit(&on, Reader::Table, &inputs, Targets::Classes(&labels), 3, broken).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
