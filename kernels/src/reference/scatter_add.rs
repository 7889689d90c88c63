//! Reference of [`ScatterAdd`](crate::ops::ScatterAdd).

/// `out[index[m]] += x[m]` for rows of `d` elements.
pub fn scatter_add(x: &[f64], d: usize, index: &[usize], out: &mut [f64]) {
    for (m, &row) in index.iter().enumerate() {
        for i in 0..d {
            out[row * d + i] += x[m * d + i];
        }
    }
}
