//! Launches are recorded and given to the device in pieces: a piece that has come before is a graph, kept and started by one call.
//!
//! A step of decoding or training queues the same kernels as the one before, with a few parameters changed. Others have measured that
//! a graph's start costs the host about what one launch does, and the device 1.3 µs a kernel instead of 3 to 4; here nothing has been
//! measured yet. Kernels whose parameters have changed are told to the graph, unless most have, and all of it is started. A sequence
//! becomes a graph when it comes for the second time at the same place after a wait. Whoever waits, copies or frees has what is recorded
//! queued first, so nothing but time depends on the pieces; those grow from few launches to many, so that a device that is idle does
//! not wait for a long list to fill.
//!
//! Where a graph cannot be had or changed, its launches are made one by one. After a launch that has failed nothing more reaches the
//! device.
//!
//! `SIZEWISE_CUDA_GRAPHS` is `on`, `off`, or the fewest launches that are worth a graph.

use super::{Address, Boxes, Device, Driver, Launch, Launched, Trouble};
use crate::params::Report;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Launches of the first piece after a wait; each one after it has twice as many, up to the most.
const FIRST: usize = 8;
const MOST: usize = 64;

/// Fewest launches that are worth a graph.
const FEWEST: usize = 4;

/// Largest share of a graph's launches that are told to it anew: each costs about what a launch does.
const MOST_CHANGED: (usize, usize) = (3, 4);

/// What turns graphs off, or says when they are made.
const VARIABLE: &str = "SIZEWISE_CUDA_GRAPHS";

/// Sequences that are remembered, and for how many waits one stays that does not come again, when there are as many.
const REMEMBERED: usize = 128;
const FORGOTTEN_AFTER: u64 = 16;

/// What the device has taken since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchCounts {
    /// Kernels, alone or within a graph.
    pub kernels: u64,
    /// Graphs that were made.
    pub graphs_made: u64,
    /// Starts of a graph.
    pub graphs_started: u64,
    /// Kernels of graphs whose parameters were changed before a start.
    pub updates: u64,
}

/// One launch of a piece. Its parameters start in the piece's at `params`, in words.
#[derive(Clone, Copy)]
struct Step<K> {
    kernel: K,
    blocks: u32,
    threads: u32,
    params: usize,
    bytes: usize,
}

/// Launches in their order.
struct Piece<K> {
    steps: Vec<Step<K>>,
    params: Vec<u64>,
}

impl<K: Copy + Eq + Hash> Piece<K> {
    fn with_room() -> Self {
        Piece { steps: Vec::with_capacity(MOST), params: Vec::with_capacity(MOST * 64) }
    }

    fn push(&mut self, kernel: K, launch: &Launch<'_>) {
        let (params, bytes) = (self.params.len(), launch.params.len());
        self.params.resize(params + bytes.div_ceil(8), 0);
        bytemuck::cast_slice_mut(&mut self.params[params..])[..bytes].copy_from_slice(launch.params);
        self.steps.push(Step { kernel, blocks: launch.blocks, threads: launch.threads, params, bytes });
    }

    fn at(&self, index: usize) -> Launched<'_, K> {
        let Step { kernel, blocks, threads, params, bytes } = self.steps[index];
        Launched { kernel, blocks, threads, params: &bytemuck::cast_slice(&self.params[params..])[..bytes] }
    }

    fn launches(&self) -> impl Iterator<Item = Launched<'_, K>> {
        (0..self.steps.len()).map(|index| self.at(index))
    }

    /// What stays the same for as long as a graph is kept.
    fn shape(&self) -> impl Iterator<Item = (K, u32, usize)> {
        self.steps.iter().map(|step| (step.kernel, step.threads, step.bytes))
    }

    /// `place` is the number of the piece since the last wait: layers alike, each with buffers of its own, get graphs of their own.
    fn key(&self, place: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        place.hash(&mut hasher);
        self.shape().for_each(|step| step.hash(&mut hasher));
        hasher.finish()
    }

    fn clear(&mut self) {
        self.steps.clear();
        self.params.clear();
    }
}

/// A sequence that has come before.
enum Before<D: Device> {
    Once,
    /// With what its launches are at present.
    Kept(D::Graph, Piece<D::Kernel>),
    /// There is none, or no longer: what there was may be under way until the sequence is forgotten.
    Without(Option<D::Graph>),
}

