//! Any pattern, as compressed rows cut into tiles of columns.
//!
//! A tile of TILE columns makes a column one byte, and the part of x it meets fit into L1. Within the rows of a task and a tile, rows
//! are sorted by how many entries they have and taken LANES at a time: a group [entries, LANES], filled up where a row is shorter.
//! Sorting leaves little to fill, and makes a row's loop as long as the one before, which the processor then predicts.
//!
//! Few rows of x: the outputs of a group lie in lanes and x is gathered. Many: tokens lie in lanes, see [`super::abreast`].
//!
//! What fills up a group is a [`Value::filler`] at column TILE, where the copies of x have a 0.

use super::abreast::{MAX_VECTORS, TILE, Two, add_two, pack_tile};
use super::bands::{Band, Bands};
use super::panel::{finish, widen_row};
use super::{Value, filled, slots, widen_in, widened_floats, with_type};
use crate::CpuBackend;
use crate::gemm::ahead::LINE;
use crate::gemm::blocking::lanes;
use crate::gemm::pack::Strided;
use crate::gemm::{Epilogue, Size};
use crate::memory::CpuStorage;
use crate::simd::{Float, Simd, prefetch, simd_fn};
use crate::threads::Parts;
use kernels::weight::Sparse;
use kernels::{DType, Result};
use std::ops::Range;

/// Outputs of a task.
const TASK_ROWS: usize = 128;

/// Most rows of x that are gathered.
const FEW: usize = 2;

/// Compressed rows of a packed weight. Groups follow each other by task, tile and length.
pub(crate) struct Rows {
    dtype: DType,
    tiles: usize,
    /// u32: where the entries of each group begin, and their end.
    starts: CpuStorage,
    /// u8: outputs of each group, LANES of them, counted within the task; TASK_ROWS where there is none.
    outputs: CpuStorage,
    /// u8: entries of each pair of outputs of a group, falling.
    counts: CpuStorage,
    /// u8: columns within the tile, LANES per entry.
    columns: CpuStorage,
    /// LANES values per entry.
    values: CpuStorage,
}

/// A group and where it is multiplied from.
struct Group<'a> {
    outputs: &'a [u8],
    counts: &'a [u8],
    entries: Range<usize>,
}

/// Outputs of task `task`.
fn outputs_of(task: usize, n: usize) -> Range<usize> {
    task * TASK_ROWS..((task + 1) * TASK_ROWS).min(n)
}

/// Groups per tile of task `task`.
fn groups_of(task: usize, n: usize, lanes: usize) -> usize {
    outputs_of(task, n).len().div_ceil(lanes)
}

impl Rows {
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack<T: Value>(cpu: &CpuBackend, sparse: &Sparse, values: &[T]) -> Result<(Self, usize)> {
        let (lanes, n, tiles) = (lanes(cpu.isa), sparse.n(), sparse.k().div_ceil(TILE));
        let mut count = filled(0u8, n.saturating_mul(tiles))?; // [N, tiles]
        sparse.for_each(|n, k, _| count[n * tiles + k / TILE] += 1);
        let tasks = n.div_ceil(TASK_ROWS);
        let groups = tiles * (0..tasks).map(|task| groups_of(task, n, lanes)).sum::<usize>();
        let mut starts = cpu.heap.alloc(4 * (groups + 1))?;
        let mut outputs = cpu.heap.alloc(groups * lanes)?;
        let mut counts = cpu.heap.alloc(groups * lanes / 2)?;
        let mut next = filled(0usize, count.len())?; // place of the next value of [N, tiles]
        let (start, output, pair) = (starts.as_mut_slice::<u32>(), outputs.as_mut_slice::<u8>(), counts.as_mut_slice::<u8>());
        output.fill(TASK_ROWS as u8);
        let mut group = 0;
        for task in 0..tasks {
            let of_task = outputs_of(task, n);
            for tile in 0..tiles {
                let count = |output: u8| count[(of_task.start + output as usize) * tiles + tile];
                let mut order: [u8; TASK_ROWS] = std::array::from_fn(|i| i as u8);
                let order = &mut order[..of_task.len()];
                order.sort_unstable_by_key(|&output| (u8::MAX - count(output), output));
                for members in order.chunks(lanes) {
                    start[group + 1] = start[group] + count(members[0]) as u32;
                    for (lane, &member) in members.iter().enumerate() {
                        output[group * lanes + lane] = member;
                        next[(of_task.start + member as usize) * tiles + tile] = start[group] as usize * lanes + lane;
                        if lane % 2 == 0 {
                            pair[(group * lanes + lane) / 2] = count(member);
                        }
                    }
                    group += 1;
                }
            }
        }
        let places = start[groups] as usize * lanes;
        let mut columns = cpu.heap.alloc(places)?;
        let mut packed = cpu.heap.alloc(places * size_of::<T>())?;
        let (column, value) = (columns.as_mut_slice::<u8>(), packed.as_mut_slice::<T>());
        column.fill(TILE as u8);
        value.fill(T::filler());
        sparse.for_each(|n, k, at| {
            let place = &mut next[n * tiles + k / TILE];
            (column[*place], value[*place]) = ((k % TILE) as u8, values[at]);
            *place += lanes;
        });
        let bytes = starts.bytes() + outputs.bytes() + counts.bytes() + columns.bytes() + packed.bytes();
        Ok((Rows { dtype: T::DTYPE, tiles, starts, outputs, counts, columns, values: packed }, bytes))
    }

