//! A language modelling task: an n-gram model, a GPT, what it shrinks to, and a student.

use super::entry::{Entry, bits_per_byte};
use super::section::{Made, Named, Section};
use super::variants::VARIANTS;
use crate::machine::{self, PeakReset};
use crate::report::{Family, ModelRow};
use kernels::{Backend, DType};
use model_zoo::Result;
use model_zoo::data::Language;
use model_zoo::large::fit::{Teacher, fit_gpt, transformer_config};
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::large::session::GptRunner;
use model_zoo::large::stored::StoredGpt;
use model_zoo::model::{LanguageModel, Store};
use model_zoo::shrink::distill::Distillation;
use model_zoo::small::ngram::{Ngram, NgramConfig};
use std::sync::Arc;
use std::time::Instant;

const GPT: &str = "gpt";
/// Bytes of held-out text that are one unit of the interval.
const WINDOW_BYTES: usize = 2048;

/// Every model of the task, ready to be timed.
pub fn entries(section: &Section<'_>, task: &Language) -> Vec<Entry> {
    let mut entries = Vec::new();
    for order in [3, 5] {
        ngram(section, task, order, &mut entries);
    }
    large(section, task, &mut entries);
    entries
}

/// Held-out windows that quality is measured on; the same for all models.
fn windows<'t>(section: &Section<'_>, task: &'t Language) -> Vec<&'t [u8]> {
    let all: Vec<&[u8]> = task.test.chunks(WINDOW_BYTES).collect();
    let count = section.by_depth(24, 96).min(all.len());
    (0..count).map(|at| all[at * all.len() / count]).collect()
}

/// Evaluates a model on the windows.
fn evaluate(section: &Section<'_>, mut row: ModelRow, model: &dyn LanguageModel, windows: &[&[u8]]) -> Result<ModelRow> {
    row.params = Some(model.params());
    row.nonzero_params = Some(model.nonzero_params());
    let reset = machine::reset_peak_memory();
    let mut units = Vec::with_capacity(windows.len());
    for window in windows {
        units.push((model.bits_per_byte(window)? * window.len() as f64, window.len() as f64));
    }
    if reset == PeakReset::Done {
        row.peak_memory_bytes = machine::peak_memory_bytes();
    }
    row.quality = bits_per_byte(&units, section.seed());
    Ok(row)
}

fn ngram(section: &Section<'_>, task: &Language, order: usize, entries: &mut Vec<Entry>) {
    let model = format!("order-{order} n-gram");
    let named = Named { task: &task.name, family: Family::Small, model: &model, variant: "counts".into() };
    if section.stopped() || !section.wants(&named) {
        return;
    }
    section.step(&format!("{}: counting {model}s", task.name));
    let start = Instant::now();
    let fitted = Ngram::fit(&task.train, NgramConfig { order }).and_then(|model| {
        let train_s = start.elapsed().as_secs_f64();
        let mut row = named.row("cpu");
        row.train_s = Some(train_s);
        row.file_bytes = Some(model.to_container()?.file_bytes()?);
        Ok((evaluate(section, row, &model, &windows(section, task))?, model))
    });
    match fitted {
        Ok((row, model)) => {
            let (text, mut at) = (task.test.clone(), 0);
            let call = move || {
                at = (at + 1) % text.len().saturating_sub(16).max(1);
                let context = text.get(at..at + 16).unwrap_or(&text);
                model.next_distribution(context).map(drop).map_err(|error| error.to_string())
            };
            section.push(entries, Entry { row, call: Some(Box::new(call)), examples_per_call: 1 });
        }
        Err(error) => section.failed(entries, &named, &error),
    }
}

