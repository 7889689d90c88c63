//! Columns of numbers as small integers, so that a tree finds its splits by counting.

use rayon::prelude::*;

use crate::data::Table;

/// Bins of a column at most; a bin's number fits in a byte.
pub(super) const MAX_BINS: usize = 255;

/// A table as bin numbers, column by column. A value's bin is the number of its column's edges below it, so
/// `bin <= b` says the same as `value <= edges[b]`.
pub(super) struct Bins {
    pub rows: usize,
    /// Bin numbers, `[cols, rows]`.
    codes: Vec<u8>,
    /// Ascending edges of each column: one fewer than its bins.
    edges: Vec<Vec<f32>>,
}

impl Bins {
    /// Bins of about equally many rows, or one bin per distinct value where there are few. The values must be finite.
    pub(super) fn fit(table: &Table) -> Self {
        let column = |col: usize| (0..table.rows).map(move |row| table.row(row)[col]);
        let edges: Vec<Vec<f32>> = (0..table.cols).into_par_iter().map(|col| edges(column(col).collect())).collect();
        let code = |(value, edges): (f32, &Vec<f32>)| edges.partition_point(|&edge| value > edge) as u8;
        let coded = (0..table.cols).into_par_iter().flat_map_iter(|col| column(col).map(move |value| (value, col)));
        let codes = coded.map(|(value, col)| code((value, &edges[col]))).collect();
        Self { rows: table.rows, codes, edges }
    }

    pub(super) fn cols(&self) -> usize {
        self.edges.len()
    }

    /// Bin numbers of column `col`, one per row.
    pub(super) fn column(&self, col: usize) -> &[u8] {
        &self.codes[col * self.rows..(col + 1) * self.rows]
    }

    /// The value that parts bins `..=bin` of column `col` from the rest.
    pub(super) fn edge(&self, col: usize, bin: usize) -> f32 {
        self.edges[col][bin]
    }
}

/// Values halfway between neighbouring distinct values of a column: all of them if they are few, else those next to every
/// 1/[`MAX_BINS`] of the rows.
fn edges(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let distinct = values.chunk_by(|a, b| a == b).count();
    let (mut edges, mut seen, mut full) = (Vec::new(), 0, 0);
    for pair in values.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect::<Vec<_>>().windows(2) {
        let [(low, count), (high, _)] = *pair else { continue };
        seen += count;
        let bin_is_full = seen * MAX_BINS >= (full + 1) * values.len();
        if distinct <= MAX_BINS || (bin_is_full && edges.len() + 1 < MAX_BINS) {
            edges.push(between(low, high));
            full = seen * MAX_BINS / values.len();
        }
    }
    edges
}

/// A number `x` with `low <= x < high`, halfway unless rounding forbids it.
fn between(low: f32, high: f32) -> f32 {
    let middle = low / 2.0 + high / 2.0;
    if low <= middle && middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn bins_keep_the_order_and_hold_about_equally_many_rows() {
        let mut random = Random::new(5);
        // Skewed and continuous; three neighbouring floats, which are their own edges; three values; constant.
        let values = (0..40_000).map(|i| match i % 4 {
            0 => (random.unit() * 20.0).exp() as f32,
            1 => f32::from_bits(1.0f32.to_bits() + i / 4 % 3),
            2 => (i / 4 % 3) as f32,
            _ => -4.0,
        });
        let table = Table::new(10_000, 4, values.collect()).unwrap();
        let bins = Bins::fit(&table);
        for col in 0..4 {
            let column = bins.column(col);
            let edges = &bins.edges[col];
            assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
            for (row, &bin) in column.iter().enumerate() {
                let (value, bin) = (table.row(row)[col], usize::from(bin));
                assert!(edges.get(bin).is_none_or(|&edge| value <= edge) && (bin == 0 || value > edges[bin - 1]));
            }
        }
        assert_eq!(bins.edges.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_BINS - 1, 2, 2, 0]);
        let mut counts = [0u32; MAX_BINS];
        bins.column(0).iter().for_each(|&bin| counts[usize::from(bin)] += 1);
        assert!(counts.iter().all(|&count| (39..=40).contains(&count)), "{counts:?}");
    }

    #[test]
    fn edges_lie_between_neighbours_even_where_floats_are_dense_or_huge() {
        for (low, high) in [(1.0, 1.0 + f32::EPSILON), (-f32::MAX, f32::MAX), (0.0, f32::from_bits(1)), (-0.0, 1e-45), (2.0, 3.0)]
        {
            let middle = between(low, high);
            assert!(low <= middle && middle < high, "{low} {middle} {high}");
        }
        assert_eq!(between(2.0, 3.0), 2.5);
    }
}
