//! What is measured beside the peers: the shapes of the models we run, and the squares that everybody quotes.

use candle_core::DType as CandleDType;
use candle_core::quantized::GgmlDType;
use kernels::DType;
use kernels::weight::BlockFormat;

use super::dense::{self, Operands, Right};
use super::onednn::{self, Product};
use super::{Absent, Peer, candle};
use crate::cases::{Case, INT8, Kind, Places, Storage};

/// How many of the shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Three squares and one small and one large weight: some two minutes for each number of threads.
    Quick,
    /// Everything.
    All,
}

/// One kernel of ours on one shape, with the peers that compute the same.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Heading that it stands under.
    pub group: &'static str,
    /// Our side.
    pub case: Case,
}

/// Outputs and inputs of the linear layers: GPT-2's, then those of models of 7 · 10⁹ parameters.
const WEIGHTS: [(usize, usize); 6] = [(768, 768), (2304, 768), (3072, 768), (768, 3072), (4096, 4096), (11008, 4096)];

/// GGUF's formats, with candle's names for them.
const FORMATS: [(BlockFormat, GgmlDType); 3] =
    [(BlockFormat::Q4_0, GgmlDType::Q4_0), (BlockFormat::Q4K, GgmlDType::Q4K), (BlockFormat::Q8_0, GgmlDType::Q8_0)];

/// The cells, in the order they are measured.
pub fn cells(sizes: Sizes) -> Vec<Cell> {
    let mut list = Vec::new();
    let mut push = |group, dtype, kind| list.push(Cell { group, case: Case { dtype, kind } });
    let square = |size| Kind::Matmul { m: size, n: size, k: size };
    let some = |all: &'static [usize], few: &'static [usize]| if sizes == Sizes::All { all } else { few };
    let weights = if sizes == Sizes::All { &WEIGHTS[..] } else { &WEIGHTS[3..5] };

    push("tiny", DType::F32, square(8));
    for &size in some(&[64, 128, 256, 512, 1024, 2048, 4096], &[64, 256, 1024]) {
        push("f32 matmul", DType::F32, square(size));
    }
    for &size in some(&[256, 512, 1024, 2048], &[256, 1024]) {
        push("bf16 matmul", DType::Bf16, square(size));
    }
    for &size in some(&[256, 1024, 2048], &[256, 1024]) {
        push("int8 × int8", DType::I8, square(size));
    }
    for (group, dtype) in [("f32 linear, packed", DType::F32), ("bf16 linear, packed", DType::Bf16)] {
        for &(n, k) in weights {
            for &m in some(&[1, 8, 32, 128, 512], &[1, 8, 128]) {
                push(group, dtype, Kind::Linear { m, n, k, storage: Storage::Dense });
            }
        }
    }
    for &(n, k) in weights {
        for &m in some(&[1, 8, 32, 512], &[1, 8, 128]) {
            push("int8 × int8", DType::F32, Kind::LinearInt8 { m, n, k });
            push(
                "int8 linear, activations quantized in the call",
                DType::F32,
                Kind::DynamicInt8 { m, n, k, storage: Storage::Quant(INT8) },
            );
        }
    }
    for (format, _) in FORMATS {
        for &(n, k) in weights {
            for &m in some(&[1, 8, 32, 512], &[1, 8, 128]) {
                let kind = Kind::DynamicInt8 { m, n, k, storage: Storage::Blocks(format) };
                push("quantized linear, activations quantized in the call", DType::F32, kind);
            }
        }
    }
    let attention = |seq_q, seq_k| Kind::Attention { heads: 12, head_dim: 64, seq_q, seq_k };
    for &seq in some(&[128, 512, 1024, 2048], &[128, 512]) {
        push("attention, causal", DType::F32, attention(seq, seq));
    }
    for &keys in some(&[1024, 4096], &[1024]) {
        for dtype in [DType::F32, DType::Bf16] {
            push("attention, one query", dtype, attention(1, keys));
        }
    }
    let (n, k) = (4096, 4096);
    for &m in some(&[1, 64, 512], &[64]) {
        let shares = [0.8, 0.9, 0.95].into_iter().flat_map(|zeros| [Places::Block16(zeros), Places::Csr(zeros)]);
        for places in shares.chain([Places::TwoOfFour]) {
            for storage in [Storage::Sparse(places), Storage::SparseInt8(places)] {
                push("sparse linear beside our dense", DType::F32, Kind::Linear { m, n, k, storage });
            }
        }
        // Fewer zeros show where sparse weights begin to pay.
        let percents = some(&[50, 65], &[50]).iter().map(|&percent| percent as f64 / 100.0);
        for places in percents.flat_map(|zeros| [Places::Block16(zeros), Places::Csr(zeros)]) {
            push("sparse linear beside our dense", DType::F32, Kind::Linear { m, n, k, storage: Storage::Sparse(places) });
        }
    }
    list
}

