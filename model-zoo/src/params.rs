//! The learned tensors of a model: what they are called, how they start, and where they live.
//!
//! A [`Plan`] lists them; [`Params`] holds the f32 masters that training changes; [`Weights`] are their
//! values on the host, in any stored form; [`Vars`] is what a forward pass reads, whichever of the two it came from.

use crate::autograd::{Gradients, Matrix, Output, Tape, Var, exclusive};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};
use kernels::ops::{Distribution, Download, Fill, Random, Upload};
use kernels::weight::Values;
use kernels::{Backend, Buffer, DType, Op, Packed, Shape, ViewMut, Weight};
use std::sync::Arc;

/// How the values of a parameter start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Uniform in [−bound, bound).
    Uniform {
        /// Largest magnitude.
        bound: f32,
    },
}

/// What a parameter is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `[N, K]`, read by matrix products alone: may be stored quantized or pruned. Subject to weight decay.
    Matrix,
    /// Rows read by index, or added as they are: always stored dense. Subject to weight decay.
    Table,
    /// Biases and scales of norms: always stored dense, never decayed.
    Vector,
}

/// One parameter of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Unique name, as in a model file.
    pub name: String,
    /// Dimensions.
    pub shape: Shape,
    /// What it is used for.
    pub role: Role,
    /// How it starts.
    pub init: Init,
}

/// Place of a parameter in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(usize);

impl ParamId {
    /// Index in the order of declaration.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The parameters of a model, in the order of declaration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    declared: Vec<Declared>,
}

impl Plan {
    /// Adds a parameter.
    pub fn declare(&mut self, name: impl Into<String>, shape: impl Into<Shape>, role: Role, init: Init) -> ParamId {
        self.declared.push(Declared { name: name.into(), shape: shape.into(), role, init });
        ParamId(self.declared.len() - 1)
    }

    /// The parameters.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &Declared)> {
        self.declared.iter().enumerate().map(|(index, declared)| (ParamId(index), declared))
    }

    /// One parameter, which must be of this plan.
    pub fn get(&self, id: ParamId) -> &Declared {
        &self.declared[id.0]
    }

    /// Number of learned values.
    pub fn values(&self) -> u64 {
        self.declared.iter().map(|declared| declared.shape.iter().product::<usize>() as u64).sum()
    }

    /// Whether `weights` has every parameter, as declared.
    ///
    /// # Errors
    /// `Config` naming the first that is missing or different.
    pub fn check(&self, weights: &Weights) -> Result<()> {
        self.iter().try_for_each(|(id, _)| self.find(weights, id).map(drop))
    }

    /// The tensor of `weights` a parameter is declared to be.
    fn find<'w>(&self, weights: &'w Weights, id: ParamId) -> Result<&'w Tensor> {
        let Declared { name, shape, role, .. } = self.get(id);
        let tensor = weights.get(name).ok_or_else(|| Error::config("weights", format!("there is no tensor `{name}`")))?;
        let fits = match (tensor, role, &shape[..]) {
            (Tensor::Matrix(weight), Role::Matrix, &[n, k]) => (weight.n(), weight.k()) == (n, k),
            (Tensor::Dense { shape: got, .. }, Role::Table | Role::Vector, wanted) => got == wanted,
            _ => false,
        };
        match fits {
            true => Ok(tensor),
            false => Err(Error::config("weights", format!("`{name}` is not the {role:?} of shape {shape} of this model"))),
        }
    }

    /// Puts weights on a device for inference: matrices packed in the form they are stored in, the rest dense in `dtype`, the
    /// type of the activations.
    ///
    /// # Errors
    /// `Config` if `weights` are of another model; `Unsupported` if the device has no kernel for a stored form; `OutOfMemory`.
    pub fn pack(&self, on: &Arc<dyn Backend>, weights: &Weights, dtype: DType) -> Result<Vars> {
        let mut values = Vec::with_capacity(self.declared.len());
        let tape = Tape::inference(Arc::clone(on));
        for (id, declared) in self.iter() {
            values.push(match self.find(weights, id)? {
                Tensor::Matrix(weight) => Value::Packed(Arc::new(on.pack(weight)?)),
                Tensor::Dense { values, .. } => {
                    let rounded = Values::from_f32(dtype, &values.to_f32())
                        .ok_or_else(|| Error::config("dtype", format!("activations must be floating-point, got {dtype}")))?;
                    let mut buffer = on.alloc(dtype, rounded.len())?;
                    upload(&rounded, buffer.view_mut(declared.shape)?, &**on)?;
                    Value::Var(tape.constant(&Arc::new(buffer), declared.shape)?)
                }
            });
        }
        Ok(Vars { leaves: Vec::new(), values })
    }
}

fn upload(values: &Values, out: ViewMut<'_>, on: &(dyn Backend + 'static)) -> kernels::Result<()> {
    match values {
        Values::F32(values) => Upload::new(values, out).run(on),
        Values::Bf16(values) => Upload::new(values, out).run(on),
        Values::F16(values) => Upload::new(values, out).run(on),
    }
}

/// The f32 masters of a plan's parameters, on one device.
#[derive(Debug)]
pub struct Params {
    plan: Plan,
    buffers: Vec<Arc<Buffer>>,
}

