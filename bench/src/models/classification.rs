//! A classification task: small models, a transformer, what it shrinks to, and what it teaches.

use super::entry::Entry;
use super::section::{Made, Named, Section};
use super::small;
use super::variants::VARIANTS;
use crate::report::Family;
use kernels::DType;
use model_zoo::Result;
use model_zoo::data::{Classification, Inputs, Standardizer};
use model_zoo::large::classifier::{Classifier, ClassifierConfig};
use model_zoo::large::classifier_runner::ClassifierRunner;
use model_zoo::large::fit::{Lessons, fit_classifier, transformer_config};
use model_zoo::large::stored::StoredClassifier;
use model_zoo::model::{Classify, Store};
use model_zoo::shrink::distill::Distillation;
use model_zoo::small::logistic::{Logistic, LogisticConfig, Targets};
use model_zoo::small::reader::Reader;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

const TRANSFORMER: &str = "transformer";
/// Rows of the table that words are hashed to.
const WORD_ROWS: usize = 8192;

/// Every model of the task, ready to be timed.
pub fn entries(section: &Section<'_>, task: &Classification) -> Vec<Entry> {
    let mut entries = Vec::new();
    match small::reader(task) {
        Ok(reader) => {
            small::entries(section, task, &reader, &mut entries);
            large(section, task, &reader, &mut entries);
        }
        Err(error) => section.failed(&mut entries, &small::named(task, "features", "f32"), &error),
    }
    entries
}

fn named<'a>(task: &'a Classification, model: &'a str, variant: &str) -> Named<'a> {
    Named { task: &task.name, family: Family::Large, model, variant: variant.into() }
}

/// Sizes that train in seconds: rows of numbers as about eight tokens, texts as their first words. A table of words is most of
/// a classifier of texts, and few texts make little use of depth.
fn config(section: &Section<'_>, task: &Classification, size: Size) -> ClassifierConfig {
    let classes = task.classes.len();
    let (d_model, deep) = match size {
        Size::Teacher => (64, section.by_depth(2, 4)),
        Size::Student => (32, 1),
    };
    match &task.train.inputs {
        Inputs::Table(table) => {
            let width = table.cols.div_ceil(8).max(1);
            ClassifierConfig::patches(Standardizer::fit(table), width, classes, d_model, deep, 4)
        }
        Inputs::Text(_) => ClassifierConfig::words(WORD_ROWS, 128, classes, d_model, deep.div_ceil(2), 4),
    }
}

/// Who is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// The transformer that the others are made from.
    Teacher,
    /// A quarter of it.
    Student,
}