impl Cell {
    /// The peers that compute the same, and those that could not be had. None where nobody does: there is no attention that reads a
    /// bf16 cache.
    pub(super) fn peers(&self, threads: usize) -> Vec<Result<Peer, Absent>> {
        match (self.case.kind, self.case.dtype) {
            (Kind::Matmul { m, n, k }, DType::F32) => dense::peers(m, n, k, Right::Matrix, threads),
            (Kind::Matmul { m, n, k }, DType::I8) => vec![onednn::peer(m, n, k, Right::Matrix, Product::Int8, threads)],
            (Kind::LinearInt8 { m, n, k }, _) => vec![onednn::peer(m, n, k, Right::Weight, Product::Int8, threads)],
            (Kind::Matmul { m, n, k }, DType::Bf16) => {
                let candle = candle::matmul(&Operands::new(m, n, k, Right::Matrix), CandleDType::BF16);
                vec![candle, onednn::peer(m, n, k, Right::Matrix, Product::Bf16, threads)]
            }
            (Kind::Linear { m, n, k, storage: Storage::Dense }, DType::F32) => dense::peers(m, n, k, Right::Weight, threads),
            (Kind::Linear { m, n, k, storage: Storage::Dense }, DType::Bf16) => {
                let candle = candle::matmul(&Operands::new(m, n, k, Right::Weight), CandleDType::BF16);
                vec![candle, onednn::peer(m, n, k, Right::Weight, Product::Bf16, threads)]
            }
            (Kind::DynamicInt8 { m, n, k, storage: Storage::Blocks(format) }, _) => {
                let formats = FORMATS.iter().filter(|(ours, _)| *ours == format);
                formats.map(|(_, theirs)| candle::quantized(m, n, k, *theirs)).collect()
            }
            (Kind::Attention { heads, head_dim, seq_q, seq_k }, DType::F32) => {
                vec![candle::attention(heads, head_dim, seq_q, seq_k)]
            }
            _ => Vec::new(),
        }
    }

    /// Whether nothing is read twice, so that reading binds.
    pub(super) fn reads(&self) -> bool {
        matches!(
            self.case.kind,
            Kind::Linear { m: 1, .. }
                | Kind::LinearInt8 { m: 1, .. }
                | Kind::DynamicInt8 { m: 1, .. }
                | Kind::Attention { seq_q: 1, .. }
        )
    }

    /// Our own kernel that it has to beat, if not a peer's: the dense one, for a sparse weight.
    pub(super) fn own_rival(&self) -> Option<Case> {
        match self.case.kind {
            Kind::Linear { m, n, k, storage: Storage::Sparse(_) | Storage::SparseInt8(_) } => {
                Some(Case { kind: Kind::Linear { m, n, k, storage: Storage::Dense }, ..self.case })
            }
            _ => None,
        }
    }

    /// What a filter is matched against: `group/id`.
    pub fn name(&self, threads: u32) -> String {
        format!("{}/{}", self.group, self.case.row("cpu", threads).id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_the_quick_sizes_few() {
        for sizes in [Sizes::Quick, Sizes::All] {
            let names: BTreeSet<String> = cells(sizes).iter().map(|cell| cell.name(1)).collect();
            assert_eq!(names.len(), cells(sizes).len());
        }
        assert!(cells(Sizes::Quick).len() * 2 < cells(Sizes::All).len());
    }
}
