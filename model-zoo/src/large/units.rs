//! Structured pruning: whole heads and whole neurons of a transformer go, and what stays is dense and smaller.
//!
//! Where key and value heads are shared, a group of query heads goes with the head that it shares.

use super::blocks::{Mlp, TransformerConfig};
use crate::shrink::prune::{UnitAxis, keep_units, strongest_units};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};
use kernels::Weight;
use kernels::weight::Values;

/// Keeps this share of the heads and of the neurons of every block, the strongest of each: all blocks keep equally many.
///
/// # Errors
/// `Config` if `weights` are not the dense ones of such a transformer or the share leaves 0..=1.
pub fn prune_units(config: &TransformerConfig, weights: &Weights, keep_share: f64) -> Result<(TransformerConfig, Weights)> {
    let mut small = (config.clone(), weights.clone());
    for layer in 0..config.layers {
        let block = |part: &str| format!("blocks.{layer}.{part}");
        small.0.kv_heads = prune_heads(config, &mut small.1, block, keep_share)?;
        small.0.d_ff = prune_neurons(config, &mut small.1, block, keep_share)?;
    }
    small.0.heads = small.0.kv_heads * (config.heads / config.kv_heads.max(1));
    Ok(small)
}

/// Returns the number of key and value heads left.
fn prune_heads(
    config: &TransformerConfig,
    weights: &mut Weights,
    block: impl Fn(&str) -> String,
    keep_share: f64,
) -> Result<usize> {
    let &TransformerConfig { heads, kv_heads, head_dim, .. } = config;
    let width = heads / kv_heads.max(1) * head_dim; // of the query heads that share a key and value head
    let values_at = (heads + kv_heads) * head_dim;
    let qkv = matrix(weights, &block("qkv.weight"))?;
    // A head is computed by its rows of the values, and read by the output.
    let shared = |unit: usize| values_at + unit / width.max(1) * head_dim + unit % head_dim.max(1);
    let producer = keep_units(qkv, UnitAxis::Outputs, &(0..heads * head_dim).map(shared).collect::<Vec<_>>())?;
    let queries = strongest_units(&producer, matrix(weights, &block("attention_out.weight"))?, width, keep_share)?;
    let groups: Vec<usize> = queries.iter().step_by(width).map(|unit| unit / width).collect();
    let of_groups =
        |start: usize| groups.iter().flat_map(move |group| (0..head_dim).map(move |at| start + group * head_dim + at));
    let rows: Vec<usize> = queries.iter().copied().chain(of_groups(heads * head_dim)).chain(of_groups(values_at)).collect();
    keep_outputs(weights, &block("qkv"), &rows)?;
    keep_inputs(weights, &block("attention_out"), &queries)?;
    Ok(groups.len())
}

/// Returns the number of neurons left.
fn prune_neurons(
    config: &TransformerConfig,
    weights: &mut Weights,
    block: impl Fn(&str) -> String,
    keep_share: f64,
) -> Result<usize> {
    // Gates stand before the rows they gate.
    let start = if config.mlp == Mlp::SwiGlu { config.d_ff } else { 0 };
    let producer: Vec<usize> = (start..start + config.d_ff).collect();
    let producer = keep_units(matrix(weights, &block("up.weight"))?, UnitAxis::Outputs, &producer)?;
    let keep = strongest_units(&producer, matrix(weights, &block("down.weight"))?, 1, keep_share)?;
    let gates = keep.iter().copied().filter(|_| start > 0);
    let rows: Vec<usize> = gates.chain(keep.iter().map(|unit| start + unit)).collect();
    keep_outputs(weights, &block("up"), &rows)?;
    keep_inputs(weights, &block("down"), &keep)?;
    Ok(keep.len())
}

fn matrix<'w>(weights: &'w Weights, name: &str) -> Result<&'w Weight> {
    match weights.get(name) {
        Some(Tensor::Matrix(weight)) => Ok(weight),
        _ => Err(Error::config("weights", format!("there is no matrix `{name}`"))),
    }
}

/// Rows of a layer's weight and, where it has one, elements of its bias.
fn keep_outputs(weights: &mut Weights, layer: &str, keep: &[usize]) -> Result<()> {
    let (weight, bias) = (format!("{layer}.weight"), format!("{layer}.bias"));
    let kept = keep_units(matrix(weights, &weight)?, UnitAxis::Outputs, keep)?;
    if let Some(Tensor::Dense { values, .. }) = weights.get(&bias) {
        let all = values.to_f32();
        let elements: Option<Vec<f32>> = keep.iter().map(|&unit| all.get(unit).copied()).collect();
        let values = elements.and_then(|elements| Values::from_f32(values.dtype(), &elements));
        let values = values.ok_or_else(|| Error::config("weights", format!("`{bias}` is too short or not floating-point")))?;
        weights.insert(&bias, Tensor::Dense { shape: vec![keep.len()], values });
    }
    weights.insert(&weight, Tensor::Matrix(kept));
    Ok(())
}

/// Columns of a layer's weight.
fn keep_inputs(weights: &mut Weights, layer: &str, keep: &[usize]) -> Result<()> {
    let weight = format!("{layer}.weight");
    let kept = keep_units(matrix(weights, &weight)?, UnitAxis::Inputs, keep)?;
    weights.insert(&weight, Tensor::Matrix(kept));
    Ok(())
}
