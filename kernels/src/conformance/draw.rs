//! From a recipe to operands: sizes, layouts and values.

use super::bounds::{Arithmetic, Model};
use super::guard::MARGIN;
use super::host::{Host, round_to};
use super::recipe::{Place, Recipe, Spread};
use crate::reference::words;
use crate::{DType, Layout, MAX_RANK, Shape};

/// What the device under test allows, as far as cases depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest size of a dimension.
    pub max_dim: usize,
    /// Arithmetic the device promises.
    pub arithmetic: Arithmetic,
}

/// Strides an op takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strides {
    /// Any.
    Any,
    /// Stride 1 in the last dimension.
    LastDense,
}

/// Reads a recipe from left to right, so that each op gets sizes, layouts and choices in the order it asks for them.
pub struct Draw<'a> {
    recipe: &'a Recipe,
    limits: Limits,
    spread: Spread,
    dims: usize,
    places: usize,
    picks: usize,
    streams: u64,
}

impl<'a> Draw<'a> {
    /// Starts reading.
    pub fn new(recipe: &'a Recipe, limits: Limits) -> Self {
        let flushed = recipe.spread == Spread::Subnormal && limits.arithmetic == Arithmetic::Wgsl;
        let spread = if flushed { Spread::Normal } else { recipe.spread };
        Draw { recipe, limits, spread, dims: 0, places: 0, picks: 0, streams: 0 }
    }

    /// The next size, at most `max`.
    pub fn dim(&mut self, max: usize) -> usize {
        let dim = self.recipe.dims[self.dims % 5];
        self.dims += 1;
        let max = max.min(self.limits.max_dim);
        if dim <= max { dim } else { dim % max + 1 }
    }

    /// The next choice, below `choices` (at most 10).
    pub fn pick(&mut self, choices: u32) -> u32 {
        let pick = self.recipe.picks.get(self.picks).copied().unwrap_or(0);
        self.picks += 1;
        pick % choices
    }

    /// One of the items.
    pub fn among<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.pick(items.len() as u32) as usize]
    }

    /// Spread of the values.
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// Replaces spreads the op's rules say nothing about by normal values.
    pub fn only(&mut self, allowed: impl Fn(Spread) -> bool) {
        if !allowed(self.spread) {
            self.spread = Spread::Normal;
        }
    }

    /// Only finite values of moderate size.
    pub fn tame(&mut self) {
        self.only(|s| !matches!(s, Spread::NonFinite | Spread::Largest | Spread::Subnormal | Spread::HugeAndTiny));
    }

    /// Whether results must be the same to the bit.
    pub fn exact(&self) -> bool {
        self.spread == Spread::Integers
    }

    /// The bounds' model.
    pub fn model(&self) -> Model {
        Model::new(self.spread, self.limits.arithmetic)
    }

    fn place(&mut self) -> Place {
        let place = self.recipe.places[self.places % 4];
        self.places += 1;
        place
    }

    /// An input with values of the recipe's spread.
    pub fn input(&mut self, arg: &'static str, dtype: DType, shape: impl Into<Shape>, strides: Strides) -> Host {
        let spread = self.spread;
        self.input_of(arg, dtype, shape, strides, spread)
    }

    /// An input with values of a given spread.
    pub fn input_of(
        &mut self,
        arg: &'static str,
        dtype: DType,
        shape: impl Into<Shape>,
        strides: Strides,
        spread: Spread,
    ) -> Host {
        let place = self.place();
        let mut host = lay(arg, dtype, shape.into(), place, strides);
        let values = self.values(spread, dtype, host.layout.numel());
        host.set(values);
        host
    }

    /// An input with values computed by the case.
    pub fn input_with(
        &mut self,
        arg: &'static str,
        dtype: DType,
        shape: impl Into<Shape>,
        strides: Strides,
        values: impl IntoIterator<Item = f64>,
    ) -> Host {
        let place = if self.place() == Place::Broadcast { Place::Padded } else { Place::Contiguous };
        let mut host = lay(arg, dtype, shape.into(), place, strides);
        host.set(values);
        host
    }

    /// An output that is overwritten: full of sentinels.
    pub fn output(&mut self, arg: &'static str, dtype: DType, shape: impl Into<Shape>, strides: Strides) -> Host {
        let place = match self.place() {
            Place::Broadcast => Place::Padded,
            place => place,
        };
        lay(arg, dtype, shape.into(), place, strides)
    }

    /// An output that is read first, with values of the recipe's spread.
    pub fn in_out(&mut self, arg: &'static str, dtype: DType, shape: impl Into<Shape>, strides: Strides) -> Host {
        let mut host = self.output(arg, dtype, shape, strides);
        let values = self.values(self.spread, dtype, host.layout.numel());
        host.set(values);
        host
    }

    /// Random words that no other operand of the case uses.
    pub fn words(&mut self, len: usize) -> impl Iterator<Item = u32> + use<> {
        let (seed, stream) = (self.recipe.seed, self.streams);
        self.streams += 1;
        (0..len.div_ceil(4)).flat_map(move |block| words(seed, stream, block as u64)).take(len)
    }

    /// Numbers below `limit`.
    pub fn indices(&mut self, len: usize, limit: usize) -> Vec<f64> {
        self.words(len).map(|word| f64::from(word % limit.max(1) as u32)).collect()
    }

    /// Values of a spread, rounded to a dtype.
    pub fn values(&mut self, spread: Spread, dtype: DType, len: usize) -> Vec<f64> {
        let random: Vec<u32> = self.words(2 * len + 2).collect();
        let unit = |i: usize| f64::from(random[i]) / 2f64.powi(32); // [0, 1)
        let normal = |i: usize| {
            let radius = (-2.0 * (unit(2 * i) + 2f64.powi(-33)).ln()).sqrt();
            radius * (std::f64::consts::TAU * unit(2 * i + 1)).cos()
        };
        let sprinkle = |i: usize, odds: u32| random[2 * i].wrapping_mul(2_654_435_761) >> 8 & 0xFFFF < 0x1_0000 / odds;
        let (largest, subnormal) = match dtype {
            DType::F16 => (65504.0, 2f64.powi(-24)),
            DType::Bf16 => (f64::from(half::bf16::MAX), 2f64.powi(-133)),
            _ => (f64::from(f32::MAX), 2f64.powi(-149)),
        };
        let value = |i: usize| match spread {
            _ if dtype == DType::I8 => f64::from(random[2 * i] as i8),
            _ if dtype == DType::U8 => f64::from(random[2 * i] as u8),
            _ if dtype == DType::I32 => f64::from(random[2 * i] as i32),
            _ if dtype == DType::U32 => f64::from(random[2 * i]),
            // Without 0, so that a product is no accident.
            Spread::Integers => f64::from(random[2 * i] % 4 + 1) * if random[2 * i + 1].is_multiple_of(2) { 1.0 } else { -1.0 },
            Spread::Normal => normal(i),
            Spread::Uniform => 2.0 * unit(2 * i) - 1.0,
            Spread::Equal => 0.1 + 0.9 * unit(2 * len),
            Spread::Alternating => (1.0 + unit(2 * i) / 64.0) * if i.is_multiple_of(2) { 1.0 } else { -1.0 },
            Spread::HugeAndTiny if i == random[2 * len] as usize % len.max(1) => 4096.0 * (1.0 + unit(2 * i)),
            Spread::HugeAndTiny => normal(i) / 4096.0,
            Spread::Subnormal if sprinkle(i, 3) => subnormal * f64::from(random[2 * i + 1] % 127),
            Spread::Subnormal => normal(i) * 64.0,
            Spread::Zeros if sprinkle(i, 5) => {
                if random[2 * i + 1].is_multiple_of(2) {
                    0.0
                } else {
                    -0.0
                }
            }
            Spread::Zeros => normal(i),
            Spread::NonFinite if sprinkle(i, 40) => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][random[2 * i + 1] as usize % 3],
            Spread::NonFinite => normal(i),
            Spread::Largest if sprinkle(i, 40) => {
                if random[2 * i + 1].is_multiple_of(2) {
                    largest
                } else {
                    -largest
                }
            }
            Spread::Largest => normal(i),
        };
        (0..len).map(|i| round_to(dtype, value(i))).collect()
    }
}

