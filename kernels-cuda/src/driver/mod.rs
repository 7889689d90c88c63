//! The seam between launchers and the machine: the few calls of a driver. Launches are recorded (`recorded.rs`) and then given to a
//! device, which is CUDA's or the emulation.

pub(crate) mod absent;
#[cfg(feature = "emulation")]
pub(crate) mod emulated;
pub(crate) mod gpu;
pub(crate) mod library;
pub(crate) mod recorded;
mod staging;

use crate::params::Report;
use crate::source::Source;
use kernels::DType;
use recorded::LaunchCounts;
use std::hash::Hash;

/// Place in the device's memory.
pub(crate) type Address = u64;

/// Why a driver did not do what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Not enough memory on the device. Nothing is broken.
    OutOfMemory,
    /// Anything else, in the driver's words.
    Failed(String),
}

/// One launch of a kernel.
pub(crate) struct Launch<'a> {
    /// Where the kernel is written.
    pub source: &'static Source,
    /// Its name there.
    pub kernel: &'static str,
    /// Blocks of the grid.
    pub blocks: u32,
    /// Threads of a block: those of the kernel's launch bounds.
    pub threads: u32,
    /// Its only parameter, a struct of `params.h`.
    pub params: &'a [u8],
}

/// One launch of a kernel that has been found.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Launched<'a, K> {
    pub kernel: K,
    pub blocks: u32,
    pub threads: u32,
    /// Aligned to 8.
    pub params: &'a [u8],
}

/// A matrix, and the boxes in which Hopper copies it to shared memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Boxes {
    /// Address of the first element, a multiple of 16.
    pub first: Address,
    pub dtype: DType,
    /// Elements of a line, which lie without gaps.
    pub length: u32,
    pub lines: u32,
    /// Bytes from a line to the next, a multiple of 16 below 2⁴⁰.
    pub line_bytes: u64,
    /// Elements of a line of a box: 128 bytes.
    pub box_length: u32,
    /// At most 256.
    pub box_lines: u32,
}

/// What launchers see of a device. Calls are queued in order, but for `allocate`, whose memory no call before it knows of; only
/// `download` and `wait` wait for them (`upload` for room to stage what it copies, where much is under way).
pub(crate) trait Driver: Send + Sync {
    /// At least `bytes` zero bytes, never none, aligned to 16.
    fn allocate(&self, bytes: usize) -> Result<Address, Trouble>;

    /// Gives memory back, once what is queued has run.
    ///
    /// # Safety
    /// `at` comes from [`Driver::allocate`] and is not used in later calls.
    unsafe fn free(&self, at: Address);

    /// Queues the zeroing of memory.
    ///
    /// # Safety
    /// `at` is followed by as many bytes of one allocation.
    unsafe fn zero(&self, at: Address, bytes: usize) -> Result<(), Trouble>;

    /// Copies to the device. `bytes` may change once the call is back.
    ///
    /// # Safety
    /// `to` is followed by as many bytes of one allocation.
    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Trouble>;

    /// Waits for everything queued, then copies to the host.
    ///
    /// # Safety
    /// `from` is followed by as many bytes of one allocation.
    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), Trouble>;

    /// Queues a kernel.
    ///
    /// # Safety
    /// The parameters are the struct the kernel takes, and its addresses cover what the kernel reads and writes.
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Trouble>;

    /// A matrix as kernels are told of its boxes.
    fn boxes(&self, boxes: &Boxes) -> Result<[u64; 16], Trouble>;

    /// Waits for everything queued.
    fn wait(&self) -> Result<(), Trouble>;

    /// Memory of the host that kernels write. As long-lived as the driver; to be read after a wait that succeeded.
    fn report(&self) -> *mut Report;

    /// Where kernels find it.
    fn report_address(&self) -> Address;

    /// What has been launched so far.
    fn launch_counts(&self) -> LaunchCounts;
}

/// What a [`Driver`] is made of: the same calls, queued at once, with launches in two steps or as graphs.
pub(crate) trait Device: Send + Sync {
    /// A kernel that can be launched.
    type Kernel: Copy + Eq + Hash + Send;
    /// Launches, one after the other, that are started together. Dropped once no start of it is under way.
    type Graph: Send;

    /// Finds a kernel, and loads it first where need be.
    fn kernel(&self, source: &'static Source, name: &'static str) -> Result<Self::Kernel, Trouble>;

    /// As [`Driver::allocate`].
    fn allocate(&self, bytes: usize) -> Result<Address, Trouble>;

    /// As [`Driver::free`].
    ///
    /// # Safety
    /// As there.
    unsafe fn free(&self, at: Address);

    /// As [`Driver::zero`].
    ///
    /// # Safety
    /// As there.
    unsafe fn zero(&self, at: Address, bytes: usize) -> Result<(), Trouble>;

    /// As [`Driver::upload`].
    ///
    /// # Safety
    /// As there.
    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Trouble>;

    /// As [`Driver::download`].
    ///
    /// # Safety
    /// As there.
    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), Trouble>;

    /// Queues a kernel.
    ///
    /// # Safety
    /// As [`Driver::launch`].
    unsafe fn launch(&self, launch: &Launched<'_, Self::Kernel>) -> Result<(), Trouble>;

    /// As [`Driver::boxes`].
    fn boxes(&self, boxes: &Boxes) -> Result<[u64; 16], Trouble>;

    /// Makes a graph of launches.
    ///
    /// # Safety
    /// As [`Driver::launch`], whenever it is started.
    unsafe fn graph(&self, launches: &[Launched<'_, Self::Kernel>]) -> Result<Self::Graph, Trouble>;

    /// Changes the blocks and parameters of one of a graph's launches, for the starts that follow.
    ///
    /// # Safety
    /// As [`Device::graph`]; the kernel is the same as before.
    unsafe fn update(&self, graph: &mut Self::Graph, index: usize, launch: &Launched<'_, Self::Kernel>) -> Result<(), Trouble>;

    /// Queues a graph.
    ///
    /// # Safety
    /// It is this device's; its launches may run now.
    unsafe fn start(&self, graph: &Self::Graph) -> Result<(), Trouble>;

    /// Waits for everything queued.
    fn wait(&self) -> Result<(), Trouble>;

    /// As [`Driver::report`].
    fn report(&self) -> *mut Report;

    /// As [`Driver::report_address`].
    fn report_address(&self) -> Address;
}
