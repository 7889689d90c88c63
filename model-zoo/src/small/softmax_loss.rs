//! Cross entropy of a linear model over all rows, and its gradient, on a device.

use kernels::ops::{Act, Copy, CrossEntropy, CrossEntropyBackward, Download, Fill, Linear, Target, Upload};
use kernels::weight::{Pattern, Sparse, Values};
use kernels::{Backend, Buffer, DType, Op, Packed, Weight, WeightRef};

use super::rows::Rows;
use crate::{Error, Result};

/// What a classifier is fitted to.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// The class of each row.
    Classes(&'a [u32]),
    /// A distribution over the classes for each row, `[rows, classes]`, as a teacher gives.
    Distributions(&'a [f32]),
}

impl Targets<'_> {
    /// Whether they fit `rows` rows and `classes` classes.
    ///
    /// # Errors
    /// `Config` if there are no rows, fewer than two classes, not one target per row, a class out of range, or a distribution
    /// that is negative, not finite or does not sum to 1 (± 10⁻³).
    pub fn check(&self, rows: usize, classes: usize) -> Result<()> {
        if rows == 0 || classes < 2 {
            return Err(Error::config(
                "targets",
                format!("{rows} rows of {classes} classes; one row and two classes are needed"),
            ));
        }
        match self {
            Targets::Classes(labels) => {
                if labels.len() != rows {
                    return Err(Error::config("targets", format!("{} classes for {rows} rows", labels.len())));
                }
                match labels.iter().position(|&label| label as usize >= classes) {
                    Some(row) => Err(Error::config("targets", format!("row {row}: class {} of {classes}", labels[row]))),
                    None => Ok(()),
                }
            }
            Targets::Distributions(values) => {
                if rows.checked_mul(classes) != Some(values.len()) {
                    return Err(Error::config("targets", format!("{} numbers for {rows} rows of {classes}", values.len())));
                }
                let is_distribution =
                    |row: &[f32]| row.iter().all(|p| (0.0..=1.001).contains(p)) && (row.iter().sum::<f32>() - 1.0).abs() <= 1e-3;
                match values.chunks_exact(classes).position(|row| !is_distribution(row)) {
                    Some(row) => Err(Error::config("targets", format!("row {row} is no distribution"))),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Σ over rows of the cross entropy between targets and softmax(θ · (z, 1)), where z[j] = (x[j] − centre[j]) · scale[j].
///
/// The rows are the *weight* of the two products, packed once in both orientations: so dense and sparse rows take one path, and
/// an evaluation moves only θ and its gradient between host and device. All memory is taken once.
pub(super) struct SoftmaxLoss<'a> {
    on: &'a dyn Backend,
    rows: usize,
    features: usize,
    classes: usize,
    /// [rows, features], the last feature being 1.
    z: Packed,
    /// [features, rows].
    z_transposed: Packed,
    labels: Option<Buffer>,
    distributions: Option<Buffer>,
    theta: Buffer,
    by_class: Buffer,
    logits: Buffer,
    loss: Buffer,
    lse: Buffer,
    one: Buffer,
    dlogits: Buffer,
    dtheta: Buffer,
    host_theta: Vec<f32>,
    host_loss: Vec<f32>,
}

impl<'a> SoftmaxLoss<'a> {
    pub(super) fn new(
        on: &'a dyn Backend,
        rows: Rows<'_>,
        centre: &[f64],
        scale: &[f64],
        targets: Targets<'_>,
        classes: usize,
    ) -> Result<Self> {
        let (n, features) = (rows.len(), rows.cols() + 1);
        let [z, z_transposed] = if rows.is_sparse() { sparse(rows, scale)? } else { dense(rows, centre, scale)? };
        let f32s = |len: usize| on.alloc(DType::F32, len);
        let (mut labels, mut distributions) = (None, None);
        match targets {
            Targets::Classes(classes) => {
                let mut buffer = on.alloc(DType::U32, n)?;
                Upload::new(classes, buffer.view_mut([n])?).run(on)?;
                labels = Some(buffer);
            }
            Targets::Distributions(values) => {
                let mut buffer = f32s(n * classes)?;
                Upload::new(values, buffer.view_mut([n, classes])?).run(on)?;
                distributions = Some(buffer);
            }
        }
        let mut one = f32s(1)?;
        Fill { value: 1.0, out: one.view_mut([1])? }.run(on)?;
        Ok(Self {
            on,
            rows: n,
            features,
            classes,
            z: on.pack(&z)?,
            z_transposed: on.pack(&z_transposed)?,
            labels,
            distributions,
            theta: f32s(classes * features)?,
            by_class: f32s(classes * n)?,
            logits: f32s(n * classes)?,
            loss: f32s(n)?,
            lse: f32s(n)?,
            one,
            dlogits: f32s(n * classes)?,
            dtheta: f32s(classes * features)?,
            host_theta: vec![0.0; classes * features],
            host_loss: vec![0.0; n],
        })
    }

    /// Loss at `theta`, `[classes, features]`; writes its gradient. Sums over rows in f64 (loss) and f32 (gradient).
    pub(super) fn evaluate(&mut self, theta: &[f64], gradient: &mut [f64]) -> Result<f64> {
        let (n, classes, features, on) = (self.rows, self.classes, self.features, self.on);
        self.host_theta.iter_mut().zip(theta).for_each(|(host, t)| *host = *t as f32);
        Upload::new(&self.host_theta, self.theta.view_mut([classes, features])?).run(on)?;
        let act = Act::None;
        Linear {
            x: self.theta.view([classes, features])?,
            weight: WeightRef::Packed(&self.z),
            bias: None,
            act,
            out: self.by_class.view_mut([classes, n])?,
        }
        .run(on)?;
        let transposed = self.by_class.view([classes, n])?.transpose(0, 1)?;
        Copy { x: transposed, out: self.logits.view_mut([n, classes])? }.run(on)?;

        let target = match (&self.labels, &self.distributions) {
            (Some(labels), _) => Target::Class(labels.view([n])?),
            (None, Some(distributions)) => Target::Distribution(distributions.view([n, classes])?),
            (None, None) => return Err(Error::config("targets", "there are none")),
        };
        let (logits, scale) = (self.logits.view([n, classes])?, 1.0);
        CrossEntropy { logits, target, scale, loss: self.loss.view_mut([n])?, lse: self.lse.view_mut([n])? }.run(on)?;
        CrossEntropyBackward {
            logits,
            target,
            scale,
            lse: self.lse.view([n])?,
            dloss: self.one.view([1])?.broadcast_to([n])?,
            dlogits: self.dlogits.view_mut([n, classes])?,
        }
        .run(on)?;

        let transposed = self.dlogits.view([n, classes])?.transpose(0, 1)?;
        Copy { x: transposed, out: self.by_class.view_mut([classes, n])? }.run(on)?;
        Linear {
            x: self.by_class.view([classes, n])?,
            weight: WeightRef::Packed(&self.z_transposed),
            bias: None,
            act,
            out: self.dtheta.view_mut([classes, features])?,
        }
        .run(on)?;
        Download::new(self.dtheta.view([classes, features])?, &mut self.host_theta).run(on)?;
        Download::new(self.loss.view([n])?, &mut self.host_loss).run(on)?;
        gradient.iter_mut().zip(&self.host_theta).for_each(|(g, host)| *g = f64::from(*host));
        Ok(self.host_loss.iter().map(|&loss| f64::from(loss)).sum())
    }
}

/// `[rows, features]` and its transpose, every value stored.
fn dense(rows: Rows<'_>, centre: &[f64], scale: &[f64]) -> Result<[Weight; 2]> {
    let (n, features) = (rows.len(), rows.cols() + 1);
    let mut z = vec![1f32; n * features];
    let mut z_transposed = vec![1f32; features * n];
    for row in 0..n {
        rows.for_each(row, |j, x| {
            let value = ((f64::from(x) - centre[j]) * scale[j]) as f32;
            z[row * features + j] = value;
            z_transposed[j * n + row] = value;
        });
    }
    Ok([Weight::dense(n, features, Values::F32(z))?, Weight::dense(features, n, Values::F32(z_transposed))?])
}

/// `[rows, features]` and its transpose, as compressed sparse rows.
fn sparse(rows: Rows<'_>, scale: &[f64]) -> Result<[Weight; 2]> {
    let (n, features) = (rows.len(), rows.cols() + 1);
    let (mut starts, mut columns, mut values) = (vec![0u32], Vec::new(), Vec::new());
    let mut lengths = vec![0usize; features];
    for row in 0..n {
        let mut push = |j: usize, value: f32| {
            columns.push(j as u32);
            values.push(value);
            lengths[j] += 1;
        };
        rows.for_each(row, |j, x| push(j, (f64::from(x) * scale[j]) as f32));
        push(features - 1, 1.0);
        starts.push(index(values.len())?);
    }
    let mut next: Vec<usize> = lengths.iter().scan(0, |sum, len| Some(std::mem::replace(sum, *sum + len))).collect();
    let mut starts_transposed = next.iter().map(|&start| index(start)).collect::<Result<Vec<u32>>>()?;
    starts_transposed.push(index(values.len())?);
    let (mut rows_transposed, mut values_transposed) = (vec![0u32; values.len()], vec![0f32; values.len()]);
    for row in 0..n {
        for at in starts[row] as usize..starts[row + 1] as usize {
            let to = &mut next[columns[at] as usize];
            rows_transposed[*to] = index(row)?;
            values_transposed[*to] = values[at];
            *to += 1;
        }
    }
    let pattern_transposed = Pattern::Csr { row_ptr: starts_transposed, col: rows_transposed };
    let z_transposed = Sparse::new(features, n, pattern_transposed, Values::F32(values_transposed))?;
    let z = Sparse::new(n, features, Pattern::Csr { row_ptr: starts, col: columns }, Values::F32(values))?;
    Ok([Weight::Sparse(z), Weight::Sparse(z_transposed)])
}

fn index(at: usize) -> Result<u32> {
    u32::try_from(at).map_err(|_| Error::config("inputs", "more than 2³² numbers"))
}