    /// Groups of a tile of a task.
    fn groups(&self, n: usize, lanes: usize, task: usize, tile: usize) -> impl Iterator<Item = Group<'_>> {
        let each = groups_of(task, n, lanes);
        // All tasks before are full.
        let first = task * TASK_ROWS / lanes * self.tiles + tile * each;
        let starts = &self.starts.as_slice::<u32>()[first..first + each + 1];
        let outputs = self.outputs.as_slice::<u8>()[first * lanes..].chunks_exact(lanes);
        let counts = self.counts.as_slice::<u8>()[first * lanes / 2..].chunks_exact(lanes / 2);
        starts.windows(2).zip(outputs).zip(counts).map(|((span, outputs), counts)| Group {
            outputs,
            counts,
            entries: span[0] as usize..span[1] as usize,
        })
    }

    /// As [`super::SparseWeight::multiply`].
    pub fn multiply<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        if size.m <= FEW { self.few(cpu, size, left, epilogue) } else { self.many(cpu, size, left, epilogue) }
    }

    fn slots(&self, cpu: &CpuBackend, rows: usize) -> usize {
        slots(cpu, rows, self.columns.bytes())
    }

    fn few<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        let (lanes, slots) = (lanes(cpu.isa), self.slots(cpu, m));
        let (x_floats, stride) = (self.tiles * (TILE + 1), TASK_ROWS + lanes); // room for the output that is none
        let mut scratch = cpu.heap.scratch(4 * (m * x_floats + slots * m * stride))?;
        let (x, sums) = scratch.as_mut_slice::<f32>().split_at_mut(m * x_floats);
        for row in 0..m {
            for tile in 0..self.tiles {
                let to = &mut x[row * x_floats + tile * (TILE + 1)..];
                widen_row(cpu.isa, left, row, tile * TILE..((tile + 1) * TILE).min(k), to);
                to[TILE] = 0.0;
            }
        }
        let (x, sums) = (&*x, Parts::new(sums));
        cpu.pool.run_slots(slots, n.div_ceil(TASK_ROWS), &|task, slot| {
            // SAFETY: no two running tasks share a slot.
            let sums = unsafe { sums.part(slot * m * stride, m * stride) };
            with_type!(self.dtype, T => sum_few(cpu.isa, self, self.values.as_slice::<T>(), n, task, x, m, sums));
            epilogue.finish(cpu.isa, 0..m, outputs_of(task, n), sums, stride / lanes);
        });
        Ok(())
    }

    fn many<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        let (lanes, slots) = (lanes(cpu.isa), self.slots(cpu, m));
        let height = MAX_VECTORS.min(m.div_ceil(lanes)) * lanes;
        let room = (TASK_ROWS + 1) * height + lanes * TASK_ROWS + widened_floats(self.dtype, TILE * lanes);
        let (chunks, tasks) = (self.tiles, n.div_ceil(TASK_ROWS));
        let bands = Bands { m, height, lanes, chunks, chunk_depth: TILE + 1, tasks, room };
        let pack = |band: &Band, tile: usize, to: &mut [f32]| {
            pack_tile(cpu.isa, left, band, tile * TILE..((tile + 1) * TILE).min(k), to)
        };
        bands.run(cpu, slots, &pack, &|band, panel, task, room| {
            let (across, room) = room.split_at_mut((TASK_ROWS + 1) * band.width); // and the output that is none
            let (sums, room) = room.split_at_mut(lanes * TASK_ROWS);
            let vectors = band.width / lanes;
            with_type!(self.dtype, T => sum_many(cpu.isa, self, self.values.as_slice::<T>(), n, task, panel, vectors, across, room));
            finish(cpu.isa, epilogue, across, band.width, band.rows.clone(), outputs_of(task, n), sums);
        })
    }
}

