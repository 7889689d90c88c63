//! How kernels are cut for a device: a seeded table by class of device, and what the environment forces.

use crate::measured::Measured;
use crate::product::{Family, Tile};
use crate::self_test::Wrong;
use kernels::{Error, OP_NAMES, Result};
use wgpu::Limits;

/// Environment variable that forces paths, as words separated by commas, so that every path can be tested on any device.
pub(crate) const VARIABLE: &str = "SIZEWISE_WGPU";

/// What kind of device it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Class {
    /// A processor.
    pub software: bool,
    /// Least and greatest size of a subgroup, where there are subgroup operations.
    pub subgroups: Option<(u32, u32)>,
}

/// Choices for one device. They change speed alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// Workgroups of 256 invocations and 25 KiB rather than 128 and 15 KiB.
    pub large: bool,
    /// Whether bytes are multiplied four at a time (`dot4I8Packed`).
    pub dot4: bool,
    /// Workgroups that occupy the device.
    pub workgroups: u64,
    /// Whether subgroups of eight are the vectors of a processor, and large problems are cut for them.
    pub broadcast: bool,
    /// The tile of every product (and attention's), if it is forced.
    pub tile: Option<Tile>,
    /// Tiles of products that were measured on this device.
    pub measured: Measured,
    /// An op that does nothing, for tests.
    pub broken: Option<&'static str>,
}

impl Tuning {
    /// For a device; `forced` is the value of [`VARIABLE`].
    ///
    /// # Errors
    /// `Value` for a word that is none of the variable's, or that this device cannot do.
    pub fn new(limits: &Limits, class: Class, forced: &str) -> Result<Self> {
        let eights = class.subgroups == Some((8, 8));
        let mut tuning = Tuning {
            large: limits.max_compute_workgroup_storage_size >= 26_000 && limits.max_compute_invocations_per_workgroup >= 256,
            workgroups: if class.software { 4 } else { 128 },
            dot4: true,
            broadcast: class.software && eights,
            tile: None,
            measured: Measured::default(),
            broken: None,
        };
        for word in forced.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "small" => tuning.large = false,
                "no-dot4" => tuning.dot4 = false,
                "no-subgroups" => tuning.broadcast = false,
                "broadcast" if !eights => return Err(unknown(word)),
                _ if tile(word).is_some() => tuning.tile = tile(word),
                _ if op(word).is_some() => tuning.broken = op(word),
                _ => return Err(unknown(word)),
            }
        }
        Ok(tuning)
    }

    /// Whether the device can do a tile, and may.
    pub fn can(&self, tile: Tile) -> bool {
        match tile {
            Tile::Small | Tile::Middle => true,
            Tile::Large => self.large,
            Tile::Broadcast => self.broadcast,
        }
    }

    /// Whether the device can do a tile for products of a family, and was not found to do so wrong.
    pub fn may(&self, family: Family, tile: Tile) -> bool {
        self.can(tile) && !self.measured.is_left_out(family, tile)
    }

    /// Ops that have products for which no tile is left.
    pub fn unusable(&self) -> Vec<Wrong> {
        let none_left = |family: &Family| !Tile::ALL.into_iter().any(|tile| self.may(*family, tile));
        let wrong = |family: Family| Wrong { op: family.op(), what: format!("{} is right in no tile", family.name()) };
        Family::ALL.into_iter().filter(none_left).map(wrong).collect()
    }
}

fn unknown(word: &str) -> Error {
    let wanted = "words of `small`, `no-dot4`, `no-subgroups`, `tile-32`, `tile-64`, `tile-128`, `break-OP`, and `broadcast` where \
                  subgroups are of 8";
    Error::Value { op: "open", arg: VARIABLE, wanted, got: word.to_owned() }
}

/// The tile a word forces.
fn tile(word: &str) -> Option<Tile> {
    Tile::ALL.into_iter().find(|tile| tile.name() == word)
}

/// The op a word wants broken.
fn op(word: &str) -> Option<&'static str> {
    let name = word.strip_prefix("break-")?;
    OP_NAMES.iter().find(|op| **op == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_forces_paths_and_unknown_words_are_refused() {
        let limits = Limits { max_compute_workgroup_storage_size: 32 << 10, ..Limits::default() };
        assert!(Tuning::new(&limits, Class::default(), "").unwrap().large);
        assert!(!Tuning::new(&limits, Class::default(), " small ,").unwrap().large);
        assert!(!Tuning::new(&Limits::default(), Class::default(), "").unwrap().large);
        assert_eq!(Tuning::new(&limits, Class::default(), "break-softmax").unwrap().broken, Some("softmax"));
        assert!(matches!(Tuning::new(&limits, Class::default(), "break-no-op"), Err(Error::Value { arg: VARIABLE, .. })));
        assert!(matches!(Tuning::new(&limits, Class::default(), "smal"), Err(Error::Value { arg: VARIABLE, .. })));
    }
}
