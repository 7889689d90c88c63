//! Logistic regression and the linear SVM against scikit-learn's optima, and what they must never do.

use std::sync::Arc;

use kernels::Backend;
use kernels::weight::{Bits, QuantScheme, Zero};
use kernels_cpu::CpuBackend;
use model_zoo::data::{Inputs, Table, digits};
use model_zoo::model::{Classify, Describe, Store, accuracy};
use model_zoo::random::Random;
use model_zoo::shrink::quantize::quantize;
use model_zoo::small::features::{SparseRows, TextFeatures, TextFeaturesConfig};
use model_zoo::small::linear::LinearClassifier;
use model_zoo::small::logistic::{Logistic, LogisticConfig, Penalized, Targets};
use model_zoo::small::reader::Reader;
use model_zoo::small::rows::Rows;
use model_zoo::small::svm::{Calibration, Margin, Svm, SvmConfig};
use serde::Deserialize;

/// `tests/golden/linear_models.py` says what each is.
#[derive(Deserialize)]
struct Golden {
    logistic_raw: Vec<f32>,
    logistic_unit: Vec<f32>,
    logistic_l1: Vec<f32>,
    logistic_l1_zeros: usize,
    svm_hinge_weight: Vec<f32>,
    svm_hinge_bias: Vec<f32>,
    svm_hinge_accuracy: f64,
    svm_squared_hinge_weight: Vec<f32>,
    svm_squared_hinge_bias: Vec<f32>,
    svm_squared_hinge_accuracy: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/linear_models.json")).unwrap()
}

fn cpu(threads: usize) -> Arc<dyn Backend> {
    Arc::new(CpuBackend::builder().threads(threads).build().unwrap())
}

/// Rows `range` of the embedded file in its own order, pixels times `factor`.
fn file_rows(range: std::ops::Range<usize>, factor: f32) -> (Inputs, Vec<u32>) {
    let images = || include_bytes!("../data/digits.u8").chunks_exact(65).skip(range.start).take(range.len());
    let pixels = images().flat_map(|image| &image[..64]).map(|&pixel| f32::from(pixel) * factor).collect();
    let labels = images().map(|image| u32::from(image[64])).collect();
    (Inputs::Table(Table::new(range.len(), 64, pixels).unwrap()), labels)
}

fn largest_difference(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    got.iter().zip(wanted).fold(0f32, |most, (got, wanted)| most.max((got - wanted).abs()))
}

fn fit_logistic(on: &Arc<dyn Backend>, inputs: &Inputs, labels: &[u32], config: LogisticConfig) -> Logistic {
    Logistic::fit(on.as_ref(), Reader::Table, inputs, Targets::Classes(labels), 10, config).unwrap().0
}

#[test]
fn logistic_regression_reaches_scikit_learns_optimum() {
    let (golden, on) = (golden(), cpu(2));
    let l2 = LogisticConfig { max_iterations: 3000, tolerance: 1e-6, ..LogisticConfig::default() };
    let l1 = LogisticConfig { l2: 0.0, l1: 1.0, ..l2 };
    let cases = [(1.0, l2, &golden.logistic_raw), (1.0 / 16.0, l2, &golden.logistic_unit), (1.0 / 16.0, l1, &golden.logistic_l1)];
    for (factor, config, wanted) in cases {
        let (inputs, labels) = file_rows(0..1437, factor);
        let (shown, _) = file_rows(1437..1477, factor);
        let targets = Targets::Classes(&labels);
        let (model, minimum) = Logistic::fit(on.as_ref(), Reader::Table, &inputs, targets, 10, config).unwrap();
        let got = model.place(&on).unwrap().predict_proba(&shown).unwrap();
        let difference = largest_difference(&got, wanted);
        assert!(difference < 1e-3, "{difference} with {config:?}: {minimum:?}");
        if config.l1 > 0.0 {
            let zeros = 640 - model.scores().weight.nonzeros();
            assert!(zeros.abs_diff(golden.logistic_l1_zeros) <= 6, "{zeros} zeros, scikit-learn {}", golden.logistic_l1_zeros);
        }
    }
}

