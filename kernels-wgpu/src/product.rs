//! How products are cut into tiles.

use crate::measured::{COLUMNS, ROWS};
use crate::pipeline::Shader;
use crate::tuning::Tuning;
use kernels::Op;
use kernels::ops::{Linear, LinearInt8, Matmul};

/// Sums of a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// 32 × 32.
    Small,
    /// 64 × 64.
    Middle,
    /// 128 × 128.
    Large,
    /// 64 × 128, by subgroups of eight invocations on a processor.
    Broadcast,
}

/// Kinds of products whose fastest tiles may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Of floats.
    Matmul,
    /// Of integers.
    MatmulInt8,
    /// With a dense weight.
    Linear,
    /// With a weight of codes.
    LinearCodes,
    /// In integers.
    LinearInt8,
}

impl Family {
    pub const ALL: [Family; 5] = [Family::Matmul, Family::MatmulInt8, Family::Linear, Family::LinearCodes, Family::LinearInt8];

    pub fn name(self) -> &'static str {
        match self {
            Family::Matmul => "matmul",
            Family::MatmulInt8 => "matmul-int8",
            Family::Linear => "linear",
            Family::LinearCodes => "linear-codes",
            Family::LinearInt8 => "linear_int8",
        }
    }

    /// The op it is part of.
    pub fn op(self) -> &'static str {
        match self {
            Family::Matmul | Family::MatmulInt8 => Matmul::NAME,
            Family::Linear | Family::LinearCodes => Linear::NAME,
            Family::LinearInt8 => LinearInt8::NAME,
        }
    }
}

impl Tile {
    pub const ALL: [Tile; 4] = [Tile::Small, Tile::Middle, Tile::Large, Tile::Broadcast];

    /// The word that forces it.
    pub fn name(self) -> &'static str {
        match self {
            Tile::Small => "tile-32",
            Tile::Middle => "tile-64",
            Tile::Large => "tile-128",
            Tile::Broadcast => "broadcast",
        }
    }

    /// The one for a product on a device: the fastest by measurement, else as large as leaves enough workgroups, of those that were not
    /// left out.
    pub fn of(tuning: &Tuning, family: Family, m: u32, n: u32, batch: u32) -> Self {
        let tiles = |side: u32| u64::from(m.div_ceil(side)) * u64::from(n.div_ceil(side)) * u64::from(batch);
        let measured = if batch == 1 { tuning.measured.tile(family, m, n) } else { None };
        let may = |tile| tuning.may(family, tile);
        match tuning.tile.or(measured) {
            Some(tile) => tile,
            None if may(Tile::Broadcast) && tiles(128) >= 2 => Tile::Broadcast,
            None if may(Tile::Large) && m > 64 && n > 64 && tiles(128) >= tuning.workgroups => Tile::Large,
            None if may(Tile::Middle) && m > 32 && n > 32 && tiles(64) * 2 >= tuning.workgroups => Tile::Middle,
            None => Tile::ALL.into_iter().find(|tile| may(*tile)).unwrap_or(Tile::Small),
        }
    }

    /// The tiles that products of a family go by on a device, and rows and columns of a small product that goes by it. Its last tiles are
    /// not whole.
    pub fn in_use(tuning: &Tuning, family: Family) -> Vec<(Tile, [u32; 2])> {
        let mut sizes: Vec<[u32; 2]> = ROWS.iter().flat_map(|m| COLUMNS.map(|n| [m - 3, n - 4])).collect();
        sizes.sort_by_key(|[m, n]| m * n);
        let size = |tile: Tile| sizes.iter().find(|[m, n]| Tile::of(tuning, family, *m, *n, 1) == tile);
        Tile::ALL.into_iter().filter_map(|tile| Some((tile, *size(tile)?))).collect()
    }

    /// Workgroups of a product, in one batch entry.
    pub fn groups(self, m: u32, n: u32) -> u64 {
        let (rows, columns) = match self {
            Tile::Small => (32, 32),
            Tile::Middle => (64, 64),
            Tile::Large => (128, 128),
            Tile::Broadcast => (64, 128),
        };
        u64::from(m.div_ceil(rows)) * u64::from(n.div_ceil(columns))
    }
}

/// A shader of products for every tile.
pub(crate) struct Products(pub [Shader; 4]);

impl Products {
    /// The one for a tile.
    pub fn of(&'static self, tile: Tile) -> &'static Shader {
        &self.0[tile as usize]
    }
}

macro_rules! products {
    ($name:literal, [$($piece:expr),* $(,)?], $constants:expr) => {
        $crate::product::Products([
            $crate::product::products!(@ $name, "_small", ["const SIDE = 8u; const BLOCKS = 1u;", TILE], [$($piece),*], $constants),
            $crate::product::products!(@ $name, "_middle", ["const SIDE = 16u; const BLOCKS = 1u;", TILE], [$($piece),*], $constants),
            $crate::product::products!(@ $name, "_large", ["const SIDE = 16u; const BLOCKS = 2u;", TILE], [$($piece),*], $constants),
            $crate::product::products!(@ $name, "_broadcast", [$crate::pipeline::EIGHT, BROADCAST], [$($piece),*], $constants),
        ])
    };
    (@ $name:literal, $tile:literal, [$first:expr, $kernel:ident], [$($piece:expr),*], $constants:expr) => {
        $crate::pipeline::Shader {
            name: concat!($name, $tile),
            pieces: &[
                $first,
                $crate::pipeline::ELEMENT,
                $crate::pipeline::OUTPUT,
                $crate::pipeline::GROUP,
                $crate::pipeline::PRODUCT,
                $crate::pipeline::$kernel,
                $($piece),*
            ],
            constants: &$constants,
        }
    };
}
pub(crate) use products;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::Class;
    use wgpu::Limits;

    #[test]
    fn each_tile_in_use_has_a_product_that_goes_by_it() {
        let limits = Limits { max_compute_workgroup_storage_size: 32 << 10, ..Limits::default() };
        let gpu = Tuning::new(&limits, Class::default(), "").unwrap();
        let small = Tuning::new(&limits, Class::default(), "small").unwrap();
        let processor = Tuning::new(&limits, Class { software: true, subgroups: Some((8, 8)) }, "").unwrap();
        let forced = Tuning::new(&limits, Class::default(), "tile-64").unwrap();
        let mut tuned = processor;
        tuned.measured.set(Family::Linear, 128, 4096, Tile::Large);
        let mut without = gpu;
        without.measured.leave_out(Family::Linear, Tile::Small);
        let tiles = |of: &Tuning| Tile::in_use(of, Family::Linear).iter().map(|of| of.0).collect::<Vec<_>>();
        use Tile::{Broadcast, Large, Middle, Small};
        assert_eq!((tiles(&gpu), tiles(&small), tiles(&forced)), (vec![Small, Middle, Large], vec![Small, Middle], vec![Middle]));
        assert_eq!((tiles(&processor), tiles(&tuned)), (vec![Small, Middle, Broadcast], Tile::ALL.to_vec()));
        assert_eq!(tiles(&without), [Middle, Large]);
        for (tile, [m, n]) in Tile::in_use(&tuned, Family::Linear) {
            assert_eq!(Tile::of(&tuned, Family::Linear, m, n, 1), tile);
        }
    }
}
