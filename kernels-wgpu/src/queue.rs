//! The queue: dispatches gathered into few submissions, transfers, and the only wait.

use crate::NAME;
use crate::belt::{Belt, CHUNK_BYTES, whole_words};
use crate::bindings::Bindings;
use crate::fault::Faults;
use crate::memory::{Counters, KERNELS, READBACK, Storage, VECTOR_BYTES};
use crate::operand::Operand;
use crate::pipeline::{CONSTANTS, Pipelines, Shader};
use crate::pipeline_cache::Compilations;
use crate::pool::Pool;
use crate::report::Report;
use crate::scarcity::within_memory;
use kernels::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use wgpu::{
    BufferDescriptor, BufferUsages, CommandBuffer, CommandEncoder, CommandEncoderDescriptor, ComputePass, ComputePassDescriptor,
    Device, Limits, MapMode, PollType,
};

/// Most workgroups along one dimension of a dispatch that every device allows.
const MAX_GROUPS: u64 = 65_535;
/// Bytes between the parameters of two dispatches: a multiple of the largest alignment a device may ask for.
const SLOT_BYTES: usize = 512;
/// Dispatches gathered before they are submitted.
const SLOTS: usize = 256;
/// Bytes staged after which what is gathered is submitted before any more are.
const MOST_STAGED_BYTES: u64 = 1 << 20;
/// Bytes submitted after which the device is waited for before any more are staged: a host that is faster must not fill its memory.
const MOST_IN_FLIGHT_BYTES: u64 = 64 << 20;

/// Buffers let go of before the next submission whose bind groups are forgotten at once, and bytes of them.
const MOST_GONE: usize = 64;
const MOST_GONE_BYTES: u64 = 16 << 20;

/// One run of a shader.
pub(crate) struct Dispatch<'a> {
    /// Op it is part of.
    pub op: &'static str,
    pub shader: &'static Shader,
    /// Values of the shader's constants; the rest is 0.
    pub constants: [u32; CONSTANTS],
    /// Bindings 1, 2, …
    pub operands: &'a [Operand<'a>],
    /// Binding 0.
    pub params: &'a [u8],
    /// Workgroups. None: nothing is queued.
    pub groups: u64,
}

/// Device, queue and what is gathered for it.
pub(crate) struct Queue {
    device: Device,
    /// None only while this is dropped.
    queue: Option<wgpu::Queue>,
    limits: Limits,
    faults: Faults,
    counters: Counters,
    compilations: Compilations,
    /// An op whose dispatches are left out.
    broken: Option<&'static str>,
    report: Report,
    state: Mutex<State>,
    transfer: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Open in `encoder`, which cannot be used meanwhile.
    pass: Option<ComputePass<'static>>,
    encoder: Option<CommandEncoder>,
    /// Whether a kernel may have reported since the last wait.
    awaits_report: bool,
    pipelines: Pipelines,
    bindings: Bindings,
    pool: Pool,
    belt: Belt,
    /// Let go of, but for their bind groups.
    gone: Vec<wgpu::Buffer>,
    /// Buffers zeroed and copied to since the last submission.
    transfers: usize,
    /// Bytes copied from the host since then.
    staged_bytes: u64,
    /// Bytes of those submitted since the last wait.
    in_flight_bytes: u64,
    /// Parameters of the dispatches gathered, a slot each.
    params: Vec<u8>,
    /// Where they go when submitted.
    slots: Option<wgpu::Buffer>,
    /// Work space of transfers, kept.
    staging: Option<Arc<Storage>>,
    /// Stands for an operand left out.
    nothing: Option<Arc<Storage>>,
    /// What the host reads from, kept.
    readback: Option<Arc<Storage>>,
}

