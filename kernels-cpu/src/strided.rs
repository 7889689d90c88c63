//! Walks over operands of any strides, handing kernels plain slices.
//!
//! Operands of one shape are cut into pieces by shape alone. Along a piece each operand has one stride; where it is 1 the kernel
//! gets the elements where they lie, elsewhere a copy on the stack that is scattered back afterwards. Ops on rows get whole rows.

use crate::memory::{input, output};
use crate::simd::{Float, Isa, load, simd_fn, store};
use crate::threads::{Parts, Pool};
use kernels::{Element, Layout, MAX_RANK, Result, View, ViewMut};

/// Elements of a task, about: enough to make its start cheap, few enough to balance threads.
const TASK: usize = 1 << 14;

/// Longest piece that is copied to the stack.
const STAGE: usize = 256;

/// Row-major walk over layouts of one shape, with as few dimensions as they allow.
struct Walk<const N: usize> {
    dims: [usize; MAX_RANK],
    strides: [[usize; N]; MAX_RANK],
    offsets: [usize; N],
    rank: usize,
}

impl<const N: usize> Walk<N> {
    fn new(layouts: [&Layout; N]) -> Self {
        let offsets = layouts.map(Layout::offset);
        let mut walk = Walk { dims: [1; MAX_RANK], strides: [[1; N]; MAX_RANK], offsets, rank: 0 };
        let shape = layouts.first().map_or(&[][..], |layout| layout.shape());
        for (axis, &dim) in shape.iter().enumerate().filter(|&(_, &dim)| dim != 1) {
            let strides = layouts.map(|layout| layout.strides()[axis]);
            let outer = walk.rank.wrapping_sub(1);
            let merges = walk.rank > 0 && (0..N).all(|k| walk.strides[outer][k] == dim.wrapping_mul(strides[k]));
            let to = if merges { outer } else { walk.rank };
            walk.dims[to] = walk.dims[to].saturating_mul(dim);
            walk.strides[to] = strides;
            walk.rank = to + 1;
        }
        walk.rank = walk.rank.max(1);
        walk
    }

    /// Number of indices of the first `rank` dimensions.
    fn count(&self, rank: usize) -> usize {
        self.dims[..rank].iter().product()
    }

    /// Where index `index` of the first `rank` dimensions lies in each operand.
    fn at(&self, mut index: usize, rank: usize) -> [usize; N] {
        let mut at = self.offsets;
        for axis in (0..rank).rev() {
            let i = match axis {
                0 => index,
                _ => index % self.dims[axis],
            };
            index /= self.dims[axis];
            for (at, stride) in at.iter_mut().zip(self.strides[axis]) {
                *at += i * stride;
            }
        }
        at
    }
}

/// What a kernel gets of a piece of an operand, or of a tuple of them. (A trait of its own, since beside methods that return it
/// the type would need a bound that ties operands to `'static`.)
pub(crate) trait Sliced {
    type Slice<'s>;
}

/// An operand that kernels see as slices.
pub(crate) trait Operand: Sliced + Sync {
    /// Room for the copy of a piece.
    type Stage;
    /// Whether pieces of stride 1 are used where they lie, and so may be long.
    const IN_PLACE: bool = true;

    fn layout(&self) -> &Layout;
    fn stage(&self) -> Self::Stage;

    /// The elements at, at + stride, … of a piece.
    ///
    /// # Safety
    /// They are elements of the operand's layout, at most [`STAGE`] unless used in place, and no other piece in use shares one with
    /// this piece if the operand is an output.
    unsafe fn open<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut Self::Stage) -> Self::Slice<'s>;

    /// Ends the use of a piece.
    ///
    /// # Safety
    /// The arguments are those `open` had, and its slice is no longer in use.
    unsafe fn close(&self, at: usize, stride: usize, len: usize, stage: &mut Self::Stage);
}

/// An input.
pub(crate) struct In<'a, T> {
    data: &'a [T],
    layout: Layout,
}

impl<'a, T: Element> In<'a, T> {
    /// The elements of a view.
    ///
    /// # Errors
    /// Those of [`input`].
    pub fn new(view: &View<'a>) -> Result<Self> {
        Ok(In { data: input(view)?, layout: *view.layout() })
    }
}