/// Fetches as many elements as these from behind them.
#[inline(always)]
fn fetch<T>(these: &[T]) {
    let bytes = size_of_val(these);
    for line in (0..bytes).step_by(LINE) {
        prefetch(these.as_ptr().wrapping_byte_add(bytes + line));
    }
}

simd_fn! {
    /// sums[rows, TASK_ROWS and a vector] = x[rows, tiles, TILE and 0] · outputs of the task.
    fn sum_few[T: Value](s, weight: &Rows, values: &[T], n: usize, task: usize, x: &[f32], rows: usize, sums: &mut [f32]) {
        assert!(x.len() == rows * weight.tiles * (TILE + 1) && sums.len() == rows * (TASK_ROWS + S::LANES));
        sums.fill(0.0);
        match rows {
            1 => gathered::<S, T, 1>(s, weight, values, n, task, x, sums),
            _ => gathered::<S, T, FEW>(s, weight, values, n, task, x, sums),
        }
    }

    /// across[TASK_ROWS and one, vectors] = rows of the task · panel [tiles, TILE and 0, vectors].
    fn sum_many[T: Value](
        s, weight: &Rows, values: &[T], n: usize, task: usize, panel: &[f32], vectors: usize, across: &mut [f32], room: &mut [f32],
    ) {
        let tile_floats = (TILE + 1) * vectors * S::LANES;
        assert!(panel.len() >= weight.tiles * tile_floats && across.len() >= (TASK_ROWS + 1) * vectors * S::LANES);
        across.fill(0.0);
        let columns = weight.columns.as_slice::<u8>();
        for tile in 0..weight.tiles {
            let panel = panel[tile * tile_floats..].as_ptr();
            for group in weight.groups(n, S::LANES, task, tile) {
                let entries = group.entries.start * S::LANES..group.entries.end * S::LANES;
                // As much of what follows, which is the next group: its pairs read the same lines, so that the first waits for all.
                fetch(&values[entries.clone()]);
                fetch(&columns[entries.clone()]);
                let values = widen_in(s, &values[entries.clone()], room);
                let columns = &columns[entries];
                for (pair, &count) in group.counts.iter().enumerate() {
                    let outputs = [0, 1].map(|i| group.outputs[2 * pair + i] as usize);
                    // SAFETY: columns are at most TILE and outputs at most TASK_ROWS, within the panel and the sums; a pair has no
                    // more entries than its group.
                    unsafe {
                        let (columns, values) = (columns.as_ptr().add(2 * pair), values.as_ptr().add(2 * pair));
                        let two = Two { count: count as usize, columns, values };
                        add_two(s, two, outputs, vectors, panel, across.as_mut_ptr());
                    }
                }
            }
        }
    }
}

/// sums += x · outputs of the task, whose groups lie in lanes.
#[inline(always)]
fn gathered<S: Simd, T: Value, const M: usize>(
    s: S,
    weight: &Rows,
    values: &[T],
    n: usize,
    task: usize,
    x: &[f32],
    sums: &mut [f32],
) {
    let (x_floats, stride) = (x.len() / M, sums.len() / M);
    let columns = weight.columns.as_slice::<u8>();
    for tile in 0..weight.tiles {
        let x = x[tile * (TILE + 1)..].as_ptr();
        for group in weight.groups(n, S::LANES, task, tile) {
            let entries = group.entries.start * S::LANES..group.entries.end * S::LANES;
            let entries = columns[entries.clone()].chunks_exact(S::LANES).zip(values[entries].chunks_exact(S::LANES));
            let mut sum = [s.zero(); M];
            // SAFETY: outputs are at most TASK_ROWS and columns at most TILE, within the rows of the sums and the tiles of x.
            unsafe {
                for (row, sum) in sum.iter_mut().enumerate() {
                    *sum = s.gather(sums.as_ptr().add(row * stride), group.outputs.as_ptr());
                }
                for (columns, values) in entries {
                    let w = T::load(s, values.as_ptr());
                    for (row, sum) in sum.iter_mut().enumerate() {
                        *sum = s.fma(w, s.gather(x.add(row * x_floats), columns.as_ptr()), *sum);
                    }
                }
            }
            for (row, &sum) in sum.iter().enumerate() {
                let mut lanes = [0f32; 16];
                crate::simd::store(s, &mut lanes, 0, sum);
                for (&output, lane) in group.outputs.iter().zip(lanes) {
                    sums[row * stride + output as usize] = lane;
                }
            }
        }
    }
}
