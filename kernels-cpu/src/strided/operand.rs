//! Operands as kernels see them: slices, in place or copied.

use crate::memory::{input, output};
use crate::threads::Parts;
use kernels::{Element, Layout, Result, View, ViewMut};
use std::mem::MaybeUninit;

/// Elements of the largest tile that is copied.
pub(crate) const STAGE: usize = 1024;

/// Bytes of a cache line: what a tile takes of an operand that runs across its lines.
pub(crate) const LINE_BYTES: usize = 64;

/// Side of the blocks in which tiles are turned: as many elements as x86-64 has vector registers.
const BLOCK: usize = 4;

/// Elements of an operand that are handled together: element j of line i lies at `at + i·step + j·stride`.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub at: usize,
    pub step: usize,
    pub stride: usize,
    pub lines: usize,
    pub len: usize,
}

impl Tile {
    fn place(self, i: usize, j: usize) -> usize {
        self.at + i * self.step + j * self.stride
    }

    /// Whether elements of neighbouring lines lie side by side.
    fn turned(self) -> bool {
        self.step == 1 && self.lines > 1
    }
}

/// What a kernel gets of a line of an operand, or of a tuple of them. (A trait of its own, since beside methods that return it
/// the type would need a bound that ties operands to `'static`.)
pub(crate) trait Sliced {
    type Slice<'s>;
}

/// An operand that kernels see as slices.
pub(crate) trait Operand: Sliced + Sync {
    /// Room for the copy of a tile.
    type Stage;
    /// Size of an element.
    const ELEMENT_BYTES: usize = 4;

    fn layout(&self) -> &Layout;
    fn stage(&self) -> Self::Stage;

    /// Copies a tile that cannot be used in place.
    ///
    /// # Safety
    /// Its elements are elements of the operand's layout, at most [`STAGE`] if the stride is above 1, a line at most that if it is
    /// 0, and no other tile in use shares one with this tile if the operand is an output.
    unsafe fn fetch(&self, tile: Tile, stage: &mut Self::Stage);

    /// Line i of the tile.
    ///
    /// # Safety
    /// `fetch` has been called with this tile and stage, and no slice of the same line is in use.
    unsafe fn line<'s>(&'s self, tile: Tile, i: usize, stage: &'s mut Self::Stage) -> Self::Slice<'s>;

    /// Writes back what was copied.
    ///
    /// # Safety
    /// `fetch` has been called with this tile and stage, and no slice of it is in use.
    unsafe fn flush(&self, _: Tile, _: &mut Self::Stage) {}
}

/// Elements on the stack; which of them have been written is known from the tile.
pub(crate) struct Stage<T>([MaybeUninit<T>; STAGE]);

impl<T: Element> Stage<T> {
    fn new() -> Self {
        Stage([MaybeUninit::uninit(); STAGE])
    }

    /// # Safety
    /// These elements have been written.
    unsafe fn written(&mut self, start: usize, len: usize) -> &mut [T] {
        let part = &mut self.0[start..start + len];
        // SAFETY: written by contract; the layout is that of T.
        unsafe { &mut *(std::ptr::from_mut(part) as *mut [T]) }
    }
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
    type Stage = Stage<T>;
    const ELEMENT_BYTES: usize = size_of::<T>();

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) -> Stage<T> {
        Stage::new()
    }
    #[inline]
    unsafe fn fetch(&self, tile: Tile, stage: &mut Stage<T>) {
        if tile.stride > 1 {
            // SAFETY: the tile lies within the data by contract.
            unsafe { gather(self.data.as_ptr(), tile, &mut stage.0) }
        }
    }
    #[inline]
    unsafe fn line<'s>(&'s self, tile: Tile, i: usize, stage: &'s mut Stage<T>) -> &'s [T] {
        let at = tile.place(i, 0);
        match tile.stride {
            1 => &self.data[at..at + tile.len],
            0 => {
                stage.0[..tile.len].fill(MaybeUninit::new(self.data[at]));
                // SAFETY: just written.
                unsafe { stage.written(0, tile.len) }
            }
            // SAFETY: `fetch` has written the tile.
            _ => unsafe { stage.written(i * tile.len, tile.len) },
        }
    }
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