impl Queue {
    pub fn new(
        device: Device,
        queue: wgpu::Queue,
        limits: Limits,
        faults: Faults,
        counters: Counters,
        compilations: Compilations,
        broken: Option<&'static str>,
    ) -> Self {
        let (report, state, transfer) = (Report::new(&device), Mutex::default(), Mutex::default());
        Queue { device, queue: Some(queue), limits, faults, counters, compilations, broken, report, state, transfer }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where kernels report an index out of range, bound.
    pub fn report(&self) -> Operand<'_> {
        let buffer = &self.report.buffer;
        Operand { buffer, offset_bytes: 0, size_bytes: buffer.size(), first: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts buffers that were dropped into the pool, and lets go of those that it has no room for and of their bind groups.
    fn collect(&self, state: &mut State) {
        let State { pool, gone, bindings, .. } = state;
        for buffer in self.counters.take_dropped() {
            if buffer.usage() == KERNELS { pool.keep(buffer, gone) } else { gone.push(buffer) }
        }
        // Finding bind groups takes a walk over all: many buffers share one.
        if gone.len() >= MOST_GONE || gone.iter().map(wgpu::Buffer::size).sum::<u64>() >= MOST_GONE_BYTES {
            bindings.forget(std::mem::take(gone));
        }
    }

    /// A buffer of exactly this size from the pool, to be zero once all that is queued is done.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn kept_before(&self, size_bytes: u64) -> Result<Option<wgpu::Buffer>> {
        let mut state = self.state();
        self.collect(&mut state);
        self.bound_transfers(&mut state)?;
        let Some(buffer) = state.pool.take(size_bytes) else { return Ok(None) };
        state.transfers += 1;
        self.encoder(&mut state).clear_buffer(&buffer, 0, None);
        Ok(Some(buffer))
    }

    /// To be called before a transfer is queued: a program that does nothing else would otherwise queue without end.
    fn bound_transfers(&self, state: &mut State) -> Result<()> {
        if state.transfers == SLOTS || state.staged_bytes >= MOST_STAGED_BYTES { self.submit(state) } else { Ok(()) }
    }

    /// A new buffer.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn make(&self, descriptor: &BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        self.made(&mut self.state(), descriptor)
    }

    fn made(&self, state: &mut State, descriptor: &BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        let make = || within_memory(&self.device, &self.counters, || self.device.create_buffer(descriptor));
        self.insist(state, descriptor.size, |_| make())
    }

    /// What an attempt gives that may find no memory on the device: then all that is kept is let go of, and there is a second one.
    ///
    /// # Errors
    /// `OutOfMemory`; a fault of the wait between.
    fn insist<T>(&self, state: &mut State, wanted_bytes: u64, attempt: impl Fn(&mut State) -> Option<T>) -> Result<T> {
        if let Some(got) = attempt(state) {
            return Ok(got);
        }
        let exhausted = Error::OutOfMemory { backend: NAME, wanted_bytes };
        match self.relieve(state) {
            // Not even what submitting takes.
            Err(Error::OutOfMemory { .. }) => Err(exhausted),
            Err(fault) => Err(fault),
            Ok(()) => attempt(state).ok_or(exhausted),
        }
    }

    /// Lets go of all that is kept to be used again, once the device is done with it.
    fn relieve(&self, state: &mut State) -> Result<()> {
        self.submit(state)?;
        (state.staging, state.readback) = (None, None);
        let mut gone = std::mem::take(&mut state.gone);
        gone.extend(state.pool.empty().into_iter().chain(self.counters.take_dropped()));
        state.bindings.forget(gone);
        self.finish(state)?;
        // All that was under way has come back by now.
        state.belt.empty();
        Ok(())
    }