impl<D: Device> Before<D> {
    fn give_up(&mut self) {
        if let Before::Kept(graph, _) = std::mem::replace(self, Before::Without(None)) {
            *self = Before::Without(Some(graph));
        }
    }
}

struct State<D: Device> {
    recorded: Piece<D::Kernel>,
    /// Launches at which the piece is given to the device.
    full: usize,
    /// Pieces since the last wait.
    place: usize,
    /// By their key, with the number of the wait before which they came last.
    before: HashMap<u64, (u64, Before<D>)>,
    waits: u64,
    counts: LaunchCounts,
    /// Why launches were lost. None follows them: it might use what they should have made, or memory given back since.
    lost: Option<Trouble>,
}

/// A device whose launches are recorded.
pub(crate) struct Recorded<D: Device> {
    // Ahead of the device, as it holds graphs.
    state: Mutex<State<D>>,
    /// Fewest launches of a graph; none is made where there is no such number.
    fewest: Option<usize>,
    device: D,
}

/// Fewest launches of a graph, as a word of the environment says; none is made where there is no such number.
fn fewest(word: Option<&str>) -> Result<Option<usize>, String> {
    match word {
        None | Some("" | "on") => Ok(Some(FEWEST)),
        Some("off") => Ok(None),
        Some(number) => match number.parse() {
            Ok(fewest @ 1..) => Ok(Some(fewest)),
            _ => Err(format!("{VARIABLE} is `{number}`, and must be `on`, `off` or the fewest launches worth a graph, from 1")),
        },
    }
}

impl<D: Device> Recorded<D> {
    /// # Errors
    /// A word of the environment that means nothing.
    pub fn new(device: D) -> Result<Self, String> {
        let state = State {
            recorded: Piece::with_room(),
            full: FIRST,
            place: 0,
            before: HashMap::with_capacity(REMEMBERED),
            waits: 0,
            counts: LaunchCounts::default(),
            lost: None,
        };
        let fewest = fewest(std::env::var(VARIABLE).ok().as_deref())?;
        Ok(Recorded { state: Mutex::new(state), fewest, device })
    }