impl<T: Element> Sliced for Out<'_, T> {
    type Slice<'s> = &'s mut [T];
}
impl<T: Element> Operand for Out<'_, T> {
    type Stage = Stage<T>;
    const ELEMENT_BYTES: usize = size_of::<T>();

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) -> Stage<T> {
        Stage::new()
    }
    #[inline]
    unsafe fn fetch(&self, tile: Tile, stage: &mut Stage<T>) {
        if tile.stride != 1 {
            // SAFETY: the tile lies within the slice, and nobody else uses its elements, by contract.
            unsafe { gather(self.parts.as_ptr(), tile, &mut stage.0) }
        }
    }
    #[inline]
    unsafe fn line<'s>(&'s self, tile: Tile, i: usize, stage: &'s mut Stage<T>) -> &'s mut [T] {
        match tile.stride {
            // SAFETY: no other tile in use shares an element, by contract.
            1 => unsafe { self.parts.part(tile.place(i, 0), tile.len) },
            // SAFETY: `fetch` has written the tile.
            _ => unsafe { stage.written(i * tile.len, tile.len) },
        }
    }
    #[inline]
    unsafe fn flush(&self, tile: Tile, stage: &mut Stage<T>) {
        if tile.stride != 1 {
            // SAFETY: as for `fetch`, which has written the stage.
            unsafe { scatter(&stage.0, tile, self.parts.as_ptr()) }
        }
    }
}

/// Calls `block(i, j)` for blocks that cover a tile but for its last lines and columns, `rest(i, j)` for the elements of those.
#[inline(always)]
fn blocks(tile: Tile, block: impl Fn(usize, usize), rest: impl Fn(usize, usize)) {
    let (lines, len) = (tile.lines / BLOCK * BLOCK, tile.len / BLOCK * BLOCK);
    for j in (0..len).step_by(BLOCK) {
        (0..lines).step_by(BLOCK).for_each(|i| block(i, j));
    }
    (0..lines).for_each(|i| (len..tile.len).for_each(|j| rest(i, j)));
    (lines..tile.lines).for_each(|i| (0..tile.len).for_each(|j| rest(i, j)));
}

/// Copies a tile, line after line.
///
/// # Safety
/// Its elements are readable from `data`; there is room for all.
unsafe fn gather<T: Copy>(data: *const T, tile: Tile, to: &mut [MaybeUninit<T>; STAGE]) {
    assert!(tile.lines * tile.len <= STAGE, "a tile beyond its stage");
    let to = to.as_mut_ptr();
    // SAFETY: i < lines and j < len, so that both places are within the tile.
    let element = |i: usize, j: usize| unsafe { *to.add(i * tile.len + j) = MaybeUninit::new(*data.add(tile.place(i, j))) };
    if !tile.turned() {
        return (0..tile.lines).for_each(|i| (0..tile.len).for_each(|j| element(i, j)));
    }
    let block = |i: usize, j: usize| {
        let mut columns = [[MaybeUninit::<T>::uninit(); BLOCK]; BLOCK];
        // SAFETY: as above, for BLOCK lines and columns; elements of neighbouring lines are neighbours.
        unsafe {
            for (b, column) in columns.iter_mut().enumerate() {
                *column = *data.add(tile.place(i, j + b)).cast();
            }
            for a in 0..BLOCK {
                for (b, column) in columns.iter().enumerate() {
                    *to.add((i + a) * tile.len + j + b) = column[a];
                }
            }
        }
    };
    blocks(tile, block, element);
}

