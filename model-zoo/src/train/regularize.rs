//! What large weights cost.

use serde::{Deserialize, Serialize};

use crate::params::Role;
use crate::{Error, Result};

/// Penalties of one group of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// Of ½·w².
    pub l2: f32,
    /// Of |w|.
    pub l1: f32,
}

/// Penalties by the role of a parameter. SGD adds their gradients to those of the loss; AdamW applies them beside its step,
/// scaled by the learning rate alone (decoupled weight decay).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regularization {
    /// Of matrices.
    pub matrices: Penalty,
    /// Of embeddings and other tables.
    pub tables: Penalty,
    /// Of biases and norms.
    pub vectors: Penalty,
}

impl Regularization {
    /// Penalties of matrices alone: embeddings, biases and norms stay free.
    pub fn matrices(l2: f32, l1: f32) -> Self {
        Self { matrices: Penalty { l2, l1 }, ..Self::default() }
    }

    /// What applies to a parameter of `role`.
    pub fn of(&self, role: Role) -> Penalty {
        match role {
            Role::Matrix => self.matrices,
            Role::Table => self.tables,
            Role::Vector => self.vectors,
        }
    }

    /// # Errors
    /// `Config` naming a penalty that is negative or not finite.
    pub(super) fn check(&self) -> Result<()> {
        let Self { matrices, tables, vectors } = self;
        for penalty in [matrices, tables, vectors] {
            for (name, value) in [("l2", penalty.l2), ("l1", penalty.l1)] {
                if !value.is_finite() || value < 0.0 {
                    return Err(Error::config(name, format!("{value} is not finite and at least 0")));
                }
            }
        }
        Ok(())
    }
}
