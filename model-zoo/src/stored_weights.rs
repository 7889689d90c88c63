//! Weights in a model file: dense, quantized or sparse, each as the tensors it consists of.
//!
//! Tensor `w` of form quant becomes `w.codes`, `w.scales`, `w.zero_points`; a block format of GGUF stays one tensor of bytes; sparse
//! forms become `w.values` (and `w.scales` if those are codes) and `w.row_ptr`, `w.col` or `w.places`. A loaded weight has passed the constructors' own checks, whatever the file said.

use crate::Result;
use crate::container::Container;
use crate::weights::{Tensor, Weights};
use half::{bf16, f16};
use kernels::weight::{Bits, BlockFormat, Blocks, Pattern, Quant, QuantScheme, Sparse, SparseValues, Values, Zero};
use kernels::{DType, Weight};
use serde::{Deserialize, Serialize};

/// How one tensor of a model's weights is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Form {
    /// Values as they are; no matrix.
    Plain,
    /// A matrix `[n, k]` with every value.
    Dense,
    /// Integer codes of a matrix `[n, k]`.
    Quant {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
        /// 8 or 4.
        bits: u8,
        /// Inputs that share a scale; none for one scale per row.
        group_size: Option<usize>,
        /// Whether groups have zero points of their own.
        asymmetric: bool,
    },
    /// A matrix `[n, k]` in a block format of GGUF.
    Gguf {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
        /// `q8_0`, `q4_0`, `q4_k`, `q5_k` or `q6_k`.
        format: String,
    },
    /// Compressed rows of a matrix `[n, k]`.
    Csr {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
    /// Blocks of a matrix `[n, k]`.
    Block {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
        /// Rows of a block.
        rows: usize,
        /// Columns of a block.
        cols: usize,
    },
    /// Two of every four values of a matrix `[n, k]`.
    TwoOfFour {
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
}

impl Container {
    /// Adds all tensors of `weights`, and their forms to the header.
    ///
    /// # Errors
    /// `Config` if a name is taken.
    pub fn insert_weights(&mut self, weights: &Weights) -> Result<()> {
        for (name, tensor) in weights.iter() {
            let form = match tensor {
                Tensor::Dense { shape, values } => {
                    self.insert_values(name, shape, values)?;
                    Form::Plain
                }
                Tensor::Matrix(weight) => self.insert_matrix(name, weight)?,
            };
            self.header.forms.insert(name.to_owned(), form);
        }
        Ok(())
    }

    fn insert_values(&mut self, name: &str, shape: &[usize], values: &Values) -> Result<()> {
        match values {
            Values::F32(values) => self.insert(name, shape, values),
            Values::Bf16(values) => self.insert(name, shape, values),
            Values::F16(values) => self.insert(name, shape, values),
        }
    }

    fn insert_matrix(&mut self, name: &str, weight: &Weight) -> Result<Form> {
        let part = |part: &str| format!("{name}.{part}");
        let (n, k) = (weight.n(), weight.k());
        match weight {
            Weight::Dense { values, .. } => {
                self.insert_values(name, &[n, k], values)?;
                Ok(Form::Dense)
            }
            Weight::Quant(quant) => {
                let QuantScheme { bits, group_size, zero } = quant.scheme();
                let groups = quant.scheme().groups(k);
                self.insert(&part("codes"), &[n, quant.scheme().row_bytes(k)], quant.codes())?;
                self.insert(&part("scales"), &[n, groups], quant.scales())?;
                if zero == Zero::Asymmetric {
                    self.insert(&part("zero_points"), &[n, groups], quant.zero_points())?;
                }
                Ok(Form::Quant {
                    n,
                    k,
                    bits: if bits == Bits::Int8 { 8 } else { 4 },
                    group_size: (group_size != usize::MAX).then_some(group_size),
                    asymmetric: zero == Zero::Asymmetric,
                })
            }
            Weight::Blocks(blocks) => {
                let row_bytes = k / blocks.format().block_size() * blocks.format().block_bytes();
                self.insert(name, &[n, row_bytes], blocks.bytes())?;
                Ok(Form::Gguf { n, k, format: blocks.format().name().into() })
            }
            Weight::Sparse(sparse) => {
                let stored = [sparse.values().len()];
                match sparse.values() {
                    SparseValues::Float(values) => self.insert_values(&part("values"), &stored, values)?,
                    SparseValues::Int8 { codes, scales } => {
                        self.insert(&part("values"), &stored, codes)?;
                        self.insert(&part("scales"), &[n], scales)?;
                    }
                }
                match sparse.pattern() {
                    Pattern::Csr { row_ptr, col } => {
                        self.insert_rows(name, row_ptr, col)?;
                        Ok(Form::Csr { n, k })
                    }
                    Pattern::Block { rows, cols, row_ptr, col } => {
                        self.insert_rows(name, row_ptr, col)?;
                        Ok(Form::Block { n, k, rows: *rows, cols: *cols })
                    }
                    Pattern::TwoOfFour { places } => {
                        self.insert(&part("places"), &[places.len()], places)?;
                        Ok(Form::TwoOfFour { n, k })
                    }
                }
            }
        }
    }

    fn insert_rows(&mut self, name: &str, row_ptr: &[u32], col: &[u32]) -> Result<()> {
        self.insert(&format!("{name}.row_ptr"), &[row_ptr.len()], row_ptr)?;
        self.insert(&format!("{name}.col"), &[col.len()], col)
    }

    /// The weights of the header's forms.
    ///
    /// # Errors
    /// `Format` if a tensor is missing, of another type or size, or contradicts its form.
    pub fn weights(&self) -> Result<Weights> {
        let mut weights = Weights::default();
        for (name, form) in &self.header.forms {
            let tensor = match form {
                Form::Plain => {
                    let shape = self.info(name)?.1.to_vec();
                    let values = self.stored_values(name)?;
                    Tensor::Dense { shape, values }
                }
                form => Tensor::Matrix(self.matrix(name, form)?),
            };
            weights.insert(name, tensor);
        }
        Ok(weights)
    }

    /// All values of a floating-point tensor, whatever its shape.
    fn stored_values(&self, name: &str) -> Result<Values> {
        let (dtype, shape) = self.info(name)?;
        let any: Vec<Option<usize>> = vec![None; shape.len()];
        match dtype {
            DType::F32 => Ok(Values::F32(self.values::<f32>(name, &any)?)),
            DType::Bf16 => Ok(Values::Bf16(self.values::<bf16>(name, &any)?)),
            DType::F16 => Ok(Values::F16(self.values::<f16>(name, &any)?)),
            other => Err(self.damage(name, format!("the elements are {other}, expected floating-point values"))),
        }
    }

    fn matrix(&self, name: &str, form: &Form) -> Result<Weight> {
        let part = |part: &str| format!("{name}.{part}");
        let damaged = |error: kernels::Error| self.damage(name, error.to_string());
        let rows = || -> Result<(Vec<u32>, Vec<u32>)> {
            Ok((self.values(&part("row_ptr"), &[None])?, self.values(&part("col"), &[None])?))
        };
        let sparse = |n, k, pattern| -> Result<Weight> {
            let values = match self.info(&part("values"))?.0 {
                DType::I8 => {
                    let codes = self.values(&part("values"), &[None])?;
                    SparseValues::Int8 { codes, scales: self.values(&part("scales"), &[None])? }
                }
                _ => self.stored_values(&part("values"))?.into(),
            };
            Ok(Weight::Sparse(Sparse::new(n, k, pattern, values).map_err(damaged)?))
        };
        match *form {
            Form::Plain | Form::Dense => match self.info(name)?.1 {
                &[n, k] => Weight::dense(n, k, self.stored_values(name)?).map_err(damaged),
                shape => Err(self.damage(name, format!("a matrix is needed, the shape is {shape:?}"))),
            },
            Form::Quant { n, k, bits, group_size, asymmetric } => {
                let bits = match bits {
                    8 => Bits::Int8,
                    4 => Bits::Int4,
                    other => return Err(self.damage(name, format!("codes of {other} bits; 8 and 4 are known"))),
                };
                let zero = if asymmetric { Zero::Asymmetric } else { Zero::Symmetric };
                let scheme = QuantScheme { bits, group_size: group_size.unwrap_or(usize::MAX), zero };
                let zero_points = if asymmetric { self.values(&part("zero_points"), &[None, None])? } else { Vec::new() };
                let (codes, scales) = (self.values(&part("codes"), &[None, None])?, self.values(&part("scales"), &[None, None])?);
                Ok(Weight::Quant(Quant::new(n, k, scheme, codes, scales, zero_points).map_err(damaged)?))
            }
            Form::Gguf { n, k, ref format } => {
                let known = BlockFormat::ALL.into_iter().find(|known| known.name() == format);
                let format = known.ok_or_else(|| self.damage(name, format!("the block format {format:?} is not known")))?;
                let bytes = self.values(name, &[None, None])?;
                Ok(Weight::Blocks(Blocks::new(n, k, format, bytes).map_err(damaged)?))
            }
            Form::Csr { n, k } => {
                let (row_ptr, col) = rows()?;
                sparse(n, k, Pattern::Csr { row_ptr, col })
            }
            Form::Block { n, k, rows: block_rows, cols } => {
                let (row_ptr, col) = rows()?;
                sparse(n, k, Pattern::Block { rows: block_rows, cols, row_ptr, col })
            }
            Form::TwoOfFour { n, k } => sparse(n, k, Pattern::TwoOfFour { places: self.values(&part("places"), &[None])? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Header;
    use crate::shrink::prune::{Pruning, prune};
    use crate::shrink::quantize::quantize;
    use std::path::Path;

    fn all_forms() -> Weights {
        let values: Vec<f32> = (0..7 * 9).map(|i| ((i * 37) % 63) as f32 - 31.0).collect();
        let dense = Weight::dense(7, 9, Values::F32(values.clone())).unwrap();
        let mut weights = Weights::default();
        let mut put = |name: &str, weight| weights.insert(name, Tensor::Matrix(weight));
        for (bits, group_size, zero) in [(Bits::Int8, usize::MAX, Zero::Symmetric), (Bits::Int4, 4, Zero::Asymmetric)] {
            let scheme = QuantScheme { bits, group_size, zero };
            put(&scheme.to_string(), quantize(&dense, scheme).unwrap());
        }
        let blocks = Pruning::Blocks { rows: 4, cols: 2, zeros: 0.5 };
        for pruning in [Pruning::Unstructured { zeros: 0.7 }, Pruning::TwoOfFour, blocks] {
            let pruned = prune(&dense, pruning).unwrap();
            put(&format!("{pruning}-int8"), quantize(&pruned, QuantScheme::per_channel(Bits::Int8)).unwrap());
            put(&pruning.to_string(), pruned);
        }
        for format in BlockFormat::ALL {
            let bytes = vec![0x11; 2 * format.block_bytes()];
            put(format.name(), Weight::Blocks(Blocks::new(2, format.block_size(), format, bytes).unwrap()));
        }
        put("bf16", Weight::dense(7, 9, Values::from_f32(DType::Bf16, &values).unwrap()).unwrap());
        put("dense", dense);
        weights.insert("norm", Tensor::Dense { shape: vec![3, 3, 7], values: Values::F32(values) });
        weights
    }

    #[test]
    fn every_form_comes_back_as_it_was() {
        let weights = all_forms();
        let mut container = Container::new(Header::new("test", &()).unwrap());
        container.insert_weights(&weights).unwrap();
        let back = Container::from_bytes(Path::new("memory"), container.to_bytes().unwrap()).unwrap();
        assert_eq!(back.weights().unwrap(), weights);
    }

    #[test]
    fn a_form_that_contradicts_its_tensors_is_refused() {
        let mut container = Container::new(Header::new("test", &()).unwrap());
        container.insert_weights(&all_forms()).unwrap();
        let wrong = [
            ("pruned-70", Form::Csr { n: 7, k: 3 }),
            ("pruned-70", Form::Csr { n: usize::MAX, k: 9 }),
            ("pruned-2:4", Form::TwoOfFour { n: 7, k: 90 }),
            ("pruned-4x2-50", Form::Block { n: 7, k: 9, rows: 0, cols: 2 }),
            ("int8-channel", Form::Quant { n: 7, k: 9, bits: 3, group_size: None, asymmetric: false }),
            ("int8-channel", Form::Quant { n: 7, k: 9, bits: 8, group_size: Some(0), asymmetric: false }),
            ("q4_k", Form::Gguf { n: 2, k: 512, format: "q4_k".into() }),
            ("q4_k", Form::Gguf { n: 2, k: 256, format: "q8_0".into() }),
            ("q8_0", Form::Gguf { n: 2, k: 32, format: "q9_0".into() }),
            ("dense", Form::Csr { n: 7, k: 9 }),
            ("norm", Form::Dense),
        ];
        for (name, form) in wrong {
            let mut broken = container.clone();
            broken.header.forms.insert(name.into(), form.clone());
            assert!(broken.weights().is_err(), "{name} as {form:?}");
        }
    }
}
