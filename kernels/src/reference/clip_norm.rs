//! Reference of [`ClipNorm`](crate::ops::ClipNorm).

/// Scales all tensors in place and returns their joint norm before.
pub fn clip_norm(grads: &mut [Vec<f64>], max_norm: f64) -> f64 {
    let norm = grads.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
    if norm.is_finite() && norm > max_norm {
        grads.iter_mut().flatten().for_each(|g| *g *= max_norm / norm);
    }
    norm
}
