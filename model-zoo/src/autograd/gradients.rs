//! What a step of backpropagation yields.

use super::{Output, Var};

/// Gradients of the leaves of one step, each contiguous, in memory of its own.
#[derive(Debug)]
pub struct Gradients {
    step: u64,
    /// By node, rising.
    leaves: Vec<(usize, Output)>,
}

impl Gradients {
    pub(super) fn new(step: u64, leaves: Vec<(usize, Output)>) -> Self {
        Gradients { step, leaves }
    }

    /// The gradient of a leaf; `None` if the loss does not depend on it, or if it is no leaf of this step.
    pub fn get(&self, leaf: &Var) -> Option<&Output> {
        let node = leaf.node.filter(|node| node.step == self.step)?;
        let at = self.leaves.binary_search_by_key(&node.index, |(index, _)| *index).ok()?;
        self.leaves.get(at).map(|(_, gradient)| gradient)
    }

    /// As [`Gradients::get`], to write.
    pub fn get_mut(&mut self, leaf: &Var) -> Option<&mut Output> {
        let node = leaf.node.filter(|node| node.step == self.step)?;
        let at = self.leaves.binary_search_by_key(&node.index, |(index, _)| *index).ok()?;
        self.leaves.get_mut(at).map(|(_, gradient)| gradient)
    }

    /// All gradients, in the order the leaves were put on the tape.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Output> {
        self.leaves.iter().map(|(_, gradient)| gradient)
    }

    /// As [`Gradients::iter`], to write: to clip, prune or average them.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Output> {
        self.leaves.iter_mut().map(|(_, gradient)| gradient)
    }

    pub(super) fn into_outputs(self) -> impl Iterator<Item = Output> {
        self.leaves.into_iter().map(|(_, gradient)| gradient)
    }
}
