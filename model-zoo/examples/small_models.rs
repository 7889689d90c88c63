//! Times the small models that need no device, on one thread: `cargo run --release -p model-zoo --example small_models`.

use std::time::{Duration, Instant};

use model_zoo::Result;
use model_zoo::data::{digits, rust_lm};
use model_zoo::model::{Classify, LanguageModel, accuracy};
use model_zoo::small::forest::{Forest, ForestConfig};
use model_zoo::small::ngram::{Ngram, NgramConfig};

fn main() -> Result<()> {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(run),
        Err(_) => run(),
    }
}

fn run() -> Result<()> {
    let task = digits()?;
    let table = task.train.inputs.table()?;
    let (fit, forest) = fastest(|| Forest::fit(table, &task.train.labels, 10, ForestConfig::default()))?;
    let mut out = [0f32; 10];
    let (rows, ()) = fastest(|| (0..table.rows).try_for_each(|row| forest.predict_row(table.row(row), &mut out)))?;
    let (batch, _) = fastest(|| forest.predict_proba(&task.train.inputs))?;
    println!(
        "digits, forest of 100 trees: accuracy {:.4}, fit {fit:.1?}, one row {:.2} us, batch {:.0} rows/s",
        accuracy(&forest.predict(&task.test.inputs)?, &task.test.labels)?,
        rows.as_secs_f64() * 1e6 / table.rows as f64,
        table.rows as f64 / batch.as_secs_f64(),
    );
    let task = rust_lm()?;
    let (fit, model) = fastest(|| Ngram::fit(&task.train, NgramConfig::default()))?;
    let (eval, bits) = fastest(|| model.bits_per_byte(&task.test))?;
    let ns_per_byte = eval.as_nanos() as f64 / task.test.len() as f64;
    println!("rust-lm, n-grams of order 5: {bits:.4} bits per byte, fit {fit:.1?}, {ns_per_byte:.0} ns per byte");
    Ok(())
}

/// Shortest of ten times, and what the last run made.
fn fastest<T>(mut run: impl FnMut() -> Result<T>) -> Result<(Duration, T)> {
    let mut timed = || {
        let start = Instant::now();
        run().map(|made| (start.elapsed(), made))
    };
    (1..10).try_fold(timed()?, |(shortest, _), _| timed().map(|(time, made)| (time.min(shortest), made)))
}
