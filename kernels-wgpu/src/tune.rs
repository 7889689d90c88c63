//! Measuring which tiles are fastest on a device. Every tile gives the same bits (see `wgsl/product.wgsl`), so that the choice is
//! one of speed alone.

use crate::WgpuBackend;
use crate::adapter::{adapter, forced, open};
use crate::cache::Cache;
use crate::measured::{COLUMNS, Measured, ROWS};
use crate::product::{Family, Tile};
use kernels::ops::{Act, Linear, LinearInt8, Matmul};
use kernels::weight::{Bits, Quant, QuantScheme, Values, Zero};
use kernels::{DType, Memory, Op, Result, Weight, WeightRef};
use std::time::Instant;

/// Under which the choices are kept.
pub(crate) const KEPT: &str = "tuning";
/// Terms of the sums that are measured.
const K: usize = 512;
/// Times each tile is timed, in turns with the others.
const ROUNDS: usize = 5;
/// Shortest time measured.
const SAMPLE_S: f64 = 2e-3;
/// By how much a tile must be faster than the seeded one, to be chosen over it.
const MARGIN: f64 = 0.05;
/// How much slower than the fastest a tile may be and be timed again.
const HOPELESS: f64 = 1.5;

/// The tile chosen for products of one kind and size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Kind of product: an op, or an op and how its weight is stored.
    pub product: &'static str,
    /// Rows.
    pub m: u32,
    /// Columns.
    pub n: u32,
    /// The tile, by the word that forces it.
    pub tile: &'static str,
    /// Seconds a product takes in it.
    pub seconds: f64,
    /// The seeded choice.
    pub seeded: &'static str,
    /// Seconds a product takes in that.
    pub seeded_seconds: f64,
}

type Call<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// A product of a family on a device, ready to be called.
fn product<'a>(on: &'a WgpuBackend, family: Family, m: usize, n: usize) -> Result<Call<'a>> {
    let weight = |bits: Option<Bits>, group_size: usize| -> Result<Weight> {
        let Some(bits) = bits else { return Weight::dense(n, K, Values::F32(vec![0.5; n * K])) };
        let scheme = QuantScheme { bits, group_size, zero: Zero::Symmetric };
        let codes = vec![0x77; n * scheme.row_bytes(K)];
        Ok(Weight::Quant(Quant::new(n, K, scheme, codes, vec![0.5; n * scheme.groups(K)], Vec::new())?))
    };
    let layer = |weight: Weight| -> Result<Call<'a>> {
        let (packed, x, mut out) = (on.pack(&weight)?, on.alloc(DType::F32, m * K)?, on.alloc(DType::F32, m * n)?);
        Ok(Box::new(move || {
            let (weight, out) = (WeightRef::Packed(&packed), out.view_mut([m, n])?);
            Linear { x: x.view([m, K])?, weight, bias: None, act: Act::None, out }.run(on)
        }))
    };
    let matmul = |dtype: DType, sum: DType| -> Result<Call<'a>> {
        let (a, b, mut out) = (on.alloc(dtype, m * K)?, on.alloc(dtype, K * n)?, on.alloc(sum, m * n)?);
        Ok(Box::new(move || Matmul::new(a.view([m, K])?, b.view([K, n])?, out.view_mut([m, n])?).run(on)))
    };
    match family {
        Family::Matmul => matmul(DType::F32, DType::F32),
        Family::MatmulInt8 => matmul(DType::I8, DType::I32),
        Family::Linear => layer(weight(None, K)?),
        Family::LinearCodes => layer(weight(Some(Bits::Int4), 64)?),
        Family::LinearInt8 => {
            let weight = on.pack(&weight(Some(Bits::Int8), usize::MAX)?)?;
            let (x, x_scale) = (on.alloc(DType::I8, m * K)?, on.alloc(DType::F32, m)?);
            let mut out = on.alloc(DType::F32, m * n)?;
            Ok(Box::new(move || {
                let (x, x_scale, out) = (x.view([m, K])?, x_scale.view([m])?, out.view_mut([m, n])?);
                LinearInt8 { x, x_scale, weight: &weight, bias: None, act: Act::None, out }.run(on)
            }))
        }
    }
}

/// Seconds of `calls` calls, each.
fn seconds(on: &WgpuBackend, call: &mut Call<'_>, calls: usize) -> Result<f64> {
    let start = Instant::now();
    (0..calls).try_for_each(|_| call())?;
    on.sync()?;
    Ok(start.elapsed().as_secs_f64() / calls as f64)
}