    fn state(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is recorded to the device.
    ///
    /// # Errors
    /// Why it, or something before it, is lost.
    fn flush(&self, state: &mut State<D>) -> Result<(), Trouble> {
        let len = state.recorded.steps.len();
        if len > 0 && state.lost.is_none() {
            let by_graph = self.fewest.is_some_and(|fewest| len >= fewest);
            let result = if by_graph { self.start(state) } else { self.launch_each(&state.recorded) };
            match result {
                Ok(()) => state.counts.kernels += len as u64,
                // Ops that have returned cannot be asked again when there is more memory.
                Err(Trouble::OutOfMemory) => {
                    state.lost = Some(Trouble::Failed("the driver has no memory to launch kernels".to_owned()));
                }
                Err(failed) => state.lost = Some(failed),
            }
            state.place += 1;
        }
        state.recorded.clear();
        state.lost.clone().map_or(Ok(()), Err)
    }

    fn launch_each(&self, piece: &Piece<D::Kernel>) -> Result<(), Trouble> {
        // SAFETY: what callers of `launch` have promised; memory they have freed since was freed after a flush.
        piece.launches().try_for_each(|launch| unsafe { self.device.launch(&launch) })
    }

    /// Starts the graph of what is recorded, if there is one or it is time to make it.
    fn start(&self, State { recorded, place, before, waits, counts, .. }: &mut State<D>) -> Result<(), Trouble> {
        let full = before.len() == REMEMBERED;
        let (last, entry) = match before.entry(recorded.key(*place)) {
            Entry::Vacant(_) if full => return self.launch_each(recorded),
            Entry::Vacant(entry) => {
                entry.insert((*waits, Before::Once));
                return self.launch_each(recorded);
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        *last = *waits;
        match entry {
            Before::Once => {
                let launches: Vec<_> = recorded.launches().collect();
                // SAFETY: as for `launch_each`.
                *entry = match unsafe { self.device.graph(&launches) } {
                    Ok(graph) => {
                        counts.graphs_made += 1;
                        Before::Kept(graph, Piece { steps: recorded.steps.clone(), params: recorded.params.clone() })
                    }
                    Err(_) => Before::Without(None),
                };
            }
            Before::Kept(graph, own) if own.shape().eq(recorded.shape()) => {
                let changed = || (0..recorded.steps.len()).filter(|&index| own.at(index) != recorded.at(index));
                if changed().count() * MOST_CHANGED.1 > recorded.steps.len() * MOST_CHANGED.0 {
                    return self.launch_each(recorded);
                }
                let updated = changed().try_for_each(|index| {
                    counts.updates += 1;
                    // SAFETY: as for `launch_each`; the kernel is the one the graph was made with.
                    unsafe { self.device.update(graph, index, &recorded.at(index)) }
                });
                own.steps.copy_from_slice(&recorded.steps);
                own.params.copy_from_slice(&recorded.params);
                if updated.is_err() {
                    entry.give_up();
                }
            }
            // Another sequence with the same key, or one without a graph.
            Before::Kept(..) | Before::Without(_) => return self.launch_each(recorded),
        }
        let Before::Kept(graph, _) = &*entry else { return self.launch_each(recorded) };
        // SAFETY: as for `launch_each`.
        match unsafe { self.device.start(graph) } {
            // It has queued nothing.
            Err(Trouble::OutOfMemory) => {
                entry.give_up();
                self.launch_each(recorded)
            }
            started => {
                counts.graphs_started += u64::from(started.is_ok());
                started
            }
        }
    }

    /// What is recorded, and then this.
    fn after<T>(&self, then: impl FnOnce(&D) -> Result<T, Trouble>) -> Result<T, Trouble> {
        // The lock is held, lest another thread's launch comes between.
        let mut state = self.state();
        self.flush(&mut state)?;
        then(&self.device)
    }
}

impl<D: Device> Driver for Recorded<D> {
    fn allocate(&self, bytes: usize) -> Result<Address, Trouble> {
        // What is recorded does not know of it: what was freed before, and may be this, was freed after a flush.
        self.device.allocate(bytes)
    }

    unsafe fn free(&self, at: Address) {
        let mut state = self.state();
        // What fails here is told by every call that follows.
        let _ = self.flush(&mut state);
        // SAFETY: the caller's promise.
        unsafe { self.device.free(at) }
    }

    unsafe fn zero(&self, at: Address, bytes: usize) -> Result<(), Trouble> {
        // SAFETY: the caller's promise.
        self.after(|device| unsafe { device.zero(at, bytes) })
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Trouble> {
        // SAFETY: the caller's promise.
        self.after(|device| unsafe { device.upload(to, bytes) })
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), Trouble> {
        // SAFETY: the caller's promise.
        self.after(|device| unsafe { device.download(from, bytes) })
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Trouble> {
        // Now, as its trouble is this op's.
        let kernel = self.device.kernel(launch.source, launch.kernel)?;
        let mut state = self.state();
        state.recorded.push(kernel, launch);
        if self.fewest.is_none() || state.recorded.steps.len() >= state.full {
            state.full = MOST.min(2 * state.full);
            return self.flush(&mut state);
        }
        Ok(())
    }

    fn boxes(&self, boxes: &Boxes) -> Result<[u64; 16], Trouble> {
        self.device.boxes(boxes)
    }

    fn wait(&self) -> Result<(), Trouble> {
        self.after(|_| Ok(()))?;
        // Other threads may go on.
        self.device.wait()?;
        let mut state = self.state();
        state.full = FIRST;
        state.place = 0;
        state.waits += 1;
        if state.before.len() == REMEMBERED {
            // No graph may be under way when it is given back.
            self.device.wait()?;
            let since = state.waits;
            state.before.retain(|_, &mut (last, _)| last + FORGOTTEN_AFTER >= since);
        }
        Ok(())
    }

    fn report(&self) -> *mut Report {
        self.device.report()
    }

    fn report_address(&self) -> Address {
        self.device.report_address()
    }

    fn launch_counts(&self) -> LaunchCounts {
        self.state().counts
    }
}

impl<D: Device> Drop for Recorded<D> {
    fn drop(&mut self) {
        // Graphs go before the device, and none may be under way. A device that is lost takes them along.
        let _ = self.device.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{FEWEST, fewest};

    #[test]
    fn words_of_the_environment_are_understood_or_refused() {
        assert_eq!([None, Some(""), Some("on")].map(fewest), [const { Ok(Some(FEWEST)) }; 3]);
        assert_eq!((fewest(Some("off")), fewest(Some("1"))), (Ok(None), Ok(Some(1))));
        for word in ["0", "-1", "OFF", "no", "4.5"] {
            assert!(fewest(Some(word)).is_err_and(|why| why.contains(word)));
        }
    }
}