/// A buffer full of sentinels and a window of `shape` on it.
pub fn lay(arg: &'static str, dtype: DType, shape: Shape, place: Place, strides: Strides) -> Host {
    let rank = shape.rank();
    // Axes from the innermost in memory to the outermost.
    let mut order: Vec<usize> = (0..rank).rev().collect();
    let swapped = if strides == Strides::Any { 0 } else { 1 };
    if place == Place::Transposed && rank >= swapped + 2 {
        order.swap(swapped, swapped + 1);
    }
    let repeated = match (place, strides) {
        (Place::Broadcast, Strides::Any) => (0..rank).find(|&axis| shape[axis] > 1),
        (Place::Broadcast, Strides::LastDense) => (0..rank.saturating_sub(1)).find(|&axis| shape[axis] > 1),
        _ => None,
    };
    let mut step = if place == Place::Padded && strides == Strides::Any { 3 } else { 1 };
    let mut by_axis = [0; MAX_RANK];
    for &axis in &order {
        if Some(axis) != repeated {
            by_axis[axis] = step;
            step = step * shape[axis].max(1) + if place == Place::Padded { 5 } else { 0 };
        }
    }
    let offset = match place {
        Place::Offset => 1,
        Place::Padded => 7,
        _ => 0,
    };
    let layout = Layout::strided(shape, &by_axis[..rank], offset);
    // Sizes of cases are far from overflow.
    let layout = layout.unwrap_or_else(|e| unreachable!("{e}"));
    let len = layout.end().unwrap_or_else(|e| unreachable!("{e}")).max(offset) + MARGIN;
    let mut host = Host::new(arg, dtype, layout, len);
    host.dense = strides == Strides::LastDense;
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_what_ops_take() {
        for place in [Place::Contiguous, Place::Offset, Place::Transposed, Place::Padded, Place::Broadcast] {
            for strides in [Strides::Any, Strides::LastDense] {
                let host = lay("x", DType::F32, Shape::from([2, 3, 4]), place, strides);
                assert_eq!(host.layout.is_injective(), place != Place::Broadcast);
                assert!(strides == Strides::Any || host.layout.is_last_dense());
                assert!(host.layout.end().unwrap() + MARGIN <= host.len());
            }
        }
    }
}
