//! Products on Hopper's own tensor cores.

use crate::CudaBackend;
use crate::driver::Boxes;
use crate::params::{HopperParams, ProductParams};
use crate::product::ways;
use crate::queue::Dispatch;
use crate::source::{Source, by_half};
use crate::turn_bytes::row_bytes;
use kernels::{Backend, DType, Error, Result};
use std::sync::atomic::Ordering::Relaxed;

/// Shared memory of a block: stages take as much for both widths of a tile; they begin at a multiple of 1,024.
const SHARED: u32 = 4 * (128 + 256) * LINE + 1023;

pub(crate) static SOURCE: Source = Source { name: "hopper", text: include_str!("hopper.cu"), hopper: Some(SHARED) };

/// Bytes of a line of a box.
const LINE: u32 = 128;

/// Rows of a tile.
const ROWS: u32 = 128;

/// What a product is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Matmul,
    Linear,
}

fn kernel(of: Of, dtype: DType, columns: u32, params: &ProductParams) -> &'static str {
    macro_rules! tiles {
        ($name:literal, $columns:literal) => {
            match (params.left_way == ways::ACROSS, params.right_way == ways::ACROSS) {
                (false, false) => concat!("hopper_matmul_", $name, $columns, "_along_along"),
                (false, true) => concat!("hopper_matmul_", $name, $columns, "_along_across"),
                (true, false) => concat!("hopper_matmul_", $name, $columns, "_across_along"),
                (true, true) => concat!("hopper_matmul_", $name, $columns, "_across_across"),
            }
        };
    }
    match (of, dtype, columns) {
        (Of::Linear, _, _) if params.right_way == ways::ACROSS => by_half!("hopper_linear", dtype, "_across"),
        (Of::Linear, _, _) => by_half!("hopper_linear", dtype, "_along"),
        (Of::Matmul, DType::I8, 256) => "hopper_matmul_i8_256_along_along",
        (Of::Matmul, DType::I8, _) => "hopper_matmul_i8_128_along_along",
        (Of::Matmul, DType::Bf16, 256) => tiles!("bf16", "_256"),
        (Of::Matmul, DType::Bf16, _) => tiles!("bf16", "_128"),
        (Of::Matmul, _, 256) => tiles!("f16", "_256"),
        (Of::Matmul, _, _) => tiles!("f16", "_128"),
    }
}

/// A factor as boxes with so many rows.
fn boxes(factor: &Factor, k: u32, box_rows: u32, dtype: DType) -> Option<Boxes> {
    let size = dtype.size_bytes() as u64;
    let (length, lines, stride, box_lines) = match factor.way {
        ways::ALONG => (k, factor.rows, factor.row, box_rows),
        ways::ACROSS if size == 2 => (factor.rows, k, factor.step, LINE / size as u32),
        _ => return None,
    };
    // Lines that overlap are no boxes; where there is one line, nobody asks where the next is.
    let line_bytes = if lines == 1 { (u64::from(length) * size).next_multiple_of(16) } else { stride * size };
    let fits = line_bytes >= u64::from(length) * size && line_bytes < 1 << 40;
    fits.then_some(Boxes { first: factor.first, dtype, length, lines, line_bytes, box_length: LINE / size as u32, box_lines })
}

/// A factor of a product.
#[derive(Clone, Copy)]
struct Factor {
    first: u64,
    row: u64,
    step: u64,
    way: u32,
    rows: u32,
}

impl Factor {
    /// Bytes that its rows take when they are turned to lie along the sum, each aligned; none where that is not needed.
    fn turned_bytes(&self, dtype: DType, k: u32) -> u64 {
        let turns = dtype == DType::I8 && self.way == ways::ACROSS && self.step >= self.rows.into();
        if turns { u64::from(self.rows) * row_bytes(k) } else { 0 }
    }

    /// As it is once it has been turned to this address.
    fn turned(self, k: u32, first: u64) -> Self {
        Factor { first, row: row_bytes(k), step: 1, way: ways::ALONG, ..self }
    }
}

impl CudaBackend {
    /// Queues the product, if this device and its factors are such that Hopper's tensor cores make it, and make it faster.
    ///
    /// Bytes that must be turned first take memory; where there is none, other kernels make the same bits without.
    ///
    /// # Errors
    /// A fault.
    pub(crate) fn hopper(&self, op: &'static str, of: Of, dtype: DType, params: &ProductParams) -> Result<bool> {
        let tiles = |columns: u32| u64::from(params.rows.div_ceil(ROWS)) * u64::from(params.columns.div_ceil(columns));
        let units = self.info().threads as u64;
        if params.k == 0 || !self.products.take_hopper(params.rows, params.columns, tiles(128), units) {
            return Ok(false);
        }
        let &ProductParams {
            left, left_row, left_step, left_way, right, right_row, right_step, right_way, rows, columns, ..
        } = params;
        let mut factors = [
            Factor { first: left, row: left_row, step: left_step, way: left_way, rows },
            Factor { first: right, row: right_row, step: right_step, way: right_way, rows: columns },
        ];
        // Sums of parts take registers that wider tiles have not.
        let width = if of == Of::Matmul && tiles(256) >= units { 256 } else { 128 };
        let all_boxes = |factors: &[Factor; 2]| {
            let [left, right] = factors;
            Some([boxes(left, params.k, ROWS, dtype)?, boxes(right, params.k, width, dtype)?])
        };
        let bytes = factors.map(|factor| factor.turned_bytes(dtype, params.k));
        let as_turned = |factor: Factor, to: u64| match factor.turned_bytes(dtype, params.k) {
            0 => factor,
            _ => factor.turned(params.k, to),
        };
        if all_boxes(&factors.map(|factor| as_turned(factor, 0))).is_none() {
            return Ok(false);
        }
        let mut scratch = None;
        if bytes != [0, 0] {
            let turned = match self.scratch(op, bytes[0].saturating_add(bytes[1])) {
                Err(Error::OutOfMemory { .. } | Error::Limit { .. }) => return Ok(false),
                turned => turned?,
            };
            for (factor, at) in factors.iter_mut().zip([turned.address(), turned.address() + bytes[0]]) {
                if factor.turned_bytes(dtype, params.k) > 0 {
                    self.turn_bytes(op, [factor.first, at], factor.step, [factor.rows, params.k])?;
                    *factor = factor.turned(params.k, at);
                }
            }
            scratch = Some(turned);
        }
        let Some([of_left, of_right]) = all_boxes(&factors) else { return Ok(false) };
        let driver = self.queue.driver();
        let map = |boxes| self.queue.settle(driver.boxes(&boxes), 0);
        let [left_way, right_way] = factors.map(|factor| factor.way);
        let product = ProductParams { left_way, right_way, ..*params };
        let params = HopperParams { left: map(of_left)?, right: map(of_right)?, product, unused: 0 };
        self.queue.dispatch(&Dispatch {
            op,
            source: &SOURCE,
            kernel: kernel(of, dtype, width, &params.product),
            threads: 384,
            blocks: tiles(width).min(units),
            params: bytemuck::bytes_of(&params),
        })?;
        drop(scratch);
        self.hopper_products.fetch_add(1, Relaxed);
        Ok(true)
    }
}
