//! Dense matrix product.

use crate::CudaBackend;
use crate::hopper::Of;
use crate::lattice::count;
use crate::params::ProductParams;
use crate::product::{Matrix, Tile, ways};
use crate::queue::Dispatch;
use crate::source::{Source, source};
use kernels::ops::Matmul;
use kernels::{Checked, DType, Launch, Op, Result, Support, View};

pub(crate) static SOURCE: Source = source!("matmul");

/// The last two dimensions of a view, and strides of the leading ones, the last in place 3.
fn split(view: &View<'_>, address: u64) -> (Matrix, [u64; 4]) {
    let (strides, rank) = (view.layout().strides(), view.shape().rank());
    let mut lead = [0; 4];
    for (to, &stride) in lead[6 - rank..].iter_mut().zip(&strides[..rank - 2]) {
        *to = stride as u64;
    }
    (Matrix { address, row: strides[rank - 2] as u64, column: strides[rank - 1] as u64, dtype: view.dtype() }, lead)
}

fn kernel(dtype: DType, tile: Tile, [a_way, b_way]: [u32; 2]) -> &'static str {
    macro_rules! tiles {
        ($name:literal) => {
            match (tile, a_way == ways::ACROSS, b_way == ways::ACROSS) {
                (Tile::Large, false, false) => concat!("matmul_", $name, "_large_along_along"),
                (Tile::Large, false, true) => concat!("matmul_", $name, "_large_along_across"),
                (Tile::Large, true, false) => concat!("matmul_", $name, "_large_across_along"),
                (Tile::Large, true, true) => concat!("matmul_", $name, "_large_across_across"),
                (Tile::Small, false, false) => concat!("matmul_", $name, "_small_along_along"),
                (Tile::Small, false, true) => concat!("matmul_", $name, "_small_along_across"),
                (Tile::Small, true, false) => concat!("matmul_", $name, "_small_across_along"),
                (Tile::Small, true, true) => concat!("matmul_", $name, "_small_across_across"),
            }
        };
    }
    match (dtype, tile) {
        (DType::Bf16, _) => tiles!("bf16"),
        (DType::F16, _) => tiles!("f16"),
        (DType::I8, _) => tiles!("i8"),
        (_, Tile::Large) => "matmul_f32_large",
        (_, Tile::Small) => "matmul_f32_small",
    }
}

impl Launch<Matmul<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 | DType::I8 => Support::Native,
            _ => Support::No("matrix products are of f32, bf16, f16 or i8"),
        }
    }

    fn launch(&self, args: Checked<Matmul<'_>>) -> Result<()> {
        const OP: &str = Matmul::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let (shape, dtype) = (args.a.shape(), args.a.dtype());
        let (dims, rank) = (shape, shape.rank());
        let (rows, k) = (count(OP, "M", shape[rank - 2])?, count(OP, "K", shape[rank - 1])?);
        let columns = count(OP, "N", out.shape()[rank - 1])?;
        let batch = dims[..rank - 2].iter().map(|&dim| dim as u64).product::<u64>();
        let mut lead = [1; 4];
        for (to, &dim) in lead[6 - rank..].iter_mut().zip(&dims[..rank - 2]) {
            *to = count(OP, "batch", dim)?;
        }
        let (left, left_lead) = split(&args.a, self.operand(OP, "a", &args.a)?);
        let (b, right_lead) = split(&args.b, self.operand(OP, "b", &args.b)?);
        let right = b.transposed();
        let (to, out_lead) = split(&out, self.operand(OP, "out", &out)?);
        let tile = Tile::of(self, rows, columns, batch);
        let (left_way, right_way) = (left.way([rows, k], &left_lead), right.way([columns, k], &right_lead));
        let params = ProductParams {
            left: left.address,
            right: right.address,
            out: to.address,
            left_row: left.row,
            left_step: left.column,
            right_row: right.row,
            right_step: right.column,
            out_row: to.row,
            out_column: to.column,
            left_lead,
            right_lead,
            out_lead,
            lead,
            rows,
            columns,
            k,
            left_way,
            right_way,
            out_way: to.store_way(dtype == DType::F32, &out_lead),
            wide: u32::from(to.dtype != dtype),
            alpha: args.alpha,
            beta: args.beta,
            ..ProductParams::default()
        };
        if batch == 1 && dtype != DType::F32 && self.hopper(OP, Of::Matmul, dtype, &params)? {
            return Ok(());
        }
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: kernel(dtype, tile, [left_way, right_way]),
            threads: tile.threads(dtype),
            blocks: tile.blocks(rows, columns).saturating_mul(batch),
            params: bytemuck::bytes_of(&params),
        })
    }
}