    /// Where commands between compute passes go.
    fn encoder<'s>(&self, state: &'s mut State) -> &'s mut CommandEncoder {
        state.pass = None;
        self.opened(&mut state.encoder)
    }

    fn opened<'s>(&self, encoder: &'s mut Option<CommandEncoder>) -> &'s mut CommandEncoder {
        encoder.get_or_insert_with(|| self.device.create_command_encoder(&CommandEncoderDescriptor::default()))
    }

    /// Bind groups kept.
    #[cfg(test)]
    pub fn bindings(&self) -> usize {
        self.state().bindings.len()
    }

    /// Transfers queued since the last submission, and bytes of them that came from the host.
    #[cfg(test)]
    pub fn transfers(&self) -> (usize, u64) {
        let state = self.state();
        (state.transfers, state.staged_bytes)
    }

    /// Bytes from the host submitted since the last wait.
    #[cfg(test)]
    pub fn in_flight_bytes(&self) -> u64 {
        self.state().in_flight_bytes
    }

    /// Bytes of memory for uploads that is kept.
    #[cfg(test)]
    pub fn staging_kept(&self) -> u64 {
        self.state().belt.kept_bytes()
    }

    /// Buffers kept to be given out again.
    #[cfg(test)]
    pub fn pooled(&self) -> usize {
        self.state().pool.len()
    }

    /// Held by a transfer from its first use of [`Queue::staging`] to its last.
    pub fn transfer(&self) -> MutexGuard<'_, ()> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a dispatch.
    ///
    /// # Errors
    /// `Limit` for more workgroups than 32 bits count; `OutOfMemory`; the first fault so far.
    pub fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<()> {
        self.dispatch_all(std::slice::from_ref(dispatch))
    }

    /// Queues dispatches: but for a fault, all of them or none.
    ///
    /// # Errors
    /// Those of [`Queue::dispatch`].
    pub fn dispatch_all(&self, dispatches: &[Dispatch<'_>]) -> Result<()> {
        dispatches.iter().try_for_each(|of| fold(of.op, of.groups).map(drop))?;
        let mut state = self.state();
        let state = &mut *state;
        let dispatches = dispatches.iter().filter(|of| of.groups > 0 && self.broken != Some(of.op));
        self.make_room(state, dispatches.clone().count())?;
        dispatches.into_iter().try_for_each(|of| self.gather(state, of))?;
        self.faults.check()
    }

    /// Makes sure that want of memory does not come between so many dispatches.
    fn make_room(&self, state: &mut State, dispatches: usize) -> Result<()> {
        if dispatches == 0 {
            return Ok(());
        }
        if dispatches > SLOTS - state.params.len() / SLOT_BYTES {
            self.submit(state)?;
        }
        self.slots(state)?;
        let submissions = dispatches.saturating_sub(1) / SLOTS;
        if submissions == 0 {
            return Ok(());
        }
        let wanted_bytes = submissions as u64 * CHUNK_BYTES;
        self.insist(state, wanted_bytes, |state| state.belt.reserve(&self.device, &self.counters, submissions))
    }

    fn gather(&self, state: &mut State, dispatch: &Dispatch<'_>) -> Result<()> {
        let [across, down] = fold(dispatch.op, dispatch.groups)?;
        if state.params.len() == SLOTS * SLOT_BYTES {
            self.submit(state)?;
        }
        let slots = &self.slots(state)?;
        state.awaits_report |= dispatch.operands.iter().any(|of| *of.buffer == self.report.buffer);
        let &Dispatch { shader, constants, operands, .. } = dispatch;
        let from = (&self.device, self.compilations.get(), &self.counters);
        let compiled = state.pipelines.get(from, shader, constants, operands.len() as u32);
        let pipeline = (shader, constants, compiled);
        let bindings = state.bindings.get((&self.device, &self.counters), pipeline, (slots, SLOT_BYTES as u64), operands);
        let pass = state.pass.get_or_insert_with(|| {
            let encoder = self.opened(&mut state.encoder);
            encoder.begin_compute_pass(&ComputePassDescriptor::default()).forget_lifetime()
        });
        pass.set_pipeline(&compiled.pipeline);
        pass.set_bind_group(0, bindings, &[state.params.len() as u32]);
        pass.dispatch_workgroups(across, down, 1);
        let end = state.params.len() + SLOT_BYTES;
        state.params.extend_from_slice(dispatch.params);
        state.params.resize(end, 0);
        Ok(())
    }

    /// Where the parameters of dispatches lie on the device.
    fn slots(&self, state: &mut State) -> Result<wgpu::Buffer> {
        if let Some(slots) = &state.slots {
            return Ok(slots.clone());
        }
        let (size, usage) = ((SLOTS * SLOT_BYTES) as u64, BufferUsages::UNIFORM | BufferUsages::COPY_DST);
        let slots = self.made(state, &BufferDescriptor { label: Some("params"), size, usage, mapped_at_creation: false })?;
        self.counters.made_own();
        Ok(state.slots.insert(slots).clone())
    }

    /// Hands what is gathered to the device.
    ///
    /// # Errors
    /// `OutOfMemory`, after which it is still gathered.
    fn submit(&self, state: &mut State) -> Result<()> {
        let params = self.parameters(state)?;
        self.send(state, params);
        Ok(())
    }

    /// Hands what is gathered to the device, its [parameters](Queue::parameters) first.
    fn send(&self, state: &mut State, params: Option<CommandBuffer>) {
        state.pass = None;
        if let Some(encoder) = state.encoder.take() {
            state.in_flight_bytes += state.staged_bytes;
            (state.transfers, state.staged_bytes) = (0, 0);
            state.belt.close();
            if let Some(queue) = &self.queue {
                // A fault comes out of whatever is asked next.
                let _ = self.faults.caught(|| queue.submit(params.into_iter().chain([encoder.finish()])));
            }
            state.belt.recall();
        }
        self.collect(state);
        state.bindings.forget(std::mem::take(&mut state.gone));
    }

    /// What brings the parameters of the dispatches gathered to where they read them, before the rest of the next submission.
    ///
    /// # Errors
    /// `OutOfMemory`, after which they are still gathered.
    fn parameters(&self, state: &mut State) -> Result<Option<CommandBuffer>> {
        state.pass = None;
        if state.params.is_empty() {
            return Ok(None);
        }
        // Put aside meanwhile, so that making room for them submits nothing without them.
        let (gathered, mut params) = (state.encoder.take(), std::mem::take(&mut state.params));
        let brought = self.faults.caught(|| self.bring(state, &params)).flatten();
        if brought.is_ok() {
            params.clear();
        }
        (state.encoder, state.params) = (gathered, params);
        brought.map(Some)
    }

    fn bring(&self, state: &mut State, params: &[u8]) -> Result<CommandBuffer> {
        let slots = &self.slots(state)?;
        let (chunk, at) = self.staged(state, params)?;
        let mut encoder = self.device.create_command_encoder(&CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&chunk, at, slots, 0, params.len() as u64);
        Ok(encoder.finish())
    }

    /// Chunk of the belt, and first byte in it, where bytes are to be copied from by the next submission.
    ///
    /// # Errors
    /// `OutOfMemory`; the fault for which the host cannot write the chunk.
    fn staged(&self, state: &mut State, bytes: &[u8]) -> Result<(wgpu::Buffer, u64)> {
        let wanted_bytes = whole_words(bytes).max(CHUNK_BYTES);
        let staged = self.insist(state, wanted_bytes, |state| state.belt.stage(&self.device, &self.counters, bytes))?;
        staged.or_else(|why| {
            // A device that was destroyed tells so in a wait.
            self.poll()?;
            Err(self.faults.fail(why.to_string()))
        })
    }

    /// Copies bytes from the host, after all that is queued. Where they end within a word, the rest of the word becomes zero. Waits
    /// where MOST_IN_FLIGHT_BYTES are on their way.
    ///
    /// # Errors
    /// `OutOfMemory`, and nothing is queued; the first fault so far, where it waits.
    pub fn write(&self, to: &wgpu::Buffer, offset_bytes: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        self.bound_transfers(state)?;
        if state.in_flight_bytes >= MOST_IN_FLIGHT_BYTES {
            self.finish(state)?;
        }
        let (chunk, at) = self.staged(state, bytes)?;
        state.transfers += 1;
        let size = whole_words(bytes);
        state.staged_bytes += size;
        self.encoder(state).copy_buffer_to_buffer(&chunk, at, to, offset_bytes, size);
        Ok(())
    }

    /// Work space of at least `bytes` bytes. Its content is the caller's while it holds [`Queue::transfer`].
    ///
    /// # Errors
    /// Those of [`Queue::allocate`].
    pub fn staging(&self, op: &'static str, bytes: u64) -> Result<Arc<Storage>> {
        self.kept(op, bytes, KERNELS, |state| &mut state.staging)
    }

    /// A word to bind where an operand that would be written is left out. Nothing reads or writes it.
    ///
    /// # Errors
    /// Those of [`Queue::allocate`].
    pub fn nothing(&self, op: &'static str) -> Result<Arc<Storage>> {
        self.kept(op, 4, KERNELS, |state| &mut state.nothing)
    }

    fn kept(
        &self,
        op: &'static str,
        bytes: u64,
        usage: BufferUsages,
        slot: impl Fn(&mut State) -> &mut Option<Arc<Storage>>,
    ) -> Result<Arc<Storage>> {
        if let Some(kept) = slot(&mut self.state()).as_ref().filter(|kept| kept.buffer.size() >= bytes) {
            return Ok(kept.clone());
        }
        let most = self.limits.max_buffer_size / VECTOR_BYTES * VECTOR_BYTES;
        let grown = bytes.checked_next_power_of_two().unwrap_or(bytes).min(most).max(bytes);
        let made = match self.allocate(op, grown, usage) {
            // There may be room for what is wanted, and none for what it is rounded up to.
            Err(Error::OutOfMemory { .. }) if grown > bytes => self.allocate(op, bytes, usage),
            made => made,
        };
        let fresh = Arc::new(made?);
        Ok(slot(&mut self.state()).insert(fresh).clone())
    }

    /// Waits for everything queued and copies bytes to the host. `offset_bytes` is a multiple of 4, and the buffer reaches to the
    /// end of the last word.
    ///
    /// # Errors
    /// The first fault so far; `Index` of an op queued since the last wait.
    pub fn read(&self, op: &'static str, from: &wgpu::Buffer, offset_bytes: u64, bytes: &mut [u8]) -> Result<()> {
        let size = (bytes.len() as u64).next_multiple_of(4);
        let readback = self.kept(op, size, READBACK, |state| &mut state.readback)?;
        // Held to the end: the buffer read from is shared.
        let mut state = self.state();
        let state = &mut *state;
        let params = self.parameters(state)?;
        let awaited = std::mem::take(&mut state.awaits_report);
        let encoder = self.encoder(state);
        encoder.copy_buffer_to_buffer(from, offset_bytes, &readback.buffer, 0, size);
        if awaited {
            self.report.collect(encoder);
        }
        self.send(state, params);
        if awaited {
            self.report.map();
        }
        let mapped = Arc::new(OnceLock::new());
        let answer = mapped.clone();
        readback.buffer.map_async(MapMode::Read, ..size, move |result| {
            // The callback runs once.
            let _ = answer.set(result.is_ok());
        });
        self.finish(state)?;
        if mapped.get() != Some(&true) {
            return Err(self.faults.fail("memory cannot be read back".into()));
        }
        {
            let range = readback.buffer.get_mapped_range(..size).map_err(|error| self.faults.fail(error.to_string()))?;
            bytes.iter_mut().zip(range.iter()).for_each(|(to, from)| *to = *from);
        }
        readback.buffer.unmap();
        if awaited { self.report.result(&self.faults) } else { self.faults.check() }
    }

    /// Waits for everything queued.
    ///
    /// # Errors
    /// The first fault so far; `Index` of an op queued since the last wait.
    pub fn wait(&self) -> Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        let params = self.parameters(state)?;
        if !std::mem::take(&mut state.awaits_report) {
            self.send(state, params);
            return self.finish(state);
        }
        // Held to the end: the memory the report is read from is shared.
        self.report.collect(self.encoder(state));
        self.send(state, params);
        self.report.map();
        self.finish(state)?;
        self.report.result(&self.faults)
    }

    /// Waits for all that was submitted.
    fn finish(&self, state: &mut State) -> Result<()> {
        state.in_flight_bytes = 0;
        self.poll()
    }

    fn poll(&self) -> Result<()> {
        self.counters.waited();
        if let Err(error) = self.faults.caught(|| self.device.poll(PollType::wait_indefinitely()))? {
            return Err(self.faults.fail(error.to_string()));
        }
        self.faults.check()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // wgpu waits for the device once more, and whom a fault of that could be told is gone.
        let queue = self.queue.take();
        let _ = self.faults.caught(|| drop(queue));
    }
}

