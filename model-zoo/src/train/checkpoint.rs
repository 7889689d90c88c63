//! What survives a crash: a run saved so that it goes on bit for bit.

use std::path::{Path, PathBuf};

use kernels::ops::{Download, Upload};
use kernels::weight::Values;
use kernels::{Op, Weight};
use serde::{Deserialize, Serialize};

use super::fit::{Best, FitConfig, Trainer};
use crate::container::{Container, Header};
use crate::params::{Declared, Params, Plan, Role};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};

const FAMILY: &str = "checkpoint";
/// File names are `step-N.safetensors`, N with this many digits, so that names sort as steps do.
const DIGITS: usize = 20;
const EXTENSION: &str = "safetensors";
/// Checkpoints kept: the newest, and the one before in case the newest is damaged.
const KEPT: usize = 2;

/// What the header of a checkpoint says. The step is also the position in the data; every random number is a function of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    step: u64,
    examples: usize,
    last_loss: Option<f64>,
    best: Option<StoredBest>,
    /// BLAKE3 of the configuration, the plan and the number of examples.
    run: String,
    config: FitConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredBest {
    value: f64,
    step: u64,
}

/// A run at one step, on the host.
pub struct Standing {
    step: u64,
    container: Container,
}

impl Standing {
    /// Where `trainer` stands: masters, optimizer state, position, best evaluation. Waits for the device.
    ///
    /// # Errors
    /// `Kernel` from the device.
    pub fn of(trainer: &Trainer) -> Result<Self> {
        let plan = trainer.params.plan();
        let stored = Stored {
            step: trainer.step,
            examples: trainer.examples,
            last_loss: trainer.last_loss,
            best: trainer.best.as_ref().map(|best| StoredBest { value: best.value, step: best.step }),
            run: run_digest(&trainer.config, plan, trainer.examples)?,
            config: trainer.config.clone(),
        };
        let mut header = Header::new(FAMILY, &stored)?;
        header.seed = trainer.config.seed;
        let mut container = Container::new(header);
        insert(&mut container, "param", plan, &trainer.params.export(trainer.on())?)?;
        if let Some(best) = trainer.best.as_ref().filter(|_| trainer.config.patience.is_some()) {
            insert(&mut container, "best", plan, &best.weights)?;
        }
        for (id, declared) in plan.iter() {
            for (name, state) in trainer.optimizer.state(id) {
                let mut values = vec![0f32; state.len()];
                Download::new(state.view([state.len()])?, &mut values).run(trainer.on().as_ref())?;
                container.insert(&format!("{name}/{}", declared.name), &declared.shape, &values)?;
            }
        }
        Ok(Self { step: trainer.step, container })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `Io`; `Format` for anything but an intact checkpoint.
    pub fn load(path: &Path) -> Result<Self> {
        let container = Container::load(path)?;
        let Stored { step, .. } = container.config(FAMILY)?;
        Ok(Self { step, container })
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Puts `trainer` where this run stood. `trainer` is unchanged if that fails before anything is written to the device.
    ///
    /// # Errors
    /// `Format` if this is of another configuration, plan or number of examples; `Kernel` from the device.
    pub fn restore(&self, trainer: &mut Trainer) -> Result<()> {
        let container = &self.container;
        let stored: Stored = container.config(FAMILY)?;
        let plan = trainer.params.plan().clone();
        if stored.run != run_digest(&trainer.config, &plan, trainer.examples)? {
            let what = match stored.config == trainer.config {
                true => "this checkpoint is of another model or of other data".into(),
                false => format!("this checkpoint is of a run configured as {:?}", stored.config),
            };
            return Err(container.damage("run", what));
        }
        let weights = extract(container, "param", &plan)?;
        let best = match (stored.best, trainer.config.patience) {
            (Some(StoredBest { value, step }), Some(_)) => {
                Some(Best { value, step, weights: extract(container, "best", &plan)? })
            }
            (Some(StoredBest { value, step }), None) => Some(Best { value, step, weights: Weights::default() }),
            (None, _) => None,
        };
        let mut states = Vec::new();
        for (id, declared) in plan.iter() {
            for (name, _) in trainer.optimizer.state(id) {
                states.push(values(container, &format!("{name}/{}", declared.name), declared)?);
            }
        }

        let on = trainer.on().clone();
        trainer.params = Params::import(&on, &plan, &weights)?;
        let mut states = states.iter();
        for id in trainer.params.ids() {
            for (state, values) in trainer.optimizer.state_mut(id).iter_mut().zip(&mut states) {
                Upload::new(values, state.view_mut([values.len()])?).run(on.as_ref())?;
            }
        }
        (trainer.step, trainer.last_loss, trainer.best) = (stored.step, stored.last_loss, best);
        Ok(())
    }
}

/// Identity of a run: two runs with the same one take the same steps.
fn run_digest(config: &FitConfig, plan: &Plan, examples: usize) -> Result<String> {
    let tensors: Vec<(&str, &[usize])> = plan.iter().map(|(_, declared)| (declared.name.as_str(), &declared.shape[..])).collect();
    let text = serde_json::to_vec(&(config, tensors, examples)).map_err(|error| Error::config("config", error.to_string()))?;
    Ok(blake3::hash(&text).to_hex().to_string())
}

fn insert(container: &mut Container, prefix: &str, plan: &Plan, weights: &Weights) -> Result<()> {
    for (_, declared) in plan.iter() {
        let values = match weights.get(&declared.name) {
            Some(Tensor::Matrix(weight)) => weight.to_f32(),
            Some(Tensor::Dense { values, .. }) => values.to_f32(),
            None => return Err(Error::config("weights", format!("there is no tensor `{}`", declared.name))),
        };
        container.insert(&format!("{prefix}/{}", declared.name), &declared.shape, &values)?;
    }
    Ok(())
}

fn extract(container: &Container, prefix: &str, plan: &Plan) -> Result<Weights> {
    let mut weights = Weights::default();
    for (_, declared) in plan.iter() {
        let values = Values::F32(values(container, &format!("{prefix}/{}", declared.name), declared)?);
        let tensor = match (declared.role, &declared.shape[..]) {
            (Role::Matrix, &[n, k]) => Tensor::Matrix(Weight::dense(n, k, values)?),
            (_, shape) => Tensor::Dense { shape: shape.to_vec(), values },
        };
        weights.insert(&declared.name, tensor);
    }
    Ok(weights)
}

fn values(container: &Container, name: &str, declared: &Declared) -> Result<Vec<f32>> {
    let shape: Vec<Option<usize>> = declared.shape.iter().map(|&size| Some(size)).collect();
    container.values(name, &shape)
}

/// The checkpoints of one run, in a directory of their own.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    directory: PathBuf,
}

/// What [`Checkpoints::resume`] found.
#[derive(Debug)]
pub struct Resumed {
    /// Step the run goes on from; none if there was no checkpoint.
    pub step: Option<u64>,
    /// Newer checkpoints that could not be used, and why: to be shown to the user.
    pub notices: Vec<Error>,
}

impl Checkpoints {
    /// Those in `directory`, which is made when the first is saved.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.into() }
    }

