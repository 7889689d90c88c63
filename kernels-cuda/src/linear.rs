//! Fully connected layer over any form of weight.

use crate::hopper::Of;
use crate::lattice::count;
use crate::params::{CodedParams, LinearParams, ProductParams, SparseParams, TwoOfFourParams};
use crate::product::{Matrix, Tile, ways};
use crate::queue::Dispatch;
use crate::source::{Source, by_float, source};
use crate::weight::{CodedSections, Form, PackedWeight, TWO_OF_FOUR};
use crate::{CudaBackend, NAME, linear_coded, linear_sparse, linear_two_of_four};
use kernels::ops::{Act, Linear};
use kernels::{Checked, DType, Error, Launch, Op, Result, Support, View, WeightRef};

pub(crate) static SOURCE: Source = source!("linear");

const OP: &str = Linear::NAME;

/// Most rows whose products are bound by reading the weight, as in `cu/layer.cuh`.
pub(crate) const FEW_ROWS: u32 = 16;

/// Code of an activation in `cu/function.cuh`.
pub(crate) fn activation(act: Act) -> u32 {
    match act {
        Act::None => 0,
        Act::Relu => 1,
        Act::Gelu => 2,
        Act::GeluErf => 3,
        Act::Silu => 4,
    }
}

/// Inputs of a part: there are at most eight, of whole tiles.
fn part(k: u32) -> u32 {
    32 * k.div_ceil(32 * 8).max(1)
}

/// What layers over all forms of weight are told.
pub(crate) struct Layer {
    pub dtype: DType,
    pub rows: u32,
    pub columns: u32,
    pub k: u32,
    pub x: Matrix,
    pub out: Matrix,
    pub bias: u64,
    pub bias_step: u64,
    pub activation: u32,
}

impl Layer {
    fn product(&self) -> ProductParams {
        ProductParams {
            out: self.out.address,
            bias: self.bias,
            bias_step: self.bias_step,
            lead: [1; 4],
            k: self.k,
            part: part(self.k),
            activation: self.activation,
            ..ProductParams::default()
        }
    }

    /// How x is staged: along the sum, as its last dimension has no gaps, or element by element.
    pub fn x_way(&self) -> u32 {
        match self.x.way([self.rows, self.k], &[0; 4]) {
            ways::ACROSS => ways::SCATTERED,
            way => way,
        }
    }

    /// Parameters for a weight of codes.
    pub fn coded(&self, (form, group_size, groups): (u32, u32, u32), sections: CodedSections) -> CodedParams {
        CodedParams {
            codes: sections.codes,
            high: sections.high,
            scales: sections.scales,
            zeros: sections.zeros,
            x: self.x.address,
            bias: self.bias,
            out: self.out.address,
            x_row: self.x.row,
            bias_step: self.bias_step,
            out_row: self.out.row,
            rows: self.rows,
            columns: self.columns,
            k: self.k,
            form,
            group_size,
            groups,
            part: part(self.k),
            x_way: self.x_way(),
            activation: self.activation,
            ..CodedParams::default()
        }
    }
}

/// A matrix whose last dimension has no gaps.
pub(crate) fn rows_of(view: &View<'_>, address: u64) -> Matrix {
    Matrix { address, row: view.layout().strides()[0] as u64, column: 1, dtype: view.dtype() }
}

impl CudaBackend {
    /// Address and stride of a bias that may be left out.
    pub(crate) fn bias(&self, op: &'static str, bias: Option<&View<'_>>) -> Result<(u64, u64)> {
        let Some(bias) = bias else { return Ok((0, 0)) };
        Ok((self.operand(op, "bias", bias)?, bias.layout().strides()[0] as u64))
    }

