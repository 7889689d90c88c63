//! Tiles of products by measurement: which was fastest on this device, by kind and size of the product. Each kind is measured in one
//! form, f32 or int8 per channel, and its other forms go by that.

use crate::product::{Family, Tile};

/// Rows and columns of the products that are measured; others go by the nearest, by ratio.
pub(crate) const ROWS: [u32; 4] = [8, 32, 128, 512];
/// As [`ROWS`].
pub(crate) const COLUMNS: [u32; 4] = [64, 256, 1024, 4096];

/// What was found out about tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The fastest for each size of each family; none where the seeded choice stands.
    fastest: [[[Option<Tile>; COLUMNS.len()]; ROWS.len()]; Family::ALL.len()],
    /// Those that compute products of a family wrong, or that the device fails on.
    left_out: [[bool; Tile::ALL.len()]; Family::ALL.len()],
}

/// Place of the size nearest to this one.
fn nearest(sizes: &[u32; 4], size: u32) -> usize {
    let below_middle = |at: usize| u64::from(size).pow(2) <= u64::from(sizes[at]) * u64::from(sizes[at + 1]);
    (0..sizes.len() - 1).find(|&at| below_middle(at)).unwrap_or(sizes.len() - 1)
}

impl Measured {
    /// The tile that was fastest for products of this family and about this size, if that was measured.
    pub fn tile(&self, family: Family, m: u32, n: u32) -> Option<Tile> {
        self.fastest[family as usize][nearest(&ROWS, m)][nearest(&COLUMNS, n)]
    }

    /// Notes the fastest tile.
    pub fn set(&mut self, family: Family, m: u32, n: u32, tile: Tile) {
        self.fastest[family as usize][nearest(&ROWS, m)][nearest(&COLUMNS, n)] = Some(tile);
    }

    /// Whether a tile is not to be used for products of this family, whatever their size and number.
    pub fn is_left_out(&self, family: Family, tile: Tile) -> bool {
        self.left_out[family as usize][tile as usize]
    }

    /// Leaves a tile out.
    pub fn leave_out(&mut self, family: Family, tile: Tile) {
        self.left_out[family as usize][tile as usize] = true;
    }

    /// Whether anything was found out about products of this family that the seeded choice does not say.
    pub fn is_about(&self, family: Family) -> bool {
        let (fastest, left_out) = (&self.fastest[family as usize], &self.left_out[family as usize]);
        fastest.iter().flatten().any(Option::is_some) || left_out.contains(&true)
    }

    /// A line for each choice: family, rows, columns, tile; and one for each tile that is left out: family, `without`, tile.
    pub fn written(&self) -> Vec<u8> {
        let mut text = String::new();
        for family in Family::ALL {
            for (m, n) in ROWS.iter().flat_map(|m| COLUMNS.map(|n| (*m, n))) {
                if let Some(tile) = self.tile(family, m, n) {
                    text += &format!("{} {m} {n} {}\n", family.name(), tile.name());
                }
            }
            for tile in Tile::ALL.into_iter().filter(|tile| self.is_left_out(family, *tile)) {
                text += &format!("{} without {}\n", family.name(), tile.name());
            }
        }
        text.into_bytes()
    }

    /// Choices as they were written, all of them of tiles that are `possible`; else none.
    pub fn read(text: &[u8], possible: impl Fn(Tile) -> bool) -> Option<Self> {
        let mut measured = Measured::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let family = Family::ALL.into_iter().find(|of| Some(&of.name()) == words.first())?;
            let tile = Tile::ALL.into_iter().find(|of| Some(&of.name()) == words.last() && possible(*of))?;
            match words[1..] {
                ["without", _] => measured.leave_out(family, tile),
                [m, n, _] => {
                    let (m, n) = (m.parse().ok()?, n.parse().ok()?);
                    if !ROWS.contains(&m) || !COLUMNS.contains(&n) {
                        return None;
                    }
                    measured.set(family, m, n, tile);
                }
                _ => return None,
            }
        }
        Some(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_goes_by_the_nearest_one() {
        let at = [1, 16, 17, 64, 65, 256, 257, u32::MAX].map(|m| nearest(&ROWS, m));
        assert_eq!(at, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn choices_come_back_as_they_were_written_and_others_do_not() {
        let mut measured = Measured::default();
        measured.set(Family::Matmul, 512, 4096, Tile::Large);
        measured.set(Family::LinearInt8, 8, 64, Tile::Small);
        assert_eq!(measured.tile(Family::Matmul, 700, 10_000), Some(Tile::Large));
        assert_eq!((measured.tile(Family::Matmul, 8, 64), measured.tile(Family::LinearInt8, 9, 60)), (None, Some(Tile::Small)));
        measured.leave_out(Family::Linear, Tile::Middle);
        assert!(measured.is_left_out(Family::Linear, Tile::Middle) && !measured.is_left_out(Family::Matmul, Tile::Middle));
        let text = measured.written();
        assert_eq!(Measured::read(&text, |_| true), Some(measured));
        for tile in [Tile::Small, Tile::Middle, Tile::Large] {
            assert_eq!(Measured::read(&text, |of| of != tile), None);
        }
        assert_eq!(Measured::read(b"", |_| true), Some(Measured::default()));
        for wrong in [
            "matmul 512 4096",
            "matmul 512 4096 tile-128 x",
            "no-op 8 64 tile-32",
            "matmul 9 64 tile-32",
            "matmul 8 64 tile-1",
            "matmul without 64 tile-32 x",
            "matmul with tile-32",
            "matmul tile-32",
            "tile-32",
        ] {
            assert_eq!(Measured::read(wrong.as_bytes(), |_| true), None, "{wrong}");
        }
        assert_eq!(Measured::read(b"\xff", |_| true), None);
    }
}