impl<T: Element> Sliced for In<'_, T> {
    type Slice<'s> = &'s [T];
}
impl<T: Element> Operand for In<'_, T> {
    type Stage = [T; STAGE];

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) -> [T; STAGE] {
        [T::zeroed(); STAGE]
    }
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut [T; STAGE]) -> &'s [T] {
        match stride {
            1 => &self.data[at..at + len],
            0 => {
                stage[..len].fill(self.data[at]);
                &stage[..len]
            }
            _ => {
                for (to, from) in stage[..len].iter_mut().zip(self.data[at..].iter().step_by(stride)) {
                    *to = *from;
                }
                &stage[..len]
            }
        }
    }
    unsafe fn close(&self, _: usize, _: usize, _: usize, _: &mut [T; STAGE]) {}
}

/// An output, or an operand read and written.
pub(crate) struct Out<'a, T> {
    parts: Parts<'a, T>,
    layout: Layout,
}

impl<'a, T: Element> Out<'a, T> {
    /// The elements of a view, which must not overlap each other: `Op::check` has made sure of it.
    ///
    /// # Errors
    /// Those of [`output`].
    pub fn new(view: ViewMut<'a>) -> Result<Self> {
        let layout = *view.layout();
        Ok(Out { parts: Parts::new(output(view)?), layout })
    }
}

impl<T: Element> Out<'_, T> {
    /// As `open`, but what the slice holds where it is a copy is not read from memory.
    ///
    /// # Safety
    /// That of `open`.
    unsafe fn open_unread<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut [T; STAGE]) -> &'s mut [T] {
        match stride {
            // SAFETY: no other part in use shares an element, by contract.
            1 => unsafe { self.parts.part(at, len) },
            _ => &mut stage[..len],
        }
    }
}

impl<T: Element> Sliced for Out<'_, T> {
    type Slice<'s> = &'s mut [T];
}
impl<T: Element> Operand for Out<'_, T> {
    type Stage = [T; STAGE];

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) -> [T; STAGE] {
        [T::zeroed(); STAGE]
    }
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut [T; STAGE]) -> &'s mut [T] {
        if stride == 1 {
            // SAFETY: no other part in use shares an element, by contract.
            return unsafe { self.parts.part(at, len) };
        }
        for (i, to) in stage[..len].iter_mut().enumerate() {
            // SAFETY: as above; one element.
            *to = unsafe { self.parts.part(at + i * stride, 1) }[0];
        }
        &mut stage[..len]
    }
    #[inline]
    unsafe fn close(&self, at: usize, stride: usize, len: usize, stage: &mut [T; STAGE]) {
        if stride == 1 {
            return;
        }
        for (i, &value) in stage[..len].iter().enumerate() {
            // SAFETY: no other part in use shares an element, by contract.
            let element = unsafe { self.parts.part(at + i * stride, 1) };
            element[0] = value;
        }
    }
}

/// An input whose elements kernels see as f32.
pub(crate) struct InF32<'a, T> {
    input: In<'a, T>,
    isa: Isa,
}

/// An output, or an operand read and written, whose elements kernels see as f32: each is rounded once when the piece ends.
pub(crate) struct OutF32<'a, T> {
    output: Out<'a, T>,
    isa: Isa,
}

simd_fn! {
    /// to = from, widened or rounded.
    pub fn convert[A: Float, B: Float](s, from: &[A], to: &mut [B]) {
        assert_eq!(from.len(), to.len());
        for at in (0..to.len()).step_by(S::LANES) {
            store(s, to, at, load(s, from, at));
        }
    }
}

impl<'a, T: Float> InF32<'a, T> {
    /// The elements of a view.
    ///
    /// # Errors
    /// Those of [`input`].
    pub fn new(isa: Isa, view: &View<'a>) -> Result<Self> {
        Ok(InF32 { input: In::new(view)?, isa })
    }
}

impl<'a, T: Float> OutF32<'a, T> {
    /// The elements of a view, which must not overlap each other: `Op::check` has made sure of it.
    ///
    /// # Errors
    /// Those of [`output`].
    pub fn new(isa: Isa, view: ViewMut<'a>) -> Result<Self> {
        Ok(OutF32 { output: Out::new(view)?, isa })
    }
}

impl<T: Float> Sliced for InF32<'_, T> {
    type Slice<'s> = &'s [f32];
}
impl<T: Float> Operand for InF32<'_, T> {
    type Stage = ([T; STAGE], [f32; STAGE]);
    const IN_PLACE: bool = T::IS_F32;

    fn layout(&self) -> &Layout {
        &self.input.layout
    }
    fn stage(&self) -> Self::Stage {
        (self.input.stage(), [0.0; STAGE])
    }
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut Self::Stage) -> &'s [f32] {
        // SAFETY: same contract.
        let narrow = unsafe { self.input.open(at, stride, len, &mut stage.0) };
        match T::as_f32s(narrow) {
            Some(wide) => wide,
            None => {
                convert(self.isa, narrow, &mut stage.1[..len]);
                &stage.1[..len]
            }
        }
    }
    unsafe fn close(&self, _: usize, _: usize, _: usize, _: &mut Self::Stage) {}
}