    fn dense(&self, layer: &Layer, weight: &Matrix) -> Result<()> {
        if weight.dtype != layer.dtype || layer.dtype == DType::F32 {
            let form = match weight.dtype {
                DType::Bf16 => 8,
                DType::F16 => 9,
                _ => 0,
            };
            return self.words(layer, weight, CodedParams { form, ..CodedParams::default() });
        }
        let out = layer.out.transposed();
        let params = ProductParams {
            left: weight.address,
            right: layer.x.address,
            left_row: weight.row,
            left_step: weight.column,
            right_row: layer.x.row,
            right_step: 1,
            out_row: out.row,
            out_column: out.column,
            rows: layer.columns,
            columns: layer.rows,
            left_way: weight.way([layer.columns, layer.k], &[0; 4]),
            right_way: layer.x_way(),
            out_way: out.store_way(false, &[0; 4]),
            ..layer.product()
        };
        let few = layer.rows <= FEW_ROWS && params.left_way == ways::ALONG;
        let turned = ProductParams {
            left: params.right,
            right: params.left,
            left_row: params.right_row,
            left_step: params.right_step,
            right_row: params.left_row,
            right_step: params.left_step,
            out_row: layer.out.row,
            out_column: layer.out.column,
            rows: params.columns,
            columns: params.rows,
            left_way: params.right_way,
            right_way: params.left_way,
            out_way: layer.out.store_way(false, &[0; 4]),
            ..params
        };
        if !few && self.hopper(OP, Of::Linear, layer.dtype, &turned)? {
            return Ok(());
        }
        let (tile, across) = (Tile::of(self, params.rows, params.columns, 1), params.left_way == ways::ACROSS);
        macro_rules! tiles {
            ($dtype:literal) => {
                match (tile, across) {
                    (Tile::Large, false) => concat!("linear_", $dtype, "_large_along"),
                    (Tile::Large, true) => concat!("linear_", $dtype, "_large_across"),
                    (Tile::Small, false) => concat!("linear_", $dtype, "_small_along"),
                    (Tile::Small, true) => concat!("linear_", $dtype, "_small_across"),
                }
            };
        }
        let kernel = match (few, layer.dtype) {
            (true, DType::Bf16) => "linear_bf16_few",
            (true, _) => "linear_f16_few",
            (false, DType::Bf16) => tiles!("bf16"),
            (false, _) => tiles!("f16"),
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel,
            threads: if few { 256 } else { tile.threads(layer.dtype) },
            blocks: if few { layer.columns.div_ceil(16).into() } else { tile.blocks(params.rows, params.columns) },
            params: bytemuck::bytes_of(&params),
        })
    }

    /// Products in f32 on CUDA cores.
    fn words(&self, layer: &Layer, weight: &Matrix, coded: CodedParams) -> Result<()> {
        let product = ProductParams {
            left: layer.x.address,
            right: weight.address,
            left_row: layer.x.row,
            left_step: 1,
            right_row: weight.row,
            right_step: weight.column,
            out_row: layer.out.row,
            out_column: 1,
            rows: layer.rows,
            columns: layer.columns,
            left_way: layer.x_way(),
            right_way: weight.way([layer.columns, layer.k], &[0; 4]),
            out_way: layer.out.store_way(true, &[0; 4]),
            ..layer.product()
        };
        let few = layer.rows <= FEW_ROWS;
        // Rows of f32 are what this way is for; it takes others where a weight leaves no better one.
        let tile = if layer.dtype == DType::F32 { Tile::of(self, layer.rows, layer.columns, 1) } else { Tile::Small };
        let kernel = match (layer.dtype, few, tile) {
            (dtype, true, _) if layer.rows <= 4 => by_float!("linear_words_four", dtype),
            (DType::F32, false, Tile::Large) => "linear_words_f32_large",
            (_, true, _) => by_float!("linear_words_few", layer.dtype),
            (_, false, _) => by_float!("linear_words_small", layer.dtype),
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel,
            threads: 256,
            blocks: if few { layer.columns.div_ceil(8).into() } else { tile.blocks(layer.rows, layer.columns) },
            params: bytemuck::bytes_of(&LinearParams { product, coded }),
        })
    }

    fn coded(&self, layer: &Layer, params: CodedParams) -> Result<()> {
        // Tensor cores scale a group's sum as it ends, which must be where a tile of codes does.
        let whole = params.form > 2 || params.groups <= 1 || params.group_size.is_multiple_of(32);
        if layer.dtype == DType::F32 || !whole {
            let none = Matrix { address: 0, row: 0, column: 0, dtype: DType::F32 };
            return self.words(layer, &none, params);
        }
        let few = layer.rows <= FEW_ROWS;
        let blocks = u64::from(layer.columns.div_ceil(128)) * u64::from(layer.rows.div_ceil(64));
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &linear_coded::SOURCE,
            kernel: linear_coded::kernel(params.form, layer.dtype, few),
            threads: 256,
            blocks: if few { layer.columns.div_ceil(16).into() } else { blocks },
            params: bytemuck::bytes_of(&params),
        })
    }

    /// Products with the records of a 2:4 weight, on sparse tensor cores.
    fn two_of_four(&self, layer: &Layer, dtype: DType, stored: SparseParams) -> Result<()> {
        let out = layer.out.transposed();
        let product = ProductParams {
            left: stored.values,
            right: layer.x.address,
            right_row: layer.x.row,
            right_step: 1,
            out_row: out.row,
            out_column: out.column,
            rows: layer.columns,
            columns: layer.rows,
            right_way: layer.x_way(),
            out_way: out.store_way(false, &[0; 4]),
            ..layer.product()
        };
        let tile = Tile::of(self, product.rows, product.columns, 1);
        let (tile, threads, blocks) = match layer.rows <= FEW_ROWS {
            true => (None, 256, layer.columns.div_ceil(16).into()),
            false => (Some(tile), tile.threads(layer.dtype), tile.blocks(product.rows, product.columns)),
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &linear_two_of_four::SOURCE,
            kernel: linear_two_of_four::kernel(layer.dtype, dtype, tile),
            threads,
            blocks,
            params: bytemuck::bytes_of(&TwoOfFourParams { product, scales: stored.scales }),
        })
    }

    fn sparse(&self, layer: &Layer, dtype: DType, params: SparseParams) -> Result<()> {
        if params.form == TWO_OF_FOUR && linear_two_of_four::takes(layer.dtype, dtype) {
            return self.two_of_four(layer, dtype, params);
        }
        let params = SparseParams {
            x: layer.x.address,
            bias: layer.bias,
            out: layer.out.address,
            x_row: layer.x.row,
            bias_step: layer.bias_step,
            out_row: layer.out.row,
            rows: layer.rows,
            columns: layer.columns,
            k: layer.k,
            activation: layer.activation,
            ..params
        };
        let one = layer.rows == 1;
        let rows = if one { 1 } else { 8 };
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &linear_sparse::SOURCE,
            kernel: linear_sparse::kernel(layer.dtype, dtype, one),
            threads: 256,
            blocks: u64::from(layer.columns.div_ceil(8)) * u64::from(layer.rows.div_ceil(rows)),
            params: bytemuck::bytes_of(&params),
        })
    }
}

