//! Times the small models that compute on a device, on the CPU backend:
//! `SIZEWISE_THREADS=1 cargo run --release -p model-zoo --example device_models`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use kernels::Backend;
use kernels_cpu::CpuBackend;
use model_zoo::Result;
use model_zoo::data::{Classification, Inputs, Table, digits, rust_snippets};
use model_zoo::model::{Classify, accuracy};
use model_zoo::small::features::{TextFeatures, TextFeaturesConfig};
use model_zoo::small::logistic::{Logistic, LogisticConfig, Targets};
use model_zoo::small::mlp::{Mlp, MlpConfig};
use model_zoo::small::reader::Reader;
use model_zoo::small::svm::{Calibration, Svm, SvmConfig};
use model_zoo::train::fit::Surroundings;

fn main() -> Result<()> {
    let on: Arc<dyn Backend> = Arc::new(CpuBackend::new()?);
    println!("{} with {} threads, {}", on.info().name, on.info().threads, on.info().features);
    let task = digits()?;
    let (inputs, labels) = (&task.train.inputs, &task.train.labels);

    let targets = Targets::Classes(labels);
    let fit = || Logistic::fit(on.as_ref(), Reader::Table, inputs, targets, 10, LogisticConfig::default());
    let (time, (model, minimum)) = fastest(10, fit)?;
    println!("logistic: {minimum:?}");
    show("logistic", time, &model.place(&on)?, &task)?;

    for calibration in [Calibration::Softmax, Calibration::Platt { folds: 3 }] {
        for c in [1.0, 0.01] {
            let config = SvmConfig { c, calibration, ..SvmConfig::default() };
            let (time, model) = fastest(3, || Svm::fit(Reader::Table, inputs, labels, 10, config))?;
            let name = format!("linear SVM, C = {c}, {calibration:?}, converged: {}", model.converged());
            show(&name, time, &model.place(&on)?, &task)?;
        }
    }

    let stop = AtomicBool::new(false);
    let fit = || {
        let mut quiet = |_: &_| ();
        let mut around = Surroundings::new(&mut quiet, &stop);
        Mlp::fit(&on, Reader::Table, inputs, targets, 10, MlpConfig::default(), &mut around)
    };
    let (time, (model, summary)) = fastest(1, fit)?;
    println!("mlp: {summary:?}");
    show("mlp", time, &model.place(&on)?, &task)?;
    snippets(&on)
}

/// Texts through sparse features.
fn snippets(on: &Arc<dyn Backend>) -> Result<()> {
    let task = rust_snippets()?;
    let (inputs, labels, classes) = (&task.train.inputs, &task.train.labels, task.classes.len());
    let reader = Reader::Text(TextFeatures::fit(inputs.text()?, TextFeaturesConfig::default())?);
    let right = |model: &dyn Classify| accuracy(&model.predict(&task.test.inputs)?, &task.test.labels);
    let targets = Targets::Classes(labels);
    let fit = || Logistic::fit(on.as_ref(), reader.clone(), inputs, targets, classes, LogisticConfig::default());
    let (time, (model, minimum)) = fastest(1, fit)?;
    println!("rust-snippets, logistic: accuracy {:.4}, fit {time:.1?}, {minimum:?}", right(&model.place(on)?)?);
    let (time, model) = fastest(1, || Svm::fit(reader.clone(), inputs, labels, classes, SvmConfig::default()))?;
    println!("rust-snippets, linear SVM: accuracy {:.4}, fit {time:.1?}", right(&model.place(on)?)?);
    Ok(())
}

fn show(name: &str, fit: Duration, model: &dyn Classify, task: &Classification) -> Result<()> {
    let test = task.test.inputs.table()?;
    let rows: Vec<Inputs> =
        (0..test.rows).map(|row| Table::new(1, test.cols, test.row(row).to_vec()).map(Inputs::Table)).collect::<Result<_>>()?;
    let (one_by_one, _) = fastest(10, || rows.iter().try_for_each(|row| model.predict_proba(row).map(drop)))?;
    let many = Table::new(100 * test.rows, test.cols, test.values.repeat(100))?;
    let many = Inputs::Table(many);
    let (batch, _) = fastest(5, || model.predict_proba(&many))?;
    println!(
        "{name}: accuracy {:.4}, fit {fit:.1?}, one row {:.2} us, batch {:.0} rows/s",
        accuracy(&model.predict(&task.test.inputs)?, &task.test.labels)?,
        one_by_one.as_secs_f64() * 1e6 / test.rows as f64,
        many.len() as f64 / batch.as_secs_f64(),
    );
    Ok(())
}

/// Shortest of `times` times, and what the last run made.
fn fastest<T>(times: u32, mut run: impl FnMut() -> Result<T>) -> Result<(Duration, T)> {
    let mut timed = || {
        let start = Instant::now();
        run().map(|made| (start.elapsed(), made))
    };
    (1..times).try_fold(timed()?, |(shortest, _), _| timed().map(|(time, made)| (time.min(shortest), made)))
}