#[test]
fn the_svm_reaches_liblinears_optimum() {
    let (golden, on) = (golden(), cpu(1));
    let (inputs, labels) = file_rows(0..1437, 1.0 / 16.0);
    let (held_out, truth) = file_rows(1437..1797, 1.0 / 16.0);
    let cases = [
        (Margin::Hinge, &golden.svm_hinge_weight, &golden.svm_hinge_bias, golden.svm_hinge_accuracy),
        (
            Margin::SquaredHinge,
            &golden.svm_squared_hinge_weight,
            &golden.svm_squared_hinge_bias,
            golden.svm_squared_hinge_accuracy,
        ),
    ];
    for (margin, weight, bias, reached) in cases {
        let config = SvmConfig { margin, tolerance: 1e-7, max_epochs: 100_000, ..SvmConfig::default() };
        let model = Svm::fit(Reader::Table, &inputs, &labels, 10, config).unwrap();
        assert!(model.converged());
        let weights = largest_difference(&model.scores().weight.to_f32(), weight);
        let biases = largest_difference(&model.scores().bias, bias);
        assert!(weights < 1e-4 && biases < 1e-4, "{margin:?}: {weights} {biases}");
        let predicted = model.place(&on).unwrap().predict(&held_out).unwrap();
        assert!((accuracy(&predicted, &truth).unwrap() - reached).abs() < 1e-9);
    }
}

