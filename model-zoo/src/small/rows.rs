//! Examples as linear models read them: every number, or only those that are not zero.

use super::features::SparseRows;
use crate::data::Table;
use crate::{Error, Result};

/// Rows of numbers, `[len, cols]`. What a `Rows` holds is consistent and finite: its constructors check.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    cols: usize,
    len: usize,
    form: Form<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    Dense(&'a [f32]),
    Sparse(&'a SparseRows),
}

impl<'a> Rows<'a> {
    /// Every number of a table.
    ///
    /// # Errors
    /// `Config` naming row and column of a number that is not finite, or if the table is not `rows * cols` values.
    pub fn dense(table: &'a Table) -> Result<Self> {
        if table.rows.checked_mul(table.cols) != Some(table.values.len()) {
            return Err(Error::config("inputs", format!("{} × {} needs as many values", table.rows, table.cols)));
        }
        // Without an early exit the compiler uses vectors; the place is looked for only where there is one.
        if !table.values.iter().fold(true, |all, value| all & value.is_finite()) {
            let at = table.values.iter().position(|value| !value.is_finite()).unwrap_or_default();
            let (row, column) = (at / table.cols.max(1), at % table.cols.max(1));
            return Err(not_finite(row, column, table.values[at]));
        }
        Ok(Self { cols: table.cols, len: table.rows, form: Form::Dense(&table.values) })
    }

    /// Rows of which only some numbers are stored.
    ///
    /// # Errors
    /// `Config` if the parts do not fit together, or naming row and column of a number that is not finite.
    pub fn sparse(rows: &'a SparseRows) -> Result<Self> {
        let SparseRows { cols, ends, columns, values } = rows;
        if !ends.is_sorted() || ends.last().copied().unwrap_or(0) != values.len() || columns.len() != values.len() {
            return Err(Error::config("inputs", "the ends of sparse rows must ascend to the number of values"));
        }
        for row in 0..ends.len() {
            let (columns, values) = rows.row(row);
            let ascend = columns.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascend || columns.last().is_some_and(|&last| last as usize >= *cols) {
                return Err(Error::config("inputs", format!("row {row}: columns must ascend and be below {cols}")));
            }
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(not_finite(row, columns[at] as usize, values[at]));
            }
        }
        Ok(Self { cols: *cols, len: ends.len(), form: Form::Sparse(rows) })
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Whether zeros are left out.
    pub fn is_sparse(&self) -> bool {
        matches!(self.form, Form::Sparse(_))
    }

    /// Numbers of examples `first..first + len`, row-major, if every one is stored.
    ///
    /// # Panics
    /// If `first + len > len()`, as slices do.
    pub fn values(&self, first: usize, len: usize) -> Option<&'a [f32]> {
        match self.form {
            Form::Dense(values) => Some(&values[first * self.cols..][..len * self.cols]),
            Form::Sparse(_) => None,
        }
    }

    /// Shows `see` every stored number of example `row` with its column, ascending.
    ///
    /// # Panics
    /// If `row >= len()`, as slices do.
    #[inline]
    pub fn for_each(&self, row: usize, mut see: impl FnMut(usize, f32)) {
        match self.form {
            Form::Dense(values) => values[row * self.cols..][..self.cols].iter().enumerate().for_each(|(at, &x)| see(at, x)),
            Form::Sparse(rows) => {
                let (columns, values) = rows.row(row);
                columns.iter().zip(values).for_each(|(&column, &x)| see(column as usize, x));
            }
        }
    }

    /// Σ w[j] · x[row, j], in f64; `w` has at least `cols` numbers.
    #[inline]
    pub(super) fn dot(&self, row: usize, w: &[f64]) -> f64 {
        match self.form {
            Form::Dense(values) => {
                // Eight partial sums, joined in a fixed order, let the compiler use vectors.
                let (x, w) = (&values[row * self.cols..][..self.cols], &w[..self.cols]);
                let (x, w) = (x.chunks_exact(8), w.chunks_exact(8));
                let rest: f64 = x.remainder().iter().zip(w.remainder()).map(|(&x, w)| f64::from(x) * w).sum();
                let mut sums = [0f64; 8];
                for (x, w) in x.zip(w) {
                    for lane in 0..8 {
                        sums[lane] += f64::from(x[lane]) * w[lane];
                    }
                }
                sums.iter().sum::<f64>() + rest
            }
            Form::Sparse(rows) => {
                let (columns, values) = rows.row(row);
                columns.iter().zip(values).map(|(&column, &x)| f64::from(x) * w[column as usize]).sum()
            }
        }
    }

    /// w[j] += a · x[row, j].
    #[inline]
    pub(super) fn add_scaled(&self, row: usize, a: f64, w: &mut [f64]) {
        match self.form {
            Form::Dense(values) => {
                let x = &values[row * self.cols..][..self.cols];
                w[..self.cols].iter_mut().zip(x).for_each(|(w, &x)| *w += a * f64::from(x));
            }
            Form::Sparse(_) => self.for_each(row, |column, x| w[column] += a * f64::from(x)),
        }
    }
}

fn not_finite(row: usize, column: usize, value: f32) -> Error {
    Error::config("inputs", format!("row {row}, column {column} is {value}; only finite numbers can be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_agree_and_damage_is_named() {
        let table = Table::new(2, 9, (0..18).map(|i| if i % 3 == 0 { i as f32 } else { 0.0 }).collect()).unwrap();
        let dense = Rows::dense(&table).unwrap();
        let columns = vec![3, 6, 0, 3, 6];
        let mut stored = SparseRows { cols: 9, ends: vec![2, 5], columns, values: vec![3.0, 6.0, 9.0, 12.0, 15.0] };
        let sparse = Rows::sparse(&stored).unwrap();
        let w: Vec<f64> = (0..9).map(|i| 1.0 / f64::from(i + 1)).collect();
        for row in 0..2 {
            assert!((dense.dot(row, &w) - sparse.dot(row, &w)).abs() < 1e-12);
            let (mut a, mut b) = (w.clone(), w.clone());
            dense.add_scaled(row, 0.5, &mut a);
            sparse.add_scaled(row, 0.5, &mut b);
            assert_eq!(a, b);
        }
        let nan = Table::new(2, 2, vec![0.0, 1.0, 2.0, f32::NAN]).unwrap();
        assert!(Rows::dense(&nan).unwrap_err().to_string().contains("row 1, column 1"));
        stored.values[3] = f32::INFINITY;
        assert!(Rows::sparse(&stored).unwrap_err().to_string().contains("row 1, column 3"));
        for (ends, column) in [(vec![2, 4], 3), (vec![3, 2], 3), (vec![2, 5], 7), (vec![2, 5], 9)] {
            let mut broken = SparseRows { ends, values: vec![1.0; 5], ..stored.clone() };
            broken.columns[3] = column;
            assert!(Rows::sparse(&broken).is_err(), "{broken:?}");
        }
    }
}
