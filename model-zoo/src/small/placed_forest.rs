//! A random forest on a device: its trees as the op [`Forest`](kernels::ops::Forest) takes them.

use super::forest::Forest;
use super::tree::{MIXED, PURE};
use crate::data::Inputs;
use crate::model::{Classify, Describe, Scale};
use crate::{Error, Result};
use kernels::ops::{Download, Forest as Judge, Upload};
use kernels::{Backend, Buffer, DType, Element, Op};
use std::sync::Arc;

/// Most numbers of a block of rows, of its columns or of its classes, that is on the device at once (4 MiB).
const BLOCK_ELEMENTS: usize = 1 << 20;

/// Rows of a block whose rows have at most so many numbers.
fn block_rows(of_a_row: usize) -> usize {
    (BLOCK_ELEMENTS / of_a_row.max(1)).max(1)
}

/// Trees on a device. Gives what [`Forest`] gives on the host, to the bit.
pub struct PlacedForest {
    on: Arc<dyn Backend>,
    roots: Buffer,
    nodes: Buffer,
    leaves: Buffer,
    trees: usize,
    cols: usize,
    classes: usize,
    params: u64,
}

impl Forest {
    /// Its trees on a device.
    ///
    /// # Errors
    /// `Kernel` from the device.
    pub fn place(&self, on: &Arc<dyn Backend>) -> Result<PlacedForest> {
        let classes = self.classes;
        // A leaf for each class, then those of several.
        let mut leaves = vec![0f32; classes * classes];
        leaves.iter_mut().step_by(classes + 1).for_each(|share| *share = 1.0);
        leaves.extend(&self.mixed);
        let node = |(at, node): (usize, &super::tree::Node)| match node.feature {
            PURE => [0, Judge::LEAF, node.child],
            MIXED => [0, Judge::LEAF, node.child + classes as u32],
            feature => [node.threshold.to_bits(), feature, node.child - at as u32 - 1],
        };
        let nodes: Vec<u32> = self.nodes.iter().enumerate().flat_map(node).collect();
        let trees = self.roots.len() - 1;
        Ok(PlacedForest {
            roots: put(on, DType::U32, &self.roots[..trees])?,
            nodes: put(on, DType::U32, &nodes)?,
            leaves: put(on, DType::F32, &leaves)?,
            on: Arc::clone(on),
            trees,
            cols: self.cols,
            classes,
            params: self.params(),
        })
    }
}

fn put<T: Element>(on: &Arc<dyn Backend>, dtype: DType, values: &[T]) -> Result<Buffer> {
    let mut buffer = on.alloc(dtype, values.len())?;
    Upload::new(values, buffer.view_mut([values.len()])?).run(&**on)?;
    Ok(buffer)
}

impl Describe for PlacedForest {
    fn family(&self) -> &'static str {
        super::forest::FAMILY
    }
    fn scale(&self) -> Scale {
        Scale::Small
    }
    fn params(&self) -> u64 {
        self.params
    }
}

impl Classify for PlacedForest {
    fn classes(&self) -> usize {
        self.classes
    }

    fn predict_proba(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        let table = inputs.table()?;
        if table.cols != self.cols {
            return Err(Error::config("inputs", format!("fitted on {} columns, got {}", self.cols, table.cols)));
        }
        let (on, cols, classes) = (&*self.on, self.cols, self.classes);
        let block = block_rows(cols.max(classes)).min(table.rows.max(1));
        let (mut x, mut out) = (on.alloc(DType::F32, block * cols)?, on.alloc(DType::F32, block * classes)?);
        let mut probabilities = vec![0f32; table.rows * classes];
        for (index, probabilities) in probabilities.chunks_mut((block * classes).max(1)).enumerate() {
            let (first, len) = (index * block, probabilities.len() / classes.max(1));
            Upload::new(&table.values[first * cols..(first + len) * cols], x.view_mut([len, cols])?).run(on)?;
            Judge {
                x: x.view([len, cols])?,
                roots: self.roots.view([self.trees])?,
                nodes: self.nodes.view([self.nodes.len() / 3, 3])?,
                leaves: self.leaves.view([self.leaves.len() / classes, classes])?,
                scale: 1.0 / self.trees as f32,
                out: out.view_mut([len, classes])?,
            }
            .run(on)?;
            Download::new(out.view([len, classes])?, probabilities).run(on)?;
        }
        Ok(probabilities)
    }
}