#[test]
fn held_out_digits_are_told_apart() {
    let (task, on) = (digits().unwrap(), cpu(2));
    let right = |model: &dyn Classify| accuracy(&model.predict(&task.test.inputs).unwrap(), &task.test.labels).unwrap();
    for penalized in [Penalized::Raw, Penalized::Standardized] {
        let config = LogisticConfig { penalized, ..LogisticConfig::default() };
        let model = fit_logistic(&on, &task.train.inputs, &task.train.labels, config).place(&on).unwrap();
        assert!(right(&model) >= 0.94, "{penalized:?}: {}", right(&model));
        assert_eq!((model.family(), model.params()), ("logistic", 650));
    }
    for calibration in [Calibration::Softmax, Calibration::Platt { folds: 3 }] {
        let config = SvmConfig { c: 0.01, calibration, ..SvmConfig::default() };
        let model = Svm::fit(Reader::Table, &task.train.inputs, &task.train.labels, 10, config).unwrap().place(&on).unwrap();
        assert!(right(&model) >= 0.94, "{calibration:?}: {}", right(&model));
        let probabilities = model.predict_proba(&task.test.inputs).unwrap();
        assert!(probabilities.chunks_exact(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    }
}

/// Mean of −ln p(right class).
fn log_loss(probabilities: &[f32], labels: &[u32]) -> f64 {
    let of_right =
        probabilities.chunks_exact(10).zip(labels).map(|(row, &label)| -f64::from(row[label as usize].max(1e-12)).ln());
    of_right.sum::<f64>() / labels.len() as f64
}

#[test]
fn platts_probabilities_are_better_than_a_softmax_of_scores() {
    let (task, on) = (digits().unwrap(), cpu(1));
    let loss = |calibration| {
        let config = SvmConfig { c: 0.01, calibration, ..SvmConfig::default() };
        let model = Svm::fit(Reader::Table, &task.train.inputs, &task.train.labels, 10, config).unwrap().place(&on).unwrap();
        log_loss(&model.predict_proba(&task.test.inputs).unwrap(), &task.test.labels)
    };
    let (softmax, platt) = (loss(Calibration::Softmax), loss(Calibration::Platt { folds: 3 }));
    assert!(platt < 0.8 * softmax, "{platt} against {softmax}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let task = digits().unwrap();
    let bits = |weights: Vec<f32>| weights.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let logistic = |threads| {
        let model = fit_logistic(&cpu(threads), &task.train.inputs, &task.train.labels, LogisticConfig::default());
        bits(model.scores().weight.to_f32())
    };
    assert_eq!(logistic(1), logistic(2));
    let svm = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let fit = || Svm::fit(Reader::Table, &task.train.inputs, &task.train.labels, 10, SvmConfig::default()).unwrap();
        bits(pool.install(fit).scores().weight.to_f32())
    };
    assert_eq!(svm(1), svm(3));
}

#[test]
fn sparse_and_dense_rows_give_the_same_model() {
    let (on, mut random) = (cpu(1), Random::new(9));
    let words = ["fn", "let", "mut", "match", "loop", "trait", "impl", "use", "mod", "crate"];
    let mut texts = Vec::new();
    let labels: Vec<u32> = (0..300).map(|row| row % 3).collect();
    for &label in &labels {
        let text: Vec<&str> = (0..12).map(|_| words[(random.below(6) + 2 * label as usize) % words.len()]).collect();
        texts.push(text.join(" ").into_bytes());
    }
    let features = TextFeatures::fit(&texts, TextFeaturesConfig { dims: 256, max_ngram: 3 }).unwrap();
    let (dense, text) = (Inputs::Table(features.dense(&texts)), Inputs::Text(texts));
    let readers = [(Reader::Table, &dense), (Reader::Text(features), &text)];
    let [a, b] = readers.clone().map(|(reader, inputs)| {
        let config = LogisticConfig::default();
        let (model, _) = Logistic::fit(on.as_ref(), reader, inputs, Targets::Classes(&labels), 3, config).unwrap();
        model.place(&on).unwrap().predict_proba(inputs).unwrap()
    });
    assert!(largest_difference(&a, &b) < 2e-3, "{}", largest_difference(&a, &b));
    let [a, b] = readers.map(|(reader, inputs)| {
        let config = SvmConfig { tolerance: 1e-6, ..SvmConfig::default() };
        let model = Svm::fit(reader, inputs, &labels, 3, config).unwrap();
        let predicted = model.place(&on).unwrap().predict(inputs).unwrap();
        assert!(accuracy(&predicted, &labels).unwrap() > 0.9);
        model.scores().weight.to_f32()
    });
    assert!(largest_difference(&a, &b) < 1e-4, "{}", largest_difference(&a, &b));
}

#[test]
fn a_teachers_distributions_are_learned_as_classes_are() {
    let (task, on) = (digits().unwrap(), cpu(2));
    let (train, labels) = (&task.train.inputs, &task.train.labels);
    let one_hot: Vec<f32> = labels.iter().flat_map(|&label| (0..10).map(move |class| f32::from(class == label))).collect();
    let fit = |targets: Targets<'_>, config| Logistic::fit(on.as_ref(), Reader::Table, train, targets, 10, config).unwrap().0;
    let config = LogisticConfig { l2: 10.0, max_iterations: 1000, tolerance: 1e-6, ..LogisticConfig::default() };
    let hard = fit(Targets::Classes(labels), config);
    let soft = fit(Targets::Distributions(&one_hot), config);
    let difference = largest_difference(&hard.scores().weight.to_f32(), &soft.scores().weight.to_f32());
    assert!(difference < 1e-3, "{difference}");
    // A student without penalty reproduces a teacher of its own kind.
    let teacher = hard.place(&on).unwrap().predict_proba(train).unwrap();
    let student = fit(Targets::Distributions(&teacher), LogisticConfig { l2: 1e-6, ..config });
    let student = student.place(&on).unwrap().predict_proba(train).unwrap();
    let difference = largest_difference(&student, &teacher);
    assert!(difference < 0.02, "{difference}");
}

#[test]
fn odd_data_is_fitted_or_refused_by_name() {
    let on = cpu(1);
    let fit = |values: Vec<f32>, labels: &[u32], classes| {
        let inputs = Inputs::Table(Table { rows: labels.len(), cols: 3, values });
        let targets = Targets::Classes(labels);
        let logistic = Logistic::fit(on.as_ref(), Reader::Table, &inputs, targets, classes, LogisticConfig::default());
        let svm = Svm::fit(Reader::Table, &inputs, labels, classes, SvmConfig::default());
        (logistic.map(|(model, _)| model), svm, inputs)
    };
    // A constant column, and class 1 without rows.
    let (logistic, svm, inputs) = fit(vec![5.0, 0.0, 1.0, 5.0, 0.1, 2.0, 5.0, 3.0, 1.0, 5.0, 3.1, 2.0], &[0, 0, 2, 2], 3);
    let logistic = logistic.unwrap();
    assert_eq!(logistic.scores().weight.to_f32()[0], 0.0);
    let placed = [logistic.place(&on).unwrap(), svm.unwrap().place(&on).unwrap()];
    for model in placed {
        assert_eq!(model.predict(&inputs).unwrap(), [0, 0, 2, 2]);
        assert!(model.predict_proba(&inputs).unwrap().iter().all(|p| p.is_finite()));
        assert!(model.predict_proba(&Inputs::Table(Table { rows: 0, cols: 3, values: vec![] })).unwrap().is_empty());
        let nan = Inputs::Table(Table { rows: 1, cols: 3, values: vec![0.0, f32::NAN, 0.0] });
        assert!(model.predict(&nan).unwrap_err().to_string().contains("row 0, column 1"));
        let narrow = Inputs::Table(Table { rows: 1, cols: 2, values: vec![0.0; 2] });
        assert!(model.predict(&narrow).unwrap_err().to_string().contains("3 columns"));
        assert!(model.predict(&Inputs::Text(vec![b"x".to_vec()])).is_err());
    }
    let (logistic, svm, _) = fit(vec![0.0, 0.0, 0.0, 1.0, f32::INFINITY, 1.0], &[0, 1], 2);
    assert!(logistic.unwrap_err().to_string().contains("row 1, column 1"));
    assert!(svm.unwrap_err().to_string().contains("row 1, column 1"));
    for (labels, classes) in [(&[0u32, 3][..], 2), (&[0, 0], 1), (&[], 2)] {
        let (logistic, svm, _) = fit(vec![0.0; 3 * labels.len()], labels, classes);
        assert!(logistic.is_err() && svm.is_err());
    }
    let broken = SparseRows { cols: 3, ends: vec![1], columns: vec![3], values: vec![1.0] };
    assert!(Rows::sparse(&broken).is_err());
}

#[test]
fn two_classes_take_one_plane_and_mirrored_scores() {
    let on = cpu(1);
    let inputs = Inputs::Table(Table::new(6, 1, vec![-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]).unwrap());
    let model = Svm::fit(Reader::Table, &inputs, &[0, 0, 0, 1, 1, 1], 2, SvmConfig::default()).unwrap();
    let weight = model.scores().weight.to_f32();
    assert_eq!(weight[0], -weight[1]);
    assert_eq!(model.place(&on).unwrap().predict(&inputs).unwrap(), [0, 0, 0, 1, 1, 1]);
}

#[test]
fn models_come_back_from_files_and_small_forms_predict_alike() {
    let (task, on) = (digits().unwrap(), cpu(1));
    let (train, test) = (&task.train, &task.test.inputs);
    let logistic = fit_logistic(&on, &train.inputs, &train.labels, LogisticConfig::default());
    let config = SvmConfig { c: 0.01, calibration: Calibration::Platt { folds: 2 }, ..SvmConfig::default() };
    let svm = Svm::fit(Reader::Table, &train.inputs, &train.labels, 10, config).unwrap();
    let scheme = QuantScheme { bits: Bits::Int8, group_size: 64, zero: Zero::Symmetric };
    let int8 = logistic.with_weights(&logistic.weights().map(|_, weight| quantize(weight, scheme)).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");

    let probabilities = |model: &LinearClassifier| model.predict_proba(test).unwrap();
    for model in [&logistic, &int8] {
        model.save(&path).unwrap();
        let loaded = Logistic::load(&path).unwrap();
        assert_eq!(&loaded, model);
        assert_eq!(probabilities(&loaded.place(&on).unwrap()), probabilities(&model.place(&on).unwrap()));
    }
    assert!(Svm::load(&path).unwrap_err().to_string().contains("family"));
    svm.save(&path).unwrap();
    let loaded = Svm::load(&path).unwrap();
    assert_eq!(loaded, svm);
    assert_eq!(probabilities(&loaded.place(&on).unwrap()), probabilities(&svm.place(&on).unwrap()));

    let right = |model: &Logistic| accuracy(&model.place(&on).unwrap().predict(test).unwrap(), &task.test.labels).unwrap();
    assert!((right(&int8) - right(&logistic)).abs() <= 0.005);
    assert!(logistic.with_weights(&Default::default()).is_err());
}
