//! Pruning by magnitude: which weights go, and how the rest is stored.

use crate::{Error, Result};
use kernels::Weight;
use kernels::weight::{Pattern, Sparse, Values};

/// The shape of what is removed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pruning {
    /// The smallest single weights, until this share of the matrix is zero. Stored as compressed rows.
    Unstructured {
        /// Share of zeros, 0..=1.
        zeros: f64,
    },
    /// The weakest blocks (by Euclidean norm), until this share of the blocks is zero.
    Blocks {
        /// Rows of a block.
        rows: usize,
        /// Columns of a block.
        cols: usize,
        /// Share of zero blocks, 0..=1.
        zeros: f64,
    },
    /// The two smallest of every four neighbours along K.
    TwoOfFour,
}

impl std::fmt::Display for Pruning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pruning::Unstructured { zeros } => write!(f, "pruned-{:.0}", zeros * 100.0),
            Pruning::Blocks { rows, cols, zeros } => write!(f, "pruned-{rows}x{cols}-{:.0}", zeros * 100.0),
            Pruning::TwoOfFour => f.write_str("pruned-2:4"),
        }
    }
}

/// Removes the weakest parts of a dense weight. Ties are decided by position, so the share is exact.
///
/// Source: Han et al., *Learning both Weights and Connections* (2015); N:M: Mishra et al., *Accelerating Sparse Deep Neural
/// Networks* (2021).
///
/// # Errors
/// `Config` if the weight is not dense, a value is not finite, the share is not within 0..=1, or a block is empty.
pub fn prune(weight: &Weight, pruning: Pruning) -> Result<Weight> {
    let Weight::Dense { n, k, values } = weight else {
        return Err(Error::config("prune", format!("a dense weight is needed, got {}", weight.format())));
    };
    let (n, k) = (*n, *k);
    let dense = values.to_f32(); // [N, K]
    if let Some(at) = dense.iter().position(|w| !w.is_finite()) {
        return Err(Error::config("prune", format!("weight [{}, {}] is {}", at / k, at % k, dense[at])));
    }
    let (pattern, stored) = match pruning {
        Pruning::Unstructured { zeros } => unstructured(&dense, n, k, share(zeros)?)?,
        Pruning::Blocks { rows, cols, zeros } => blocks(&dense, [n, k], [rows, cols], share(zeros)?)?,
        Pruning::TwoOfFour => two_of_four(&dense, n, k),
    };
    let values = Values::from_f32(values.dtype(), &stored)
        .ok_or_else(|| Error::config("prune", "weights must be floating-point values"))?;
    Ok(Weight::Sparse(Sparse::new(n, k, pattern, values)?))
}

fn share(zeros: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&zeros) {
        return Ok(zeros);
    }
    Err(Error::config("zeros", format!("must be within 0..=1, got {zeros}")))
}

/// Which of the scored things stay when the `zeros` share with the lowest scores goes.
fn keep_strongest(scores: &[f32], zeros: f64) -> Vec<bool> {
    let drop = (scores.len() as f64 * zeros).round() as usize;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let mut keep = vec![true; scores.len()];
    for &weak in order.iter().take(drop) {
        keep[weak] = false;
    }
    keep
}

/// Offsets and columns of the kept cells of a `[rows, cols]` grid.
fn compress(keep: &[bool], rows: usize, cols: usize) -> Result<(Vec<u32>, Vec<u32>)> {
    let too_large = || Error::config("prune", "more than 2³² stored weights");
    u32::try_from(keep.len()).map_err(|_| too_large())?;
    let (mut row_ptr, mut col) = (vec![0u32], Vec::new());
    for row in 0..rows {
        col.extend((0..cols).filter(|&c| keep[row * cols + c]).map(|c| c as u32));
        row_ptr.push(col.len() as u32);
    }
    Ok((row_ptr, col))
}

fn unstructured(dense: &[f32], n: usize, k: usize, zeros: f64) -> Result<(Pattern, Vec<f32>)> {
    let scores: Vec<f32> = dense.iter().map(|w| w.abs()).collect();
    let keep = keep_strongest(&scores, zeros);
    let (row_ptr, col) = compress(&keep, n, k)?;
    let stored = dense.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(w, _)| *w).collect();
    Ok((Pattern::Csr { row_ptr, col }, stored))
}