impl Params {
    /// Parameters as declared. Each is drawn from its own stream of `seed`, its index, so that the values do not depend on the
    /// backend or on other parameters.
    ///
    /// # Errors
    /// `Value` if a declared spread is negative or not finite; `OutOfMemory`.
    pub fn init(on: &Arc<dyn Backend>, plan: &Plan, seed: u64) -> Result<Self> {
        let mut buffers = Vec::with_capacity(plan.declared.len());
        for (id, declared) in plan.iter() {
            let mut buffer = on.alloc(DType::F32, declared.shape.numel()?)?;
            let (out, stream) = (buffer.view_mut(declared.shape)?, id.0 as u64);
            let distribution = match declared.init {
                Init::Zeros => None,
                Init::Ones => {
                    Fill { value: 1.0, out }.run(&**on)?;
                    buffers.push(Arc::new(buffer));
                    continue;
                }
                Init::Normal { std } => Some(Distribution::Normal { mean: 0.0, std }),
                Init::Uniform { bound } => Some(Distribution::Uniform { low: -bound, high: bound }),
            };
            if let Some(distribution) = distribution {
                Random { seed, stream, distribution, out }.run(&**on)?;
            }
            buffers.push(Arc::new(buffer));
        }
        Ok(Params { plan: plan.clone(), buffers })
    }

    /// Parameters with the values of `weights`, widened to f32.
    ///
    /// # Errors
    /// `Config` if `weights` are of another model; `OutOfMemory`.
    pub fn import(on: &Arc<dyn Backend>, plan: &Plan, weights: &Weights) -> Result<Self> {
        let mut buffers = Vec::with_capacity(plan.declared.len());
        for (id, declared) in plan.iter() {
            let values = match plan.find(weights, id)? {
                Tensor::Matrix(weight) => weight.to_f32(),
                Tensor::Dense { values, .. } => values.to_f32(),
            };
            let mut buffer = on.alloc(DType::F32, values.len())?;
            Upload::new(&values, buffer.view_mut(declared.shape)?).run(&**on)?;
            buffers.push(Arc::new(buffer));
        }
        Ok(Params { plan: plan.clone(), buffers })
    }

    /// The values on the host, matrices as dense f32 weights. Waits for the device.
    ///
    /// # Errors
    /// The fault of any op queued before.
    pub fn export(&self, on: &Arc<dyn Backend>) -> Result<Weights> {
        let mut weights = Weights::default();
        for ((_, declared), buffer) in self.plan.iter().zip(&self.buffers) {
            let mut values = vec![0f32; declared.shape.numel()?];
            Download::new(buffer.view(declared.shape)?, &mut values).run(&**on)?;
            let values = Values::F32(values);
            let tensor = match (declared.role, &declared.shape[..]) {
                (Role::Matrix, &[n, k]) => Tensor::Matrix(Weight::dense(n, k, values)?),
                _ => Tensor::Dense { shape: declared.shape.to_vec(), values },
            };
            weights.insert(&declared.name, tensor);
        }
        Ok(weights)
    }

    /// What the parameters are.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Puts all parameters on a tape as leaves, and casts them to `dtype` there, so that products run in `dtype` and gradients
    /// arrive in f32. While the result lives, the parameters cannot be written.
    ///
    /// # Errors
    /// `DType` if `dtype` is not floating-point; what the kernels report.
    pub fn record(&self, tape: &mut Tape, dtype: DType) -> Result<Vars> {
        let mut vars = Vars { leaves: Vec::with_capacity(self.buffers.len()), values: Vec::with_capacity(self.buffers.len()) };
        for ((_, declared), buffer) in self.plan.iter().zip(&self.buffers) {
            let leaf = tape.leaf(buffer, declared.shape)?;
            vars.values.push(Value::Var(tape.cast(&leaf, dtype)?));
            vars.leaves.push(leaf);
        }
        Ok(vars)
    }

    /// One parameter, to write.
    ///
    /// # Errors
    /// `Tape(Held)` while a variable holds it.
    pub fn get_mut(&mut self, id: ParamId) -> Result<ViewMut<'_>> {
        let shape = self.plan.get(id).shape;
        Ok(exclusive(&mut self.buffers[id.0])?.view_mut(shape)?)
    }

    /// Ids in the order of declaration.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> + use<> {
        (0..self.buffers.len()).map(ParamId)
    }
}

/// A parameter as a forward pass reads it.
#[derive(Clone, Debug)]
enum Value {
    Var(Var),
    Packed(Arc<Packed>),
}

/// The parameters of a model as its forward pass reads them, by [`ParamId`].
#[derive(Clone, Debug)]
pub struct Vars {
    /// f32 leaves on a tape; empty for inference.
    leaves: Vec<Var>,
    values: Vec<Value>,
}

impl Vars {
    /// A matrix, learned or packed.
    pub fn matrix(&self, id: ParamId) -> Matrix<'_> {
        match &self.values[id.0] {
            Value::Var(var) => Matrix::Dense(var),
            Value::Packed(packed) => Matrix::Packed(packed),
        }
    }

    /// A table or vector.
    ///
    /// # Errors
    /// `Config` if it is a packed matrix, which has no elements to read.
    pub fn dense(&self, id: ParamId) -> Result<&Var> {
        match &self.values[id.0] {
            Value::Var(var) => Ok(var),
            Value::Packed(packed) => {
                Err(Error::config("weights", format!("a dense tensor is needed, got a packed {}", packed.format())))
            }
        }
    }

    /// The f32 leaf of a parameter, whose gradient the optimizer wants; `None` for inference.
    pub fn leaf(&self, id: ParamId) -> Option<&Var> {
        self.leaves.get(id.0)
    }

    /// The gradient of a parameter; `None` if the loss did not depend on it.
    pub fn gradient<'g>(&self, gradients: &'g Gradients, id: ParamId) -> Option<&'g Output> {
        gradients.get(self.leaf(id)?)
    }

    /// Bytes of all packed matrices and dense tensors on the device.
    pub fn size_bytes(&self) -> u64 {
        let bytes = |value: &Value| match value {
            Value::Var(var) => (var.layout().numel() * var.dtype().size_bytes()) as u64,
            Value::Packed(packed) => packed.size_bytes(),
        };
        self.values.iter().map(bytes).sum()
    }
}