/// Workgroups in two dimensions of at most [`MAX_GROUPS`] each; kernels skip what is beyond the number asked for.
fn fold(op: &'static str, groups: u64) -> Result<[u32; 2]> {
    let across = groups.clamp(1, MAX_GROUPS);
    let down = groups.div_ceil(across);
    if down > MAX_GROUPS || across * down > u32::MAX.into() {
        return Err(Error::Limit { op, what: "workgroups", limit: MAX_GROUPS * MAX_GROUPS, got: groups });
    }
    Ok([across as u32, down as u32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WgpuBackend;
    use kernels::ops::{Copy, Download, Upload};
    use kernels::{Buffer, DType, Memory, Op};

    fn open() -> WgpuBackend {
        WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_program_that_only_uploads_is_submitted_from_time_to_time() {
        let gpu = open();
        let mut x = gpu.alloc(DType::U32, 4).unwrap();
        let mut most = 0;
        for value in 0..2 * SLOTS as u32 + 9 {
            Upload::new(&[value; 4], x.view_mut([4]).unwrap()).run(&gpu).unwrap();
            most = most.max(gpu.queue.transfers().0);
        }
        assert_eq!((most, gpu.queue.transfers().0), (SLOTS, 9));
        let mut host = [0u32; 4];
        Download::new(x.view([4]).unwrap(), &mut host).run(&gpu).unwrap();
        assert_eq!(host, [2 * SLOTS as u32 + 8; 4]);
    }

    #[test]
    fn bytes_of_uploads_are_bounded_whatever_the_size_of_each() {
        let gpu = open();
        for size in [1000, CHUNK_BYTES, CHUNK_BYTES + 4, 700_001, MOST_STAGED_BYTES, 5 << 20] {
            let mut x = gpu.alloc(DType::U8, size as usize).unwrap();
            let values = vec![1u8; size as usize];
            for _ in 0..3 * MOST_STAGED_BYTES / size + 3 {
                Upload::new(&values, x.view_mut([values.len()]).unwrap()).run(&gpu).unwrap();
                assert!(gpu.queue.transfers().1 < MOST_STAGED_BYTES + size.next_multiple_of(4), "{size}");
            }
        }
    }

    #[test]
    fn bytes_on_their_way_are_bounded() {
        let gpu = open();
        let values = vec![1u8; 9 << 20];
        let mut x = gpu.alloc(DType::U8, values.len()).unwrap();
        let mut most = 0;
        for _ in 0..20 {
            Upload::new(&values, x.view_mut([values.len()]).unwrap()).run(&gpu).unwrap();
            most = most.max(gpu.queue.in_flight_bytes());
        }
        assert_eq!(most, 63 << 20, "with the next one the bound is reached, and the device waited for");
        gpu.sync().unwrap();
        assert_eq!(gpu.queue.in_flight_bytes(), 0);
    }

    #[test]
    fn bind_groups_of_buffers_let_go_of_are_forgotten_many_at_a_time() {
        let gpu = open();
        let (x, mut out) = (gpu.alloc(DType::F32, 4).unwrap(), gpu.alloc(DType::F32, 4).unwrap());
        Copy { x: x.view([4]).unwrap(), out: out.view_mut([4]).unwrap() }.run(&gpu).unwrap();
        drop(x);
        gpu.sync().unwrap();
        assert_eq!((gpu.queue.pooled(), gpu.queue.bindings()), (1, 1));
        // As many as the pool has room for, so that the first goes.
        drop((0..1024).map(|_| gpu.alloc(DType::F32, 8).unwrap()).collect::<Vec<Buffer>>());
        gpu.alloc(DType::F32, 16).unwrap();
        assert_eq!((gpu.queue.pooled(), gpu.queue.bindings()), (1024, 1));
        gpu.sync().unwrap();
        assert_eq!(gpu.queue.bindings(), 0);
    }

    #[test]
    fn workgroups_are_folded_within_the_limits_of_a_dispatch() {
        for groups in [1, 2, 65_535, 65_536, 65_537, 1 << 30, MAX_GROUPS * MAX_GROUPS] {
            let [across, down] = fold("fill", groups).unwrap().map(u64::from);
            assert!(across <= MAX_GROUPS && down <= MAX_GROUPS && across * down >= groups, "{groups}");
            assert!(across * (down - 1) < groups, "{groups}");
        }
        assert!(matches!(fold("fill", MAX_GROUPS * MAX_GROUPS + 1), Err(Error::Limit { .. })));
    }
}
