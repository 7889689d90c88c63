//! Reference of [`Reduce`](crate::ops::Reduce).

use crate::ops::ReduceOp;

/// The reduction of all values of an iterator.
pub fn reduce(op: ReduceOp, values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    match op {
        ReduceOp::Sum => values.sum::<f64>() + 0.0,
        ReduceOp::Mean => values.sum::<f64>() / count,
        ReduceOp::Max => values.fold(f64::NEG_INFINITY, |max, x| if x.is_nan() || max.is_nan() { f64::NAN } else { max.max(x) }),
    }
}
