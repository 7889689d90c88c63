//! Reference of [`Gather`](crate::ops::Gather).

/// `out[m] = table[index[m]]` for rows of `d` elements.
pub fn gather(table: &[f64], d: usize, index: &[usize], out: &mut [f64]) {
    for (m, &row) in index.iter().enumerate() {
        out[m * d..(m + 1) * d].copy_from_slice(&table[row * d..(row + 1) * d]);
    }
}