fn blocks(dense: &[f32], [n, k]: [usize; 2], [rows, cols]: [usize; 2], zeros: f64) -> Result<(Pattern, Vec<f32>)> {
    if rows == 0 || cols == 0 {
        return Err(Error::config("block", format!("must be at least 1 × 1, got {rows} × {cols}")));
    }
    let (block_rows, block_cols) = (n.div_ceil(rows), k.div_ceil(cols));
    let cell = |block: usize, i: usize| {
        let (row, col) = (block / block_cols * rows + i / cols, block % block_cols * cols + i % cols);
        if row < n && col < k { dense[row * k + col] } else { 0.0 }
    };
    let norm = |block| (0..rows * cols).map(|i| cell(block, i) * cell(block, i)).sum::<f32>();
    let scores: Vec<f32> = (0..block_rows * block_cols).map(norm).collect();
    let keep = keep_strongest(&scores, zeros);
    let (row_ptr, col) = compress(&keep, block_rows, block_cols)?;
    let kept = (0..keep.len()).filter(|&block| keep[block]);
    let stored = kept.flat_map(|block| (0..rows * cols).map(move |i| (block, i))).map(|(block, i)| cell(block, i)).collect();
    Ok((Pattern::Block { rows, cols, row_ptr, col }, stored))
}

fn two_of_four(dense: &[f32], n: usize, k: usize) -> (Pattern, Vec<f32>) {
    let groups = k.div_ceil(4);
    let (mut places, mut stored) = (Vec::with_capacity(n * groups), Vec::with_capacity(2 * n * groups));
    for row in 0..n {
        for g in 0..groups {
            // Inputs beyond K count as the weakest.
            let value = |place: usize| if 4 * g + place < k { dense[row * k + 4 * g + place] } else { 0.0 };
            let mut order = [0, 1, 2, 3];
            order.sort_by(|&a, &b| value(b).abs().total_cmp(&value(a).abs()).then(a.cmp(&b)));
            let (first, second) = (order[0].min(order[1]), order[0].max(order[1]));
            places.push((first | second << 2) as u8);
            stored.extend([value(first), value(second)]);
        }
    }
    (Pattern::TwoOfFour { places }, stored)
}

/// The rows of a dense weight (or its columns) in the order of `keep`: how whole units are removed. A unit is a row of the weight
/// that computes it and a column of every weight that reads it.
///
/// # Errors
/// `Config` if the weight is not dense or an index is out of range.
pub fn keep_units(weight: &Weight, axis: UnitAxis, keep: &[usize]) -> Result<Weight> {
    let Weight::Dense { n, k, values } = weight else {
        return Err(Error::config("prune", format!("a dense weight is needed, got {}", weight.format())));
    };
    let (n, k) = (*n, *k);
    let limit = if axis == UnitAxis::Outputs { n } else { k };
    if let Some(beyond) = keep.iter().find(|&&unit| unit >= limit) {
        return Err(Error::config("keep", format!("unit {beyond} of {limit}")));
    }
    let dense = values.to_f32();
    let (rows, kept): ((usize, usize), Vec<f32>) = match axis {
        UnitAxis::Outputs => {
            ((keep.len(), k), keep.iter().flat_map(|&row| dense[row * k..(row + 1) * k].iter().copied()).collect())
        }
        UnitAxis::Inputs => (
            (n, keep.len()),
            (0..n).flat_map(|row| keep.iter().map(move |&col| (row, col))).map(|(row, col)| dense[row * k + col]).collect(),
        ),
    };
    let values =
        Values::from_f32(values.dtype(), &kept).ok_or_else(|| Error::config("prune", "weights must be floating-point values"))?;
    Ok(Weight::dense(rows.0, rows.1, values)?)
}

/// Which side of a weight a unit lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitAxis {
    /// Rows: the weight computes the unit.
    Outputs,
    /// Columns: the weight reads the unit.
    Inputs,
}