    /// Saves a checkpoint and then removes all but the newest two. Each file is written under another name, synced, and renamed,
    /// so that it is whole or absent at any moment.
    ///
    /// # Errors
    /// `Io`; the checkpoints before are then still there.
    pub fn save(&self, standing: &Standing) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.directory).map_err(Error::io(&self.directory))?;
        let path = self.directory.join(format!("step-{:0DIGITS$}.{EXTENSION}", standing.step));
        standing.container.save(&path)?;
        for old in self.list()?.iter().filter(|old| **old != path).skip(KEPT - 1) {
            std::fs::remove_file(old).map_err(Error::io(old))?;
        }
        Ok(path)
    }

    /// Checkpoints by name, the newest first; none if there is no directory.
    ///
    /// # Errors
    /// `Io`.
    pub fn list(&self) -> Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io(&self.directory))?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io(&self.directory))?.path();
            let step = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.strip_prefix("step-"));
            let is_ours = step.is_some_and(|step| step.len() == DIGITS && step.bytes().all(|byte| byte.is_ascii_digit()));
            if is_ours && path.extension().is_some_and(|extension| extension == EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort_unstable_by(|a, b| b.cmp(a));
        Ok(paths)
    }

    /// Puts `trainer` where the newest usable checkpoint stood; leaves it at its start if there is none at all.
    ///
    /// # Errors
    /// That of the newest checkpoint if there are some and none can be used; `Io`; `Kernel` from the device.
    pub fn resume(&self, trainer: &mut Trainer) -> Result<Resumed> {
        let mut notices = Vec::new();
        for path in self.list()? {
            match Standing::load(&path).and_then(|standing| standing.restore(trainer)) {
                Ok(()) => return Ok(Resumed { step: Some(trainer.step), notices }),
                Err(unusable @ (Error::Format { .. } | Error::Io { .. })) => notices.push(unusable),
                Err(other) => return Err(other),
            }
        }
        match notices.is_empty() {
            true => Ok(Resumed { step: None, notices }),
            false => Err(notices.swap_remove(0)),
        }
    }
}
