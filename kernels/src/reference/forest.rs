//! Reference of [`Forest`](crate::ops::Forest).

use crate::ops::Forest;

/// An index out of range: argument, place in it, limit, and what it was.
pub type Stray = (&'static str, usize, usize, u64);

/// Trees as the op takes them.
#[derive(Clone, Copy, Debug)]
pub struct Trees<'a> {
    /// First nodes.
    pub roots: &'a [usize],
    /// Bits of the threshold, feature, to.
    pub nodes: &'a [[u32; 3]],
    /// Rows of `classes` values.
    pub leaves: &'a [f64],
    /// Values of a leaf.
    pub classes: usize,
}

impl Trees<'_> {
    /// The row of `leaves` that tree `t` gives for `x`, of which there are `leaves`.
    ///
    /// # Errors
    /// The first index out of range on the way.
    pub fn leaf(&self, t: usize, x: &[f64], leaves: usize) -> Result<usize, Stray> {
        let mut n = self.roots[t];
        if n >= self.nodes.len() {
            return Err(("roots", t, self.nodes.len(), n as u64));
        }
        loop {
            let [threshold, feature, to] = self.nodes[n];
            let inside = |column: usize, value: u32, limit: usize| match (value as usize) < limit {
                true => Ok(value as usize),
                false => Err(("nodes", 3 * n + column, limit, value.into())),
            };
            if feature == Forest::LEAF {
                return inside(2, to, leaves);
            }
            let feature = inside(1, feature, x.len())?;
            // Both children are nodes: n + 2 + to < N.
            let to = inside(2, to, self.nodes.len().saturating_sub(n + 2))?;
            let left = x[feature] <= f32::from_bits(threshold).into();
            n += 1 + to + usize::from(!left);
        }
    }

    /// `out[c] = scale · Σₜ leaves[leaf(t, x), c]`
    ///
    /// # Errors
    /// The first index out of range.
    pub fn judge(&self, x: &[f64], leaves: usize, scale: f64, out: &mut [f64]) -> Result<(), Stray> {
        out.fill(0.0);
        for t in 0..self.roots.len() {
            let leaf = self.leaf(t, x, leaves)?;
            out.iter_mut().zip(&self.leaves[leaf * self.classes..]).for_each(|(out, leaf)| *out += leaf);
        }
        out.iter_mut().for_each(|out| *out *= scale);
        Ok(())
    }
}