fn large(section: &Section<'_>, task: &Classification, reader: &Reader, entries: &mut Vec<Entry>) {
    let base = named(task, TRANSFORMER, "f32");
    let variants: Vec<(Named<'_>, _)> =
        VARIANTS.iter().map(|variant| (named(task, TRANSFORMER, &variant.name()), *variant)).collect();
    let students = [named(task, TRANSFORMER, "distilled-small"), small::named(task, "logistic", "distilled")];
    let any = section.wants(&base)
        || variants.iter().any(|(named, _)| section.wants(named))
        || students.iter().any(|n| section.wants(n));
    if section.stopped() || !any {
        return;
    }
    let config = config(section, task, Size::Teacher);
    let teacher = match train(section, task, &config, "transformer", None) {
        Ok(teacher) => teacher,
        Err(error) => return section.failed(entries, &base, &error),
    };
    let (stored, made) = &teacher;
    if section.wants(&base) {
        place(section, task, entries, &base, made, stored, DType::F32);
    }
    let made_from = Some(base.row(section.first().name()).id);
    for (named, variant) in variants.iter().filter(|(named, _)| section.wants(named)) {
        let start = Instant::now();
        let shrunk = variant.apply(&config.transformer, &stored.weights).map(|(transformer, weights)| StoredClassifier {
            config: ClassifierConfig { transformer, ..config.clone() },
            weights,
        });
        match shrunk.and_then(|stored| Ok((stored.to_container()?.file_bytes()?, stored))) {
            Ok((file_bytes, stored)) => {
                let made = Made { train_s: start.elapsed().as_secs_f64(), file_bytes, made_from: made_from.clone() };
                place(section, task, entries, named, &made, &stored, variant.dtype());
            }
            Err(error) => section.failed(entries, named, &error),
        }
    }
    let [student, logistic] = &students;
    if (section.wants(student) || section.wants(logistic)) && !section.stopped() {
        match lessons(section, task, stored) {
            Ok(logits) => {
                teach_transformer(section, task, entries, student, &logits, made_from.clone());
                teach_logistic(section, task, reader, entries, logistic, &logits, made_from);
            }
            Err(error) => section.failed(entries, student, &error),
        }
    }
}

/// Trains a classifier of `config`, by a teacher's logits if there are any.
fn train(
    section: &Section<'_>,
    task: &Classification,
    config: &ClassifierConfig,
    what: &str,
    logits: Option<&[f32]>,
) -> Result<(StoredClassifier, Made)> {
    let classifier = Classifier::new(config)?;
    // Settings from learning curves on the embedded tasks. Words are rare, so texts take more and smaller steps.
    let (epochs, batch, peak) = match task.train.inputs {
        Inputs::Table(_) => (section.by_depth(30, 60), 32, 2e-3),
        Inputs::Text(_) => (section.by_depth(8, 16), 16, 3e-3),
    };
    let steps = (task.train.labels.len().div_ceil(batch) * epochs) as u64;
    let fit = transformer_config(steps, batch, peak, section.seed());
    let lessons = logits.map(|logits| Lessons { distillation: Distillation::default(), logits });
    let title = format!("{}: training {what}", task.name);
    let ((weights, _), train_s) =
        section.train(&title, |around| fit_classifier(section.first(), &classifier, &task.train, None, lessons, fit, around))?;
    let stored = StoredClassifier { config: config.clone(), weights };
    let file_bytes = stored.to_container()?.file_bytes()?;
    Ok((stored, Made { train_s, file_bytes, made_from: None }))
}

fn place(
    section: &Section<'_>,
    task: &Classification,
    entries: &mut Vec<Entry>,
    named: &Named<'_>,
    made: &Made,
    stored: &StoredClassifier,
    dtype: DType,
) {
    section.classify(entries, named, made, &task.test, |on| {
        let runner = ClassifierRunner::new(Arc::clone(on), stored.classifier()?, &stored.weights, dtype)?;
        Ok(Rc::new(runner) as Rc<dyn Classify>)
    });
}

/// What the trained transformer says of the training examples.
fn lessons(section: &Section<'_>, task: &Classification, stored: &StoredClassifier) -> Result<Vec<f32>> {
    section.step(&format!("{}: asking the transformer about the training examples", task.name));
    let runner = ClassifierRunner::new(Arc::clone(section.first()), stored.classifier()?, &stored.weights, DType::F32)?;
    runner.logits(&task.train.inputs)
}

/// A transformer of a quarter of the size, taught.
fn teach_transformer(
    section: &Section<'_>,
    task: &Classification,
    entries: &mut Vec<Entry>,
    named: &Named<'_>,
    logits: &[f32],
    made_from: Option<String>,
) {
    if !section.wants(named) {
        return;
    }
    let config = config(section, task, Size::Student);
    match train(section, task, &config, "the transformer's small student", Some(logits)) {
        Ok((stored, made)) => place(section, task, entries, named, &Made { made_from, ..made }, &stored, DType::F32),
        Err(error) => section.failed(entries, named, &error),
    }
}

/// A logistic regression fitted to the transformer's distributions instead of the labels.
fn teach_logistic(
    section: &Section<'_>,
    task: &Classification,
    reader: &Reader,
    entries: &mut Vec<Entry>,
    named: &Named<'_>,
    logits: &[f32],
    made_from: Option<String>,
) {
    if section.stopped() || !section.wants(named) {
        return;
    }
    section.step(&format!("{}: fitting logistic to the transformer", task.name));
    let classes = task.classes.len();
    let distributions: Vec<f32> = logits.chunks_exact(classes).flat_map(softmax).collect();
    let start = Instant::now();
    let targets = Targets::Distributions(&distributions);
    let fitted =
        Logistic::fit(section.first().as_ref(), reader.clone(), &task.train.inputs, targets, classes, LogisticConfig::default());
    let made = fitted.and_then(|(model, _)| {
        let train_s = start.elapsed().as_secs_f64();
        Ok((Made { train_s, file_bytes: model.to_container()?.file_bytes()?, made_from }, model))
    });
    match made {
        Ok((made, model)) => {
            section.classify(entries, named, &made, &task.test, |on| Ok(Rc::new(model.place(on)?) as Rc<dyn Classify>));
        }
        Err(error) => section.failed(entries, named, &error),
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f32 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / total).collect()
}