/// Least seconds of a product in each tile.
fn times(on: &[(Tile, WgpuBackend)], family: Family, m: u32, n: u32) -> Result<Vec<f64>> {
    let mut calls = Vec::new();
    for (_, on) in on {
        let mut call = product(on, family, m as usize, n as usize)?;
        seconds(on, &mut call, 1)?; // compiles
        let enough = (SAMPLE_S / seconds(on, &mut call, 1)?).clamp(1.0, 1000.0) as usize;
        calls.push((on, call, enough));
    }
    let mut least = vec![f64::INFINITY; on.len()];
    for round in 0..ROUNDS {
        for (at, (on, call, enough)) in calls.iter_mut().enumerate() {
            let best = least.iter().copied().fold(f64::INFINITY, f64::min);
            if round == 0 || least[at] <= HOPELESS * best {
                least[at] = least[at].min(seconds(on, call, *enough)?);
            }
        }
    }
    Ok(least)
}

impl WgpuBackend {
    /// Times products of several sizes in every tile the device can do, tells of each choice, and keeps the choices on disk: later
    /// openings of this device, by the same driver and sources, go by them. They change speed alone. Takes about a minute, most of it
    /// for compiling.
    ///
    /// # Errors
    /// Those of [`WgpuBackend::new`]; a fault of the device.
    pub fn tune(device: Option<&str>, told: &mut dyn FnMut(&Choice)) -> Result<()> {
        let (adapter, forced) = (adapter(device)?, forced());
        let cache = Cache::of(&adapter.get_info(), &forced);
        let seeded = open(&adapter, &forced, Cache::none())?;
        let mut on = Vec::new();
        for tile in Tile::ALL.into_iter().filter(|tile| seeded.tuning.can(*tile)) {
            let words = format!("{forced},{}", tile.name());
            on.push((tile, open(&adapter, &words, Cache::of(&adapter.get_info(), &words))?));
        }
        let mut measured = Measured::default();
        for family in Family::ALL {
            for (m, n) in ROWS.iter().flat_map(|m| COLUMNS.map(|n| (*m, n))) {
                let times = times(&on, family, m, n)?;
                let of = |tile: Tile| on.iter().zip(&times).find(|((of, _), _)| *of == tile).map_or(f64::INFINITY, |(_, s)| *s);
                let seed = Tile::of(&seeded.tuning, family, m, n, 1);
                let fastest = on.iter().map(|(tile, _)| *tile).min_by(|a, b| of(*a).total_cmp(&of(*b))).unwrap_or(seed);
                let tile = if of(fastest) < (1.0 - MARGIN) * of(seed) { fastest } else { seed };
                measured.set(family, m, n, tile);
                let (product, seconds, seeded_seconds) = (family.name(), of(tile), of(seed));
                told(&Choice { product, m, n, tile: tile.name(), seconds, seeded: seed.name(), seeded_seconds });
            }
        }
        cache.store(KEPT, &measured.written());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::ops::{Download, Upload};
    use kernels::{Backend, Buffer, Element};
    use std::path::Path;

    fn values<T: Element>(on: &WgpuBackend, dtype: DType, len: usize, of: impl Fn(u32) -> T) -> Buffer {
        let values: Vec<T> = (0..len as u32).map(|i| of(i.wrapping_mul(2_654_435_761) >> 8)).collect();
        let mut buffer = on.alloc(dtype, len).unwrap();
        Upload::new(&values, buffer.view_mut([len]).unwrap()).run(on).unwrap();
        buffer
    }

    /// Bits of products, over sums that end within a step of every kernel (K = 133) or that steps divide (K = 192).
    fn bits(on: &WgpuBackend, m: usize, n: usize) -> [Vec<u32>; 4] {
        let float = |i: u32| i as f32 / (1 << 23) as f32 - 1.0;
        let (a, b) = (values(on, DType::F32, m * 192, float), values(on, DType::F32, 192 * n, float));
        let (x, x_scale) = (values(on, DType::I8, m * 192, |i| i as i8), values(on, DType::F32, m, float));
        let weight = |k: usize, bits: Bits, group_size: usize, zero: Zero| {
            let scheme = QuantScheme { bits, group_size, zero };
            let groups = n * scheme.groups(k);
            let codes = (0..n * scheme.row_bytes(k)).map(|i| ((i * 7919) >> 3) as u8).collect();
            let scales = (0..groups).map(|i| 0.01 + i as f32 / 1e4).collect();
            let zeros = if zero == Zero::Asymmetric { vec![7; groups] } else { Vec::new() };
            on.pack(&Weight::Quant(Quant::new(n, k, scheme, codes, scales, zeros).unwrap())).unwrap()
        };
        let mut out = on.alloc(DType::F32, m * n).unwrap();
        [0, 1, 2, 3].map(|which| {
            let view = out.view_mut([m, n]).unwrap();
            let act = Act::None;
            match which {
                0 => Matmul::new(a.view([m, 133]).unwrap(), b.view([133, n]).unwrap(), view).run(on).unwrap(),
                1 => {
                    let packed = weight(133, Bits::Int4, 16, Zero::Asymmetric);
                    let (x, weight) = (a.view([m, 133]).unwrap(), WeightRef::Packed(&packed));
                    Linear { x, weight, bias: None, act, out: view }.run(on).unwrap();
                }
                _ => {
                    let (k, group_size) = if which == 2 { (133, usize::MAX) } else { (192, 64) };
                    let weight = &weight(k, Bits::Int8, group_size, Zero::Symmetric);
                    let (x, x_scale) = (x.view([m, k]).unwrap(), x_scale.view([m]).unwrap());
                    LinearInt8 { x, x_scale, weight, bias: None, act, out: view }.run(on).unwrap();
                }
            }
            let mut host = vec![0f32; m * n];
            Download::new(out.view([m * n]).unwrap(), &mut host).run(on).unwrap();
            host.into_iter().map(f32::to_bits).collect()
        })
    }

    fn opened(words: &str, folder: &Path) -> WgpuBackend {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let cache = Cache::new(Some(folder.to_owned()), &adapter.get_info(), words);
        open(&adapter, words, cache).unwrap_or_else(|error| panic!("{error}"))
    }

    const SIZE: (usize, usize) = (37, 150);

    #[test]
    fn every_tile_gives_the_same_bits_and_a_row_those_it_has_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (m, n) = SIZE;
        let seeded = opened("", folder.path());
        // The first row, alone, which other kernels of layers compute.
        let alone = bits(&seeded, 1, n);
        let mut wanted = None;
        for tile in Tile::ALL.into_iter().filter(|tile| seeded.tuning.can(*tile)) {
            let mut measured = Measured::default();
            for family in Family::ALL {
                measured.set(family, m as u32, n as u32, tile);
            }
            seeded.cache.store(KEPT, &measured.written());
            let tuned = opened("", folder.path());
            assert!(tuned.info().features.contains("measured tiles"), "{}", tuned.info().features);
            assert_eq!(Tile::of(&tuned.tuning, Family::Matmul, m as u32, n as u32, 1), tile);
            let got = bits(&tuned, m, n);
            assert!(alone.iter().zip(&got).all(|(one, many)| one[..] == many[..n]), "{tile:?}");
            assert_eq!(wanted.get_or_insert_with(|| got.clone()), &got, "{tile:?}");
        }
        let bytewise = bits(&opened("no-dot4,tile-64", folder.path()), m, n);
        assert_eq!(wanted, Some(bytewise));
    }

    #[test]
    fn choices_that_are_forced_damaged_or_of_something_else_are_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let seeded = opened("", folder.path());
        let measured = |words: &str| opened(words, folder.path()).info().features.contains("measured");
        assert!(!measured(""));
        let mut choices = Measured::default();
        choices.set(Family::Matmul, 512, 64, Tile::Middle);
        seeded.cache.store(KEPT, &choices.written());
        assert!(measured(""));
        // Choices are of the paths that were forced as they were made.
        assert!(!measured("tile-32"));
        // Whole, but no tile there is.
        seeded.cache.store(KEPT, b"matmul 512 64 tile-7\n");
        assert!(!measured(""));
        seeded.cache.store(KEPT, &choices.written());
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == KEPT)).collect();
        let [file] = &kept[..] else { panic!("{kept:?}") };
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, &whole[..whole.len() - 1]).unwrap();
        assert!(!measured(""));
        assert_eq!(opened("", folder.path()).tuning, seeded.tuning);
    }
}
