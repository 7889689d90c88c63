//! Columns of mean 0 and variance 1, which linear models, networks and kernels need and trees do not.

use serde::{Deserialize, Serialize};

use super::Table;
use crate::{Error, Result};

/// `x ↦ (x − mean) / deviation` per column, fitted on training rows only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standardizer {
    /// Mean of each column.
    pub mean: Vec<f32>,
    /// Standard deviation of each column (over n, not n − 1); 1 for constant columns, which thus become 0.
    pub deviation: Vec<f32>,
}

impl Standardizer {
    /// Measures the columns of `train`, `[rows, cols]`, in f64.
    pub fn fit(train: &Table) -> Self {
        let rows = train.rows.max(1) as f64;
        let (mut mean, mut variance) = (vec![0f64; train.cols], vec![0f64; train.cols]);
        for row in 0..train.rows {
            mean.iter_mut().zip(train.row(row)).for_each(|(mean, &x)| *mean += f64::from(x) / rows);
        }
        for row in 0..train.rows {
            let terms = variance.iter_mut().zip(train.row(row)).zip(&mean);
            terms.for_each(|((variance, &x), mean)| *variance += (f64::from(x) - mean).powi(2) / rows);
        }
        // A constant column's computed variance is rounding noise, at most about (rows · 2⁻⁵³ · mean)².
        let deviation = |(variance, mean): (&f64, &f64)| {
            let noise = rows * f64::EPSILON * mean.abs();
            if variance.sqrt() <= noise { 1.0 } else { variance.sqrt() as f32 }
        };
        Self { deviation: variance.iter().zip(&mean).map(deviation).collect(), mean: mean.iter().map(|&m| m as f32).collect() }
    }

    /// Standardises `table` in place.
    ///
    /// # Errors
    /// `Config` if it has another number of columns than the training rows.
    pub fn apply(&self, table: &mut Table) -> Result<()> {
        if table.cols != self.mean.len() || table.cols != self.deviation.len() {
            let what = format!("fitted on {} columns, got {}", self.mean.len(), table.cols);
            return Err(Error::config("standardizer", what));
        }
        for row in table.values.chunks_exact_mut(table.cols.max(1)) {
            let columns = row.iter_mut().zip(&self.mean).zip(&self.deviation);
            columns.for_each(|((x, mean), deviation)| *x = (*x - mean) / deviation);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_mean_zero_and_variance_one_and_leaves_constants_finite() {
        let values: Vec<f32> = (0..300).flat_map(|i| [i as f32 * 3.0 - 7.0, 0.1, ((i * 37) % 11) as f32 * 1e-6]).collect();
        let mut table = Table::new(300, 3, values).unwrap();
        let standardizer = Standardizer::fit(&table);
        standardizer.apply(&mut table).unwrap();
        for column in [0, 2] {
            let column: Vec<f64> = (0..300).map(|row| f64::from(table.row(row)[column])).collect();
            let mean = column.iter().sum::<f64>() / 300.0;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 300.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        }
        assert!((0..300).all(|row| table.row(row)[1].abs() < 1e-6));
        assert!(standardizer.apply(&mut Table::new(1, 2, vec![0.0; 2]).unwrap()).is_err());
    }
}
