//! Reference of [`CrossEntropy`](crate::ops::CrossEntropy) and [`CrossEntropyBackward`](crate::ops::CrossEntropyBackward).

/// What one row is compared with.
#[derive(Clone, Copy, Debug)]
pub enum TargetRow<'a> {
    /// The right class; `None` leaves the row out.
    Class(Option<usize>),
    /// A distribution over the classes.
    Distribution(&'a [f64]),
}

impl TargetRow<'_> {
    /// Weight of class `v`.
    pub fn of(&self, v: usize) -> f64 {
        match self {
            TargetRow::Class(class) => f64::from(u8::from(*class == Some(v))),
            TargetRow::Distribution(weights) => weights[v],
        }
    }

    /// Whether the row has no loss and no gradient.
    pub fn is_left_out(&self) -> bool {
        matches!(self, TargetRow::Class(None))
    }
}

/// (loss, lse) of one row.
pub fn cross_entropy_row(logits: &[f64], target: TargetRow<'_>, scale: f64) -> (f64, f64) {
    let mut scaled: Vec<f64> = logits.iter().map(|x| scale * x).collect();
    let lse = super::softmax::softmax_row(&mut scaled);
    let loss = match target {
        TargetRow::Class(None) => 0.0,
        TargetRow::Class(Some(class)) => lse - scale * logits[class],
        TargetRow::Distribution(weights) => logits.iter().zip(weights).map(|(x, w)| w * (lse - scale * x)).sum(),
    };
    (loss, lse)
}

/// Overwrites the gradient of one row.
pub fn cross_entropy_backward_row(logits: &[f64], target: TargetRow<'_>, scale: f64, lse: f64, dloss: f64, dlogits: &mut [f64]) {
    if target.is_left_out() {
        return dlogits.fill(0.0);
    }
    let total: f64 = (0..logits.len()).map(|v| target.of(v)).sum();
    for (v, dx) in dlogits.iter_mut().enumerate() {
        *dx = dloss * scale * ((scale * logits[v] - lse).exp() * total - target.of(v));
    }
}