impl<T: Float> Sliced for OutF32<'_, T> {
    type Slice<'s> = &'s mut [f32];
}
impl<T: Float> Operand for OutF32<'_, T> {
    type Stage = ([T; STAGE], [f32; STAGE]);
    const IN_PLACE: bool = T::IS_F32;

    fn layout(&self) -> &Layout {
        &self.output.layout
    }
    fn stage(&self) -> Self::Stage {
        (self.output.stage(), [0.0; STAGE])
    }
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut Self::Stage) -> &'s mut [f32] {
        // SAFETY: same contract.
        let narrow = unsafe { self.output.open(at, stride, len, &mut stage.0) };
        if !T::IS_F32 {
            convert(self.isa, narrow, &mut stage.1[..len]);
            return &mut stage.1[..len];
        }
        T::as_f32s_mut(narrow).unwrap_or_default()
    }
    #[inline]
    unsafe fn close(&self, at: usize, stride: usize, len: usize, stage: &mut Self::Stage) {
        if !T::IS_F32 {
            // SAFETY: the slice `open` gave is no longer in use.
            let narrow = unsafe { self.output.open_unread(at, stride, len, &mut stage.0) };
            convert(self.isa, &stage.1[..len], narrow);
        }
        // SAFETY: same contract.
        unsafe { self.output.close(at, stride, len, &mut stage.0) }
    }
}

/// Rows of an input: its last dimension, which is dense.
pub(crate) struct InRows<'a, T> {
    data: &'a [T],
    lead: Layout,
    width: usize,
}

/// Rows of an output: its last dimension, which is dense.
pub(crate) struct OutRows<'a, T> {
    parts: Parts<'a, T>,
    lead: Layout,
    width: usize,
}

/// The layout of the first elements of all rows, and the length of a row.
fn rows_of(layout: &Layout) -> Result<(Layout, usize)> {
    let lead = layout.shape().rank().saturating_sub(1);
    let width = layout.shape().get(lead).copied().unwrap_or(1);
    let dims = kernels::Shape::new(&layout.shape()[..lead])?;
    let rows = match width {
        0 => Layout::contiguous(dims)?, // rows without elements lie nowhere
        _ => Layout::strided(dims, &layout.strides()[..lead], layout.offset())?,
    };
    Ok((rows, width))
}

impl<'a, T: Element> InRows<'a, T> {
    /// The rows of a view.
    ///
    /// # Errors
    /// Those of [`input`].
    pub fn new(view: &View<'a>) -> Result<Self> {
        let (lead, width) = rows_of(view.layout())?;
        Ok(InRows { data: input(view)?, lead, width })
    }
}

impl<'a, T: Element> OutRows<'a, T> {
    /// The rows of a view, which must not overlap each other: `Op::check` has made sure of it.
    ///
    /// # Errors
    /// Those of [`output`].
    pub fn new(view: ViewMut<'a>) -> Result<Self> {
        let (lead, width) = rows_of(view.layout())?;
        Ok(OutRows { parts: Parts::new(output(view)?), lead, width })
    }
}

impl<T: Element> Sliced for InRows<'_, T> {
    type Slice<'s> = &'s [T];
}
impl<T: Element> Operand for InRows<'_, T> {
    type Stage = ();

    fn layout(&self) -> &Layout {
        &self.lead
    }
    fn stage(&self) {}
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, _: usize, _: usize, _: &'s mut ()) -> &'s [T] {
        self.data.get(at..at + self.width).unwrap_or(&[])
    }
    unsafe fn close(&self, _: usize, _: usize, _: usize, _: &mut ()) {}
}

impl<T: Element> Sliced for OutRows<'_, T> {
    type Slice<'s> = &'s mut [T];
}
impl<T: Element> Operand for OutRows<'_, T> {
    type Stage = ();

    fn layout(&self) -> &Layout {
        &self.lead
    }
    fn stage(&self) {}
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, _: usize, _: usize, _: &'s mut ()) -> &'s mut [T] {
        if self.width == 0 {
            return &mut [];
        }
        // SAFETY: rows of an output do not overlap.
        unsafe { self.parts.part(at, self.width) }
    }
    unsafe fn close(&self, _: usize, _: usize, _: usize, _: &mut ()) {}
}