fn large(section: &Section<'_>, task: &Language, entries: &mut Vec<Entry>) {
    let named = |variant: &str| Named { task: &task.name, family: Family::Large, model: GPT, variant: variant.into() };
    let (base, student) = (named("f32"), named("distilled-small"));
    let variants: Vec<_> = VARIANTS.iter().map(|variant| (named(&variant.name()), *variant)).collect();
    let any = section.wants(&base) || section.wants(&student) || variants.iter().any(|(named, _)| section.wants(named));
    if section.stopped() || !any {
        return;
    }
    let (context, d_model, layers) = section.by_depth((64, 128, 2), (128, 256, 4));
    let config = GptConfig::gpt2(context, d_model, layers, 4);
    let steps = section.by_depth(400, 3000);
    let (stored, made) = match train(section, task, &config, "the GPT", steps, None) {
        Ok(trained) => trained,
        Err(error) => return section.failed(entries, &base, &error),
    };
    if section.wants(&base) {
        place(section, task, entries, &base, &made, &stored, DType::F32);
    }
    let made_from = Some(base.row(section.first().name()).id);
    for (named, variant) in variants.iter().filter(|(named, _)| section.wants(named)) {
        let start = Instant::now();
        let shrunk = variant
            .apply(&config.transformer, &stored.weights)
            .map(|(transformer, weights)| StoredGpt { config: GptConfig { transformer, ..config.clone() }, weights });
        match shrunk.and_then(|stored| Ok((stored.to_container()?.file_bytes()?, stored))) {
            Ok((file_bytes, stored)) => {
                let made = Made { train_s: start.elapsed().as_secs_f64(), file_bytes, made_from: made_from.clone() };
                place(section, task, entries, named, &made, &stored, variant.dtype());
            }
            Err(error) => section.failed(entries, named, &error),
        }
    }
    if section.wants(&student) && !section.stopped() {
        let small = GptConfig::gpt2(context, d_model / 2, 1, 4);
        match train(section, task, &small, "the GPT's small student", steps / 2, Some(&stored)) {
            Ok((stored, made)) => place(section, task, entries, &student, &Made { made_from, ..made }, &stored, DType::F32),
            Err(error) => section.failed(entries, &student, &error),
        }
    }
}

fn train(
    section: &Section<'_>,
    task: &Language,
    config: &GptConfig,
    what: &str,
    steps: u64,
    teacher: Option<&StoredGpt>,
) -> Result<(StoredGpt, Made)> {
    let (on, gpt) = (section.first(), Gpt::new(config)?);
    let fit = transformer_config(steps, section.by_depth(16, 16), section.by_depth(3e-3, 1.5e-3), section.seed());
    let larger = teacher
        .map(|teacher| {
            let gpt = teacher.gpt()?;
            let vars = gpt.plan().pack(on, &teacher.weights, DType::F32)?;
            Ok::<_, model_zoo::Error>((gpt, vars))
        })
        .transpose()?;
    let teacher = larger.as_ref().map(|(gpt, vars)| Teacher { distillation: Distillation::default(), gpt, vars });
    let title = format!("{}: training {what}", task.name);
    let ((weights, _), train_s) = section.train(&title, |around| fit_gpt(on, &gpt, &task.train, None, teacher, fit, around))?;
    let stored = StoredGpt { config: config.clone(), weights };
    let file_bytes = stored.to_container()?.file_bytes()?;
    Ok((stored, Made { train_s, file_bytes, made_from: None }))
}

/// A row on each backend: quality on the windows, and the time of one token with the cache.
fn place(
    section: &Section<'_>,
    task: &Language,
    entries: &mut Vec<Entry>,
    named: &Named<'_>,
    made: &Made,
    stored: &StoredGpt,
    dtype: DType,
) {
    section.step(&format!("{}: evaluating gpt {}", task.name, named.variant));
    section.on_each(entries, named, made, |row, on| match measured(section, task, row.clone(), on, stored, dtype) {
        Ok(entry) => entry,
        Err(error) => Entry::failed(row, &error),
    });
}

fn measured(
    section: &Section<'_>,
    task: &Language,
    row: ModelRow,
    on: &Arc<dyn Backend>,
    stored: &StoredGpt,
    dtype: DType,
) -> Result<Entry> {
    let runner = GptRunner::new(Arc::clone(on), stored.gpt()?, &stored.weights, dtype)?;
    let row = evaluate(section, row, &runner, &windows(section, task))?;
    let context = stored.config.transformer.context;
    let prompt: Vec<u32> = task.test.iter().take(context / 2).map(|&byte| u32::from(byte)).collect();
    let mut session = runner.session()?;
    session.prefill(&prompt)?;
    let call = move || {
        if session.len() >= context {
            session.clear();
            session.prefill(&prompt).map_err(|error| error.to_string())?;
        }
        session.decode(prompt[0]).map(drop).map_err(|error| error.to_string())
    };
    Ok(Entry { row, call: Some(Box::new(call)), examples_per_call: 1 })
}