impl Launch<Linear<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 => Support::Native,
            _ => Support::No("linear layers are of f32, bf16 or f16; see linear_int8 for integers"),
        }
    }

    fn launch(&self, args: Checked<Linear<'_>>) -> Result<()> {
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let (bias, bias_step) = self.bias(OP, args.bias.as_ref())?;
        let layer = Layer {
            dtype: args.x.dtype(),
            rows: count(OP, "M", out.shape()[0])?,
            columns: count(OP, "N", out.shape()[1])?,
            k: count(OP, "K", args.x.shape()[1])?,
            x: rows_of(&args.x, self.operand(OP, "x", &args.x)?),
            out: rows_of(&out, self.operand(OP, "out", &out)?),
            bias,
            bias_step,
            activation: activation(args.act),
        };
        let packed = match &args.weight {
            WeightRef::Dense(view) => {
                let (address, strides) = (self.operand(OP, "weight", view)?, view.layout().strides());
                let weight = Matrix { address, row: strides[0] as u64, column: strides[1] as u64, dtype: view.dtype() };
                return self.dense(&layer, &weight);
            }
            WeightRef::Packed(packed) => packed,
        };
        let weight = packed.storage::<PackedWeight>().ok_or(Error::Device { op: OP, arg: "weight", backend: NAME })?;
        match weight.form {
            Form::Dense { dtype, row } => self.dense(&layer, &Matrix { address: weight.address(), row, column: 1, dtype }),
            Form::Coded { form, group_size, groups, sections } => {
                self.coded(&layer, layer.coded((form, group_size, groups), sections))
            }
            Form::Sparse { form, dtype, block: [block_rows, block_columns], row_starts, places, values, scales } => {
                let stored = SparseParams { row_starts, places, values, scales, ..SparseParams::default() };
                let params = SparseParams { form, block_rows, block_columns, ..stored };
                self.sparse(&layer, dtype, params)
            }
        }
    }
}