/// An operand an op may go without.
pub(crate) struct Maybe<O> {
    operand: Option<O>,
    layout: Layout,
}

impl<O: Operand> Maybe<O> {
    /// The operand if there is one; `like` is an operand of its shape.
    pub fn new(operand: Option<O>, like: &impl Operand) -> Self {
        let layout = *operand.as_ref().map_or(like.layout(), O::layout);
        Maybe { operand, layout }
    }
}

impl<O: Operand> Sliced for Maybe<O> {
    type Slice<'s> = Option<O::Slice<'s>>;
}
impl<O: Operand> Operand for Maybe<O> {
    const IN_PLACE: bool = O::IN_PLACE;
    type Stage = Option<O::Stage>;

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) -> Option<O::Stage> {
        self.operand.as_ref().map(O::stage)
    }
    #[inline]
    unsafe fn open<'s>(&'s self, at: usize, stride: usize, len: usize, stage: &'s mut Self::Stage) -> Self::Slice<'s> {
        // SAFETY: same contract.
        Some(unsafe { self.operand.as_ref()?.open(at, stride, len, stage.as_mut()?) })
    }
    #[inline]
    unsafe fn close(&self, at: usize, stride: usize, len: usize, stage: &mut Self::Stage) {
        if let (Some(operand), Some(stage)) = (&self.operand, stage) {
            // SAFETY: same contract.
            unsafe { operand.close(at, stride, len, stage) }
        }
    }
}

/// Operands of one shape: a tuple.
pub(crate) trait Operands<const N: usize>: Sliced + Sync {
    /// Room for copies.
    type Stages;
    /// Whether all operands are used in place where they are dense.
    const IN_PLACE: bool;

    fn layouts(&self) -> [&Layout; N];
    fn stages(&self) -> Self::Stages;
    /// # Safety
    /// That of [`Operand::open`] for each.
    unsafe fn open<'s>(
        &'s self,
        at: [usize; N],
        strides: [usize; N],
        len: usize,
        stages: &'s mut Self::Stages,
    ) -> Self::Slice<'s>;
    /// # Safety
    /// That of [`Operand::close`] for each.
    unsafe fn close(&self, at: [usize; N], strides: [usize; N], len: usize, stages: &mut Self::Stages);
}

macro_rules! operands {
    ($n:literal: $($ty:ident $i:tt),+) => {
        impl<$($ty: Operand),+> Sliced for ($($ty,)+) {
            type Slice<'s> = ($($ty::Slice<'s>,)+);
        }
        impl<$($ty: Operand),+> Operands<$n> for ($($ty,)+) {
            type Stages = ($($ty::Stage,)+);
            const IN_PLACE: bool = true $(&& $ty::IN_PLACE)+;

            fn layouts(&self) -> [&Layout; $n] {
                [$(self.$i.layout()),+]
            }
            fn stages(&self) -> Self::Stages {
                ($(self.$i.stage(),)+)
            }
            #[inline]
            unsafe fn open<'s>(
                &'s self, at: [usize; $n], strides: [usize; $n], len: usize, stages: &'s mut Self::Stages,
            ) -> Self::Slice<'s> {
                // SAFETY: same contract.
                unsafe { ($(self.$i.open(at[$i], strides[$i], len, &mut stages.$i),)+) }
            }
            #[inline]
            unsafe fn close(&self, at: [usize; $n], strides: [usize; $n], len: usize, stages: &mut Self::Stages) {
                // SAFETY: same contract.
                unsafe { $(self.$i.close(at[$i], strides[$i], len, &mut stages.$i);)+ }
            }
        }
    };
}
operands!(1: A 0);
operands!(2: A 0, B 1);
operands!(3: A 0, B 1, C 2);
operands!(4: A 0, B 1, C 2, D 3);
operands!(5: A 0, B 1, C 2, D 3, E 4);
operands!(6: A 0, B 1, C 2, D 3, E 4, F 5);

/// How operands are cut into pieces, and pieces gathered into tasks: by layouts and weight alone.
pub(crate) struct Plan<const N: usize> {
    walk: Walk<N>,
    /// Elements of the longest piece.
    longest: usize,
    pieces_of_run: usize,
    pieces_of_task: usize,
    work: usize,
    /// Number of tasks.
    pub tasks: usize,
}

