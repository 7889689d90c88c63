//! The small models of a classification task.

use super::entry::Entry;
use super::section::{Made, Named, Section};
use crate::report::Family;
use kernels::Backend;
use model_zoo::Result;
use model_zoo::data::{Classification, Inputs};
use model_zoo::model::{Classify, Store};
use model_zoo::small::features::{TextFeatures, TextFeaturesConfig};
use model_zoo::small::forest::{Forest, ForestConfig};
use model_zoo::small::logistic::{Logistic, LogisticConfig, Targets};
use model_zoo::small::mlp::{Mlp, MlpConfig};
use model_zoo::small::on_text::OnText;
use model_zoo::small::reader::Reader;
use model_zoo::small::svm::{Svm, SvmConfig};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// A fitted model and what it cost.
fn timed<M: Store>(fit: impl FnOnce() -> Result<M>) -> Result<(M, Made)> {
    let start = Instant::now();
    let model = fit()?;
    let train_s = start.elapsed().as_secs_f64();
    let file_bytes = model.to_container()?.file_bytes()?;
    Ok((model, Made { train_s, file_bytes, made_from: None }))
}

/// How the small models read a task: tables as they are, texts as hashed n-grams.
///
/// # Errors
/// None for the defaults.
pub fn reader(task: &Classification) -> Result<Reader> {
    match &task.train.inputs {
        Inputs::Table(_) => Ok(Reader::Table),
        Inputs::Text(texts) => Ok(Reader::Text(TextFeatures::fit(texts, TextFeaturesConfig::default())?)),
    }
}

/// Name of a small model's row.
pub fn named<'a>(task: &'a Classification, model: &'a str, variant: &str) -> Named<'a> {
    Named { task: &task.name, family: Family::Small, model, variant: variant.into() }
}

/// Fits and evaluates every small model that is wanted.
pub fn entries(section: &Section<'_>, task: &Classification, reader: &Reader, entries: &mut Vec<Entry>) {
    let classes = task.classes.len();
    let (train, labels, seed) = (&task.train.inputs, &task.train.labels, section.seed());

    let logistic = || {
        let config = LogisticConfig::default();
        Ok(Logistic::fit(section.first().as_ref(), reader.clone(), train, Targets::Classes(labels), classes, config)?.0)
    };
    fit(section, task, entries, "logistic", logistic, |model, on| Ok(Rc::new(model.place(on)?)));

    let svm = || Svm::fit(reader.clone(), train, labels, classes, SvmConfig { seed, ..SvmConfig::default() });
    fit(section, task, entries, "linear-svm", svm, |model, on| Ok(Rc::new(model.place(on)?)));

    let mlp = || {
        let config = MlpConfig { seed, ..MlpConfig::default() };
        let fitted = section.train(&format!("{}: fitting mlp", task.name), |around| {
            let targets = Targets::Classes(labels);
            Mlp::fit(section.first(), reader.clone(), train, targets, classes, config, around)
        })?;
        Ok(fitted.0.0)
    };
    fit(section, task, entries, "mlp", mlp, |model, on| Ok(Rc::new(model.place(on)?)));

    forest(section, task, reader, entries);
}

/// Fits a model and puts it on each backend.
fn fit<M: Store>(
    section: &Section<'_>,
    task: &Classification,
    entries: &mut Vec<Entry>,
    name: &str,
    make: impl FnOnce() -> Result<M>,
    place: impl Fn(&M, &Arc<dyn Backend>) -> Result<Rc<dyn Classify>>,
) {
    let named = named(task, name, "f32");
    if section.stopped() || !section.wants(&named) {
        return;
    }
    section.step(&format!("{}: fitting {name}", task.name));
    match timed(make) {
        Ok((model, made)) => section.classify(entries, &named, &made, &task.test, |on| place(&model, on)),
        Err(error) => section.failed(entries, &named, &error),
    }
}

/// Trees read tables; on texts they stand behind the same features.
fn forest(section: &Section<'_>, task: &Classification, reader: &Reader, entries: &mut Vec<Entry>) {
    let named = named(task, "forest", "f32");
    if section.stopped() || !section.wants(&named) {
        return;
    }
    section.step(&format!("{}: fitting forest", task.name));
    let config = ForestConfig { seed: section.seed(), ..ForestConfig::default() };
    let (labels, classes) = (&task.train.labels, task.classes.len());
    let fitted = match (&task.train.inputs, reader) {
        (Inputs::Text(texts), Reader::Text(features)) => {
            let start = Instant::now();
            let table = features.sparse(texts).to_table();
            Forest::fit(&table, labels, classes, config).and_then(|model| {
                let train_s = start.elapsed().as_secs_f64();
                let model = OnText { features: features.clone(), model };
                Ok((Made { train_s, file_bytes: model.file_bytes()?, made_from: None }, model.model))
            })
        }
        (inputs, _) => {
            let fitted = inputs.table().and_then(|table| timed(|| Forest::fit(table, labels, classes, config)));
            fitted.map(|(model, made)| (made, model))
        }
    };
    let place = |forest: &Forest, on: &Arc<dyn Backend>| -> Result<Rc<dyn Classify>> {
        let model = forest.place(on)?;
        Ok(match reader {
            Reader::Table => Rc::new(model),
            Reader::Text(features) => Rc::new(OnText { features: features.clone(), model }),
        })
    };
    match fitted {
        Ok((made, forest)) => section.classify(entries, &named, &made, &task.test, |on| place(&forest, on)),
        Err(error) => section.failed(entries, &named, &error),
    }
}