/// The inverse of [`gather`].
///
/// # Safety
/// Its elements are writable from `data`, and `from` holds them.
unsafe fn scatter<T: Copy>(from: &[MaybeUninit<T>; STAGE], tile: Tile, data: *mut T) {
    assert!(tile.lines * tile.len <= STAGE, "a tile beyond its stage");
    let (from, data) = (from.as_ptr(), data.cast::<MaybeUninit<T>>());
    // SAFETY: i < lines and j < len, so that both places are within the tile.
    let element = |i: usize, j: usize| unsafe { *data.add(tile.place(i, j)) = *from.add(i * tile.len + j) };
    if !tile.turned() {
        return (0..tile.lines).for_each(|i| (0..tile.len).for_each(|j| element(i, j)));
    }
    let block = |i: usize, j: usize| {
        let mut lines = [[MaybeUninit::<T>::uninit(); BLOCK]; BLOCK];
        // SAFETY: as above, for BLOCK lines and columns; elements of neighbouring lines are neighbours.
        unsafe {
            for (a, line) in lines.iter_mut().enumerate() {
                *line = *from.add((i + a) * tile.len + j).cast();
            }
            for b in 0..BLOCK {
                for (a, line) in lines.iter().enumerate() {
                    *data.add(tile.place(i + a, j + b)) = line[b];
                }
            }
        }
    };
    blocks(tile, block, element);
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
    type Stage = Option<O::Stage>;
    const ELEMENT_BYTES: usize = O::ELEMENT_BYTES;

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) -> Option<O::Stage> {
        self.operand.as_ref().map(O::stage)
    }
    #[inline]
    unsafe fn fetch(&self, tile: Tile, stage: &mut Self::Stage) {
        if let (Some(operand), Some(stage)) = (&self.operand, stage) {
            // SAFETY: same contract.
            unsafe { operand.fetch(tile, stage) }
        }
    }
    #[inline]
    unsafe fn line<'s>(&'s self, tile: Tile, i: usize, stage: &'s mut Self::Stage) -> Self::Slice<'s> {
        // SAFETY: same contract.
        Some(unsafe { self.operand.as_ref()?.line(tile, i, stage.as_mut()?) })
    }
    #[inline]
    unsafe fn flush(&self, tile: Tile, stage: &mut Self::Stage) {
        if let (Some(operand), Some(stage)) = (&self.operand, stage) {
            // SAFETY: same contract.
            unsafe { operand.flush(tile, stage) }
        }
    }
}

/// Operands of one shape: a tuple.
pub(crate) trait Operands<const N: usize>: Sliced + Sync {
    /// Room for copies.
    type Stages;
    /// Size of the smallest element.
    const LEAST_BYTES: usize;

    fn layouts(&self) -> [&Layout; N];
    fn stages(&self) -> Self::Stages;
    /// # Safety
    /// That of [`Operand::fetch`] for each.
    unsafe fn fetch(&self, tiles: &[Tile; N], stages: &mut Self::Stages);
    /// # Safety
    /// That of [`Operand::line`] for each.
    unsafe fn line<'s>(&'s self, tiles: &[Tile; N], i: usize, stages: &'s mut Self::Stages) -> Self::Slice<'s>;
    /// # Safety
    /// That of [`Operand::flush`] for each.
    unsafe fn flush(&self, tiles: &[Tile; N], stages: &mut Self::Stages);
}

const fn least(sizes: &[usize]) -> usize {
    let (mut least, mut k) = (LINE_BYTES, 0);
    while k < sizes.len() {
        least = if sizes[k] < least { sizes[k] } else { least };
        k += 1;
    }
    least
}

macro_rules! operands {
    ($n:literal: $($ty:ident $i:tt),+) => {
        impl<$($ty: Operand),+> Sliced for ($($ty,)+) {
            type Slice<'s> = ($($ty::Slice<'s>,)+);
        }
        impl<$($ty: Operand),+> Operands<$n> for ($($ty,)+) {
            type Stages = ($($ty::Stage,)+);
            const LEAST_BYTES: usize = least(&[$($ty::ELEMENT_BYTES),+]);

            fn layouts(&self) -> [&Layout; $n] {
                [$(self.$i.layout()),+]
            }
            fn stages(&self) -> Self::Stages {
                ($(self.$i.stage(),)+)
            }
            #[inline]
            unsafe fn fetch(&self, tiles: &[Tile; $n], stages: &mut Self::Stages) {
                // SAFETY: same contract.
                unsafe { $(self.$i.fetch(tiles[$i], &mut stages.$i);)+ }
            }
            #[inline]
            unsafe fn line<'s>(&'s self, tiles: &[Tile; $n], i: usize, stages: &'s mut Self::Stages) -> Self::Slice<'s> {
                // SAFETY: same contract.
                unsafe { ($(self.$i.line(tiles[$i], i, &mut stages.$i),)+) }
            }
            #[inline]
            unsafe fn flush(&self, tiles: &[Tile; $n], stages: &mut Self::Stages) {
                // SAFETY: same contract.
                unsafe { $(self.$i.flush(tiles[$i], &mut stages.$i);)+ }
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
