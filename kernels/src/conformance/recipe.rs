//! A case in one line: the few numbers every operand and parameter of a case follows from.

use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;
use std::str::FromStr;

/// How the values of the inputs are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Small integers: every f32 sum is exact, whatever its order, so the result must be the same to the bit.
    Integers,
    /// Standard normal.
    Normal,
    /// Uniform in [−1, 1).
    Uniform,
    /// One value everywhere.
    Equal,
    /// Alternating signs of nearly one size: sums cancel.
    Alternating,
    /// One huge value, all others tiny.
    HugeAndTiny,
    /// Subnormal values among large ones.
    Subnormal,
    /// Zeros of both signs among normal values.
    Zeros,
    /// A few NaN and infinities among normal values.
    NonFinite,
    /// A few of the largest finite values among normal ones.
    Largest,
}

/// How an operand lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Row-major from element 0.
    Contiguous,
    /// Row-major from element 1: unaligned.
    Offset,
    /// The last two dimensions (or, where the op wants a dense last one, the two before it) exchanged in memory.
    Transposed,
    /// Gaps after every row, every matrix, and (where the op allows it) every element.
    Padded,
    /// One dimension repeated by stride 0. Outputs take `Padded` instead.
    Broadcast,
}

/// The numbers a case follows from. Each op reads as many as it needs and folds them into its own ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Sizes.
    pub dims: [usize; 5],
    /// Layout of each operand.
    pub places: [Place; 4],
    /// Spread of the values.
    pub spread: Spread,
    /// Parameters.
    pub picks: [u32; 4],
    /// Seed of the values.
    pub seed: u64,
}

const SPREADS: [(u32, &str, Spread); 10] = [
    (30, "integers", Spread::Integers),
    (24, "normal", Spread::Normal),
    (8, "uniform", Spread::Uniform),
    (5, "equal", Spread::Equal),
    (8, "alternating", Spread::Alternating),
    (6, "huge", Spread::HugeAndTiny),
    (5, "subnormal", Spread::Subnormal),
    (3, "zeros", Spread::Zeros),
    (8, "nonfinite", Spread::NonFinite),
    (3, "largest", Spread::Largest),
];

const PLACES: [(&str, Place); 5] = [
    ("contiguous", Place::Contiguous),
    ("offset", Place::Offset),
    ("transposed", Place::Transposed),
    ("padded", Place::Padded),
    ("broadcast", Place::Broadcast),
];

/// Sizes around the edges of tiles, registers and dispatch limits, ascending so that failures shrink to small ones.
const SMALL: [usize; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17];
const MIDDLE: [usize; 9] = [31, 32, 33, 48, 63, 64, 65, 80, 97];
const LARGE: [usize; 10] = [111, 127, 128, 129, 255, 256, 257, 499, 512, 513];

impl Recipe {
    /// Contiguous normal values and first choices, for cases whose sizes are given.
    pub fn directed(dims: [usize; 5], picks: [u32; 4]) -> Self {
        Recipe { dims, places: [Place::Contiguous; 4], spread: Spread::Normal, picks, seed: 1 }
    }

    /// The same with another spread of values.
    pub fn spread(self, spread: Spread) -> Self {
        Recipe { spread, ..self }
    }

    /// Recipes as proptest draws and shrinks them.
    pub fn strategy() -> impl Strategy<Value = Recipe> {
        let dim = prop_oneof![
            2 => Just(0usize),
            60 => select(&SMALL[..]),
            28 => select(&MIDDLE[..]),
            10 => select(&LARGE[..]),
        ];
        let place = select(&PLACES[..]).prop_map(|(_, place)| place);
        let spread = (0..SPREADS.iter().map(|s| s.0).sum()).prop_map(|mut ticket: u32| {
            let mut drawn = Spread::Integers;
            for (weight, _, spread) in SPREADS {
                drawn = spread;
                match ticket.checked_sub(weight) {
                    Some(rest) => ticket = rest,
                    None => break,
                }
            }
            drawn
        });
        let pick = 0u32..5040; // divisible by every number of choices up to 10, and by 12, 14, 15, 16
        let parts = (prop::array::uniform5(dim), prop::array::uniform4(place), spread, prop::array::uniform4(pick), 0..u64::MAX);
        parts.prop_map(|(dims, places, spread, picks, seed)| Recipe { dims, places, spread, picks, seed })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[String]| items.join(",");
        let spread = SPREADS.iter().find(|s| s.2 == self.spread).map_or("", |s| s.1);
        let places = self.places.map(|p| PLACES.iter().find(|q| q.1 == p).map_or("", |q| q.0).to_string());
        let (dims, picks) = (self.dims.map(|d| d.to_string()), self.picks.map(|p| p.to_string()));
        let (dims, places, picks) = (list(&dims), list(&places), list(&picks));
        write!(f, "dims={dims} places={places} spread={spread} picks={picks} seed={}", self.seed)
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        fn array<T: Copy + Default, const N: usize>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<[T; N]> {
            let items: Option<Vec<T>> = text.split(',').map(parse).collect();
            items?.try_into().ok()
        }
        let mut recipe = Recipe::directed([1; 5], [0; 4]);
        for field in text.split_whitespace() {
            let parsed = field.split_once('=').and_then(|(name, value)| {
                match name {
                    "dims" => recipe.dims = array(value, |v| v.parse().ok())?,
                    "picks" => recipe.picks = array(value, |v| v.parse().ok())?,
                    "places" => {
                        let at: [usize; 4] = array(value, |v| PLACES.iter().position(|p| p.0 == v))?;
                        recipe.places = at.map(|at| PLACES[at].1);
                    }
                    "spread" => recipe.spread = SPREADS.iter().find(|s| s.1 == value)?.2,
                    "seed" => recipe.seed = value.parse().ok()?,
                    _ => return None,
                }
                Some(())
            });
            parsed.ok_or_else(|| format!("`{field}` is no part of a recipe"))?;
        }
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_line() {
        let strategy = Recipe::strategy();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        runner
            .run(&strategy, |recipe| {
                prop_assert_eq!(recipe.to_string().parse::<Recipe>().unwrap(), recipe);
                Ok(())
            })
            .unwrap();
        assert!("dims=1,2 seed=3".parse::<Recipe>().is_err());
        assert!("spread=strange".parse::<Recipe>().is_err());
    }
}