/// The strongest groups of `width` neighbouring units (1: neurons, head_dim: heads), scored by the product of the norms of what
/// computes and what reads them. Returns the kept units' indices, rising.
///
/// # Errors
/// `Config` if shapes disagree or the share leaves 0..=1.
pub fn strongest_units(producer: &Weight, consumer: &Weight, width: usize, keep_share: f64) -> Result<Vec<usize>> {
    let units = producer.n();
    if consumer.k() != units || width == 0 || !units.is_multiple_of(width) {
        let what =
            format!("[{}, {}] feeds [{}, {}] in groups of {width}", producer.n(), producer.k(), consumer.n(), consumer.k());
        return Err(Error::config("prune", what));
    }
    let keep_share = share(keep_share)?;
    let (made, read) = (producer.to_f32(), consumer.to_f32());
    let groups = units / width;
    let score = |group: usize| {
        let inside = group * width..(group + 1) * width;
        let out: f64 =
            inside.clone().flat_map(|u| &made[u * producer.k()..(u + 1) * producer.k()]).map(|&w| f64::from(w).powi(2)).sum();
        let used: f64 = (0..consumer.n())
            .flat_map(|row| inside.clone().map(move |u| row * units + u))
            .map(|at| f64::from(read[at]).powi(2))
            .sum();
        (out * used).sqrt() as f32
    };
    let keep = keep_strongest(&(0..groups).map(score).collect::<Vec<_>>(), 1.0 - keep_share);
    Ok((0..units).filter(|unit| keep[unit / width]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(n: usize, k: usize) -> (Weight, Vec<f32>) {
        // Distinct magnitudes in an order unlike that of the positions.
        let values: Vec<f32> = (0..n * k)
            .map(|i| ((i * 7919 + 13) % (n * k)) as f32 + 1.0)
            .map(|v| if (v as usize).is_multiple_of(2) { v } else { -v })
            .collect();
        (Weight::dense(n, k, Values::F32(values.clone())).unwrap(), values)
    }

    #[test]
    fn the_smallest_go_and_the_share_is_exact() {
        let (dense, values) = weight(6, 10);
        for zeros in [0.0, 0.25, 0.5, 0.9, 1.0] {
            let sparse = prune(&dense, Pruning::Unstructured { zeros }).unwrap();
            let back = sparse.to_f32();
            let dropped = (60.0 * zeros).round() as usize;
            assert_eq!(back.iter().filter(|w| **w == 0.0).count(), dropped);
            let mut magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
            magnitudes.sort_by(f32::total_cmp);
            for (w, b) in values.iter().zip(&back) {
                let kept = dropped == 0 || w.abs() > magnitudes[dropped - 1];
                assert_eq!(*b, if kept { *w } else { 0.0 });
            }
        }
        assert_eq!(prune(&dense, Pruning::Unstructured { zeros: 0.0 }).unwrap().to_f32(), values);
    }

    #[test]
    fn two_of_every_four_stay_and_they_are_the_largest() {
        for k in [1, 3, 4, 5, 8, 10] {
            let (dense, values) = weight(3, k);
            let back = prune(&dense, Pruning::TwoOfFour).unwrap().to_f32();
            for (row, (before, after)) in values.chunks(k).zip(back.chunks(k)).enumerate() {
                for (before, after) in before.chunks(4).zip(after.chunks(4)) {
                    let mut sorted: Vec<f32> = before.iter().map(|w| w.abs()).collect();
                    sorted.sort_by(|a, b| b.total_cmp(a));
                    let weakest_kept = sorted[sorted.len().min(2) - 1];
                    for (w, a) in before.iter().zip(after) {
                        assert_eq!(*a, if w.abs() >= weakest_kept { *w } else { 0.0 }, "row {row}, k {k}");
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_go_whole() {
        let (dense, values) = weight(5, 6);
        let sparse = prune(&dense, Pruning::Blocks { rows: 2, cols: 4, zeros: 0.5 }).unwrap();
        let back = sparse.to_f32();
        let mut kept = 0;
        for (r, c) in (0..3).flat_map(|r| (0..2).map(move |c| (r, c))) {
            let cells: Vec<usize> =
                (0..8).map(|i| (2 * r + i / 4, 4 * c + i % 4)).filter(|&(n, k)| n < 5 && k < 6).map(|(n, k)| n * 6 + k).collect();
            let whole = cells.iter().all(|&at| back[at] == values[at]);
            assert!(whole || cells.iter().all(|&at| back[at] == 0.0));
            kept += usize::from(whole);
        }
        assert_eq!(kept, 3);
    }

    #[test]
    fn units_leave_both_weights() {
        // Unit 1 is computed strongly but never read: it must go first.
        let up = Weight::dense(3, 2, Values::F32(vec![1.0, 1.0, 9.0, 9.0, 2.0, 2.0])).unwrap();
        let down = Weight::dense(2, 3, Values::F32(vec![1.0, 0.0, 1.0, 1.0, 0.0, 2.0])).unwrap();
        let keep = strongest_units(&up, &down, 1, 2.0 / 3.0).unwrap();
        assert_eq!(keep, [0, 2]);
        assert_eq!(keep_units(&up, UnitAxis::Outputs, &keep).unwrap().to_f32(), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(keep_units(&down, UnitAxis::Inputs, &keep).unwrap().to_f32(), [1.0, 1.0, 1.0, 2.0]);
        assert!(strongest_units(&up, &down, 2, 0.5).is_err());
        assert!(keep_units(&up, UnitAxis::Inputs, &[2]).is_err());
    }
}