impl<const N: usize> Plan<N> {
    /// For elements that count as `weight` of [`SERIAL_WORK`](crate::threads::SERIAL_WORK) each.
    pub fn new<O: Operands<N>>(operands: &O, weight: usize) -> Self {
        let walk = Walk::new(operands.layouts());
        let inner = walk.rank - 1;
        let (runs, len) = (walk.count(inner), walk.dims[inner]);
        let wanted = (TASK / weight.max(1)).max(1); // elements of a task
        let in_place = O::IN_PLACE && walk.strides[inner] == [1; N];
        let longest = if in_place { wanted.max(STAGE / 2) } else { wanted.min(STAGE) };
        let pieces_of_run = len.div_ceil(longest);
        let pieces_of_task = (wanted / len.clamp(1, longest)).max(1);
        let tasks = (runs * pieces_of_run).div_ceil(pieces_of_task);
        Plan { walk, longest, pieces_of_run, pieces_of_task, work: (runs * len).saturating_mul(weight), tasks }
    }

    /// Calls `body(task, index, slices)` for pieces that cover the operands the plan was made for, `index` being the row-major
    /// index of the first element. Pieces of one task are handled in order by one thread.
    pub fn run<O: Operands<N>>(&self, pool: &Pool, operands: &O, body: impl for<'s> Fn(usize, usize, O::Slice<'s>) + Sync) {
        let inner = self.walk.rank - 1;
        let (len, strides) = (self.walk.dims[inner], self.walk.strides[inner]);
        let pieces = self.walk.count(inner) * self.pieces_of_run;
        pool.run_sized(self.work, self.tasks, &|task| {
            let mut stages = operands.stages();
            let first = task * self.pieces_of_task;
            for piece in first..(first + self.pieces_of_task).min(pieces) {
                let (run, start) = (piece / self.pieces_of_run, piece % self.pieces_of_run * self.longest);
                let len_here = self.longest.min(len - start);
                let mut at = self.walk.at(run, inner);
                for (at, stride) in at.iter_mut().zip(strides) {
                    *at += start * stride;
                }
                // SAFETY: pieces are parts of the layouts and disjoint as indices; layouts of outputs are injective.
                unsafe {
                    body(task, run * len + start, operands.open(at, strides, len_here, &mut stages));
                    operands.close(at, strides, len_here, &mut stages);
                }
            }
        });
    }
}

/// Calls `body(index, slices)` for pieces that cover the operands; see [`Plan`].
pub(crate) fn each<const N: usize, O: Operands<N>>(
    pool: &Pool,
    weight: usize,
    operands: &O,
    body: impl for<'s> Fn(usize, O::Slice<'s>) + Sync,
) {
    if operands.layouts()[0].numel() > 0 {
        Plan::new(operands, weight).run(pool, operands, |_, index, slices| body(index, slices));
    }
}

/// Rows of a task, for rows of `width` elements.
pub(crate) fn rows_of_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Calls `body(row, slices)` for each row; `rows_of_task` rows are a task, handled in order by one thread, and a row counts as
/// `weight`. Operands with one element per row ([`In`], [`Out`]) give slices of length 1.
pub(crate) fn each_row<const N: usize, O: Operands<N>>(
    pool: &Pool,
    rows_of_task: usize,
    weight: usize,
    operands: &O,
    body: impl for<'s> Fn(usize, O::Slice<'s>) + Sync,
) {
    let walk = Walk::new(operands.layouts());
    let rows = walk.count(walk.rank);
    pool.run_sized(rows.saturating_mul(weight), rows.div_ceil(rows_of_task), &|task| {
        let mut stages = operands.stages();
        let first = task * rows_of_task;
        for row in first..(first + rows_of_task).min(rows) {
            let at = walk.at(row, walk.rank);
            // SAFETY: rows are parts of the layouts and disjoint; layouts of outputs are injective.
            unsafe { body(row, operands.open(at, [1; N], 1, &mut stages)) };
        }
    });
}

/// The elements of a vector of any stride, widened into `to`.
///
/// # Errors
/// Those of [`input`].
pub(crate) fn widen<T: Float>(view: &View<'_>, to: &mut [f32]) -> Result<()> {
    let (data, layout) = (input::<T>(view)?, view.layout());
    let stride = layout.strides().last().copied().unwrap_or(1);
    if to.is_empty() {
        return Ok(());
    }
    let from = &data[layout.offset()..];
    match stride {
        0 => to.fill(from[0].to_f32()),
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32()),
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = from.to_f32()),
    }
    Ok(())
}
