//! Measuring which tiles are fastest on a device. Every tile is to give the same bits (see `wgsl/product.wgsl`), so that the choice
//! is one of speed alone; a tile that does not, on this device, is left out before it is timed.

use crate::adapter::{adapter, forced, open};
use crate::cache::{self, Cache, Unkept};
use crate::measured::{COLUMNS, Measured, ROWS};
use crate::product::{Family, Tile};
use crate::specimen::Specimen;
use crate::tuning::{Tuning, VARIABLE};
use crate::{NAME, WgpuBackend};
use kernels::{Error, Memory, Result};
use std::time::Instant;
use wgpu::Adapter;

/// Under which the choices are kept.
pub(crate) const KEPT: &str = "tuning";
/// Terms of the sums that are measured.
const K: usize = 512;
/// A product that ends within a tile, a step and a word; compared, not timed.
const RAGGED: [usize; 3] = [37, 150, 133];
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

/// A tile that is not chosen for products of one kind, whatever its speed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Kind of product.
    pub product: &'static str,
    /// The tile, by the word that forces it.
    pub tile: &'static str,
    /// What it did.
    pub why: String,
}

/// What [`WgpuBackend::tune`] has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Tuned {
    /// A choice.
    Chosen(Choice),
    /// A tile that computes otherwise than the seeded one, or that the device fails on.
    LeftOut(LeftOut),
}

/// Tiles of one kind of product, each on a device that computes every product in it.
struct Field {
    family: Family,
    devices: Vec<(Tile, WgpuBackend)>,
    left_out: Vec<(Tile, LeftOut)>,
}

/// A product in a tile.
struct Runner<'a> {
    tile: Tile,
    on: &'a WgpuBackend,
    specimen: Specimen<'a>,
    bits: Vec<u32>,
    /// Calls that are timed at once.
    calls: usize,
    least_seconds: f64,
}

impl<'a> Runner<'a> {
    fn new((tile, on): &'a (Tile, WgpuBackend), family: Family, size: [usize; 3]) -> Result<Self> {
        let mut specimen = Specimen::new(on, family, size)?;
        specimen.run()?;
        let bits = specimen.bits()?;
        Ok(Runner { tile: *tile, on, specimen, bits, calls: 1, least_seconds: f64::INFINITY })
    }

    /// Seconds a call takes.
    fn seconds(&mut self) -> Result<f64> {
        let start = Instant::now();
        (0..self.calls).try_for_each(|_| self.specimen.run())?;
        self.on.sync()?;
        Ok(start.elapsed().as_secs_f64() / self.calls as f64)
    }
}

impl Field {
    fn new(family: Family, tiles: &[Tile], open: &dyn Fn(Tile) -> Result<WgpuBackend>) -> Self {
        let mut field = Field { family, devices: Vec::new(), left_out: Vec::new() };
        for &tile in tiles {
            match open(tile) {
                Ok(on) => field.devices.push((tile, on)),
                Err(error) => leave_out(&mut field.left_out, family, tile, error.to_string()),
            }
        }
        field
    }

    /// Computes a product in every tile, leaves out those whose bits are not the seeded one's, and times the others over some
    /// rounds: least seconds of each.
    fn race(&mut self, size: [usize; 3], seeded: Tile, rounds: usize) -> Vec<(Tile, f64)> {
        let Field { family, devices, left_out } = self;
        let [m, n, _] = size;
        let mut leave = |tile: Tile, why: &str| leave_out(left_out, *family, tile, format!("m={m} n={n}: {why}"));
        let mut runners = Vec::new();
        for device in devices.iter() {
            match Runner::new(device, *family, size) {
                Ok(runner) => runners.push(runner),
                Err(error) => leave(device.0, &error.to_string()),
            }
        }
        let Some(wanted) = runners.iter().find(|of| of.tile == seeded).map(|of| of.bits.clone()) else { return Vec::new() };
        runners.retain(|of| match of.bits.iter().zip(&wanted).position(|(got, wanted)| got != wanted) {
            None => true,
            Some(at) => {
                let (got, wanted) = (of.bits[at], wanted[at]);
                leave(of.tile, &format!("bits {got:08x} at {at} of its output, {wanted:08x} in {}", seeded.name()));
                false
            }
        });
        if rounds > 0 {
            runners.retain_mut(|of| match of.seconds() {
                Ok(seconds) => {
                    of.calls = (SAMPLE_S / seconds).clamp(1.0, 1000.0) as usize;
                    true
                }
                Err(error) => {
                    leave(of.tile, &error.to_string());
                    false
                }
            });
        }
        for round in 0..rounds {
            let best = runners.iter().map(|of| of.least_seconds).fold(f64::INFINITY, f64::min);
            runners.retain_mut(|of| {
                if round > 0 && of.least_seconds > HOPELESS * best {
                    return true;
                }
                match of.seconds() {
                    Ok(seconds) => of.least_seconds = of.least_seconds.min(seconds),
                    Err(error) => {
                        leave(of.tile, &error.to_string());
                        return false;
                    }
                }
                true
            });
        }
        let times = runners.iter().map(|of| (of.tile, of.least_seconds)).collect();
        drop(runners);
        devices.retain(|(tile, _)| !left_out.iter().any(|(out, _)| out == tile));
        times
    }

    /// The choices for products of these rows and columns, among the tiles that are still there after the last.
    fn choices(&mut self, tuning: &Tuning, sizes: &[(u32, u32)]) -> Vec<(Tile, Choice)> {
        let [m, n, _] = RAGGED;
        self.race(RAGGED, Tile::of(tuning, self.family, m as u32, n as u32, 1), 0);
        let mut raced = Vec::new();
        for &(m, n) in sizes {
            let seeded = Tile::of(tuning, self.family, m, n, 1);
            raced.push((m, n, seeded, self.race([m as usize, n as usize, K], seeded, ROUNDS)));
        }
        let choice = |(m, n, seeded, mut times): (u32, u32, Tile, Vec<(Tile, f64)>)| {
            times.retain(|(tile, _)| self.devices.iter().any(|(there, _)| there == tile));
            let seeded_seconds = times.iter().find(|(tile, _)| *tile == seeded)?.1;
            let fastest = times.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))?;
            let (tile, seconds) = if fastest.1 < (1.0 - MARGIN) * seeded_seconds { fastest } else { (seeded, seeded_seconds) };
            let (product, seeded) = (self.family.name(), seeded.name());
            Some((tile, Choice { product, m, n, tile: tile.name(), seconds, seeded, seeded_seconds }))
        };
        raced.into_iter().filter_map(choice).collect()
    }
}

/// On one line.
fn leave_out(left_out: &mut Vec<(Tile, LeftOut)>, family: Family, tile: Tile, why: String) {
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    left_out.push((tile, LeftOut { product: family.name(), tile: tile.name(), why }));
}

impl WgpuBackend {
    /// Computes and times products of several sizes in every tile the device can do, tells of each choice once a kind of product is
    /// done, and keeps the choices on disk: later openings of this device, by the same driver and sources, go by them. They change
    /// speed alone: a tile whose bits differ from the seeded one's, or that the device fails on, is told of and not chosen for that
    /// kind of product. Takes about a minute, most of it for compiling.
    ///
    /// # Errors
    /// Those of [`WgpuBackend::new`]. Before anything is measured, `Value` where the environment forces a tile, as there is none left
    /// to choose, and `Unavailable` where choices cannot be kept on disk.
    pub fn tune(device: Option<&str>, told: &mut dyn FnMut(&Tuned)) -> Result<()> {
        let (adapter, forced) = (adapter(device)?, forced());
        let cache = Cache::of(&adapter.get_info(), &forced);
        let sizes: Vec<(u32, u32)> = ROWS.iter().flat_map(|m| COLUMNS.map(|n| (*m, n))).collect();
        tune(&adapter, &forced, &cache, (&Family::ALL, &sizes), told)
    }
}

/// As [`WgpuBackend::tune`], of products of these kinds and sizes.
fn tune(
    adapter: &Adapter,
    forced: &str,
    cache: &Cache,
    (families, sizes): (&[Family], &[(u32, u32)]),
    told: &mut dyn FnMut(&Tuned),
) -> Result<()> {
    // What is compiled for the sake of measuring is not kept.
    let open = |words: &str| open(adapter, words, Cache::none());
    let tuning = open(forced)?.tuning;
    if tuning.tile.is_some() {
        let wanted = "no word that forces a tile, as none is left to choose by measurement";
        return Err(Error::Value { op: "tune", arg: VARIABLE, wanted, got: forced.to_owned() });
    }
    cache.check().map_err(unkept)?;
    let in_tile = |tile: Tile| open(&format!("{forced},{}", tile.name()));
    cache.store(KEPT, &measured(&tuning, families, sizes, &in_tile, told).written()).map_err(unkept)
}

fn unkept(why: Unkept) -> Error {
    let reason = match why {
        Unkept::Off => "tiles that are measured are to be kept nowhere".to_owned(),
        Unkept::Failed(why) => why,
    };
    let remedy = format!("name a folder that can be written by {}", cache::VARIABLE);
    Error::Unavailable { backend: NAME, reason, remedy }
}

/// The fastest tiles of these products, on devices that `open` opens for each kind of product, each in the tile it is given.
fn measured(
    tuning: &Tuning,
    families: &[Family],
    sizes: &[(u32, u32)],
    open: &dyn Fn(Tile) -> Result<WgpuBackend>,
    told: &mut dyn FnMut(&Tuned),
) -> Measured {
    let tiles: Vec<Tile> = Tile::ALL.into_iter().filter(|tile| tuning.can(*tile)).collect();
    let mut measured = Measured::default();
    for &family in families {
        // Devices of its own, so that what one kind of product does to a device is not the next one's.
        let mut field = Field::new(family, &tiles, open);
        let choices = field.choices(tuning, sizes);
        field.left_out.into_iter().for_each(|(_, out)| told(&Tuned::LeftOut(out)));
        for (tile, choice) in choices {
            if choice.tile != choice.seeded {
                measured.set(family, choice.m, choice.n, tile);
            }
            told(&Tuned::Chosen(choice));
        }
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::ops::{Act, Download, Linear, LinearInt8, Matmul, Upload};
    use kernels::weight::{Bits, Quant, QuantScheme, Zero};
    use kernels::{Backend, Buffer, DType, Element, Memory, Op, Weight, WeightRef};
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
            seeded.cache.store(KEPT, &measured.written()).unwrap();
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
    fn tiles_of_other_bits_and_tiles_that_fault_are_left_out_and_the_others_are_chosen_among() {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let seeded = open(&adapter, "", Cache::none()).unwrap();
        let in_tile = |tile: Tile| {
            // One computes nothing, and one is lost.
            let broken = if tile == Tile::Middle { ",break-matmul" } else { "" };
            let on = open(&adapter, &format!("{}{broken}", tile.name()), Cache::none())?;
            if tile == Tile::Large {
                on.device().destroy();
            }
            Ok(on)
        };
        let (mut left_out, mut chosen) = (Vec::new(), Vec::new());
        let families = [Family::Matmul, Family::LinearInt8];
        let measured = measured(&seeded.tuning, &families, &[(8, 64), (32, 64)], &in_tile, &mut |told| match told {
            Tuned::LeftOut(out) => left_out.push((out.product, out.tile, out.why.clone())),
            Tuned::Chosen(choice) => chosen.push((choice.product, choice.m, choice.tile)),
        });
        let why = |product: &str, tile: Tile| {
            let of: Vec<_> = left_out.iter().filter(|out| (out.0, out.1) == (product, tile.name())).collect();
            assert!(of.len() < 2, "{of:?}");
            of.first().map(|out| out.2.clone())
        };
        assert!(why("matmul", Tile::Middle).is_some_and(|why| why.contains("bits 00000000 at 0 of its output")), "{left_out:?}");
        assert_eq!(why("linear_int8", Tile::Middle), None);
        for product in ["matmul", "linear_int8"] {
            assert_eq!(why(product, Tile::Small), None);
            assert_eq!(seeded.tuning.large, why(product, Tile::Large).is_some_and(|why| why.contains("failed on the device")));
        }
        assert_eq!(
            chosen.iter().map(|choice| (choice.0, choice.1)).collect::<Vec<_>>(),
            [("matmul", 8), ("matmul", 32), ("linear_int8", 8), ("linear_int8", 32)]
        );
        assert!(
            !chosen
                .iter()
                .any(|choice| choice.2 == Tile::Large.name() || (choice.0, choice.2) == ("matmul", Tile::Middle.name()))
        );
        let kept = |(family, m, n)| measured.tile(family, m, n);
        let all = [(Family::Matmul, 8, 64), (Family::Matmul, 32, 64), (Family::LinearInt8, 8, 64), (Family::LinearInt8, 32, 64)];
        for (of, choice) in all.into_iter().zip(&chosen) {
            let seeded = Tile::of(&seeded.tuning, of.0, of.1, of.2, 1);
            assert_eq!(kept(of).map_or(seeded.name(), Tile::name), choice.2);
            assert_ne!(kept(of), Some(seeded), "only what departs from the seeded choice is kept");
        }
    }

    #[test]
    fn measuring_leaves_one_file_or_says_at_once_why_it_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let tune = |at: Option<&Path>, words: &str| {
            let cache = Cache::new(at.map(Path::to_owned), &adapter.get_info(), words);
            let mut choices = 0;
            let kept = tune(&adapter, words, &cache, (&[Family::Matmul], &[(8, 64)]), &mut |_| choices += 1);
            (kept, choices)
        };
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(tune(Some(folder.path()), "tile-32"), (Err(Error::Value { arg: VARIABLE, .. }), 0)));
        assert!(matches!(tune(None, ""), (Err(Error::Unavailable { .. }), 0)));
        assert!(matches!(tune(Some(&file), ""), (Err(Error::Unavailable { reason, .. }), 0) if reason.contains("kept")));
        std::fs::remove_file(file).unwrap();
        assert_eq!(tune(Some(folder.path()), "small"), (Ok(()), 1));
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() == 1 && files[0].extension().is_some_and(|kind| kind == KEPT), "{files:?}");
    }

    #[test]
    fn tiles_are_said_to_be_measured_where_one_departs_from_the_seeded() {
        let folder = tempfile::tempdir().unwrap();
        opened("", folder.path()).cache.store(KEPT, &Measured::default().written()).unwrap();
        assert!(!opened("", folder.path()).info().features.contains("measured"));
    }

    #[test]
    fn choices_that_are_forced_damaged_or_of_something_else_are_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let seeded = opened("", folder.path());
        let measured = |words: &str| opened(words, folder.path()).info().features.contains("measured");
        assert!(!measured(""));
        let mut choices = Measured::default();
        choices.set(Family::Matmul, 512, 64, Tile::Middle);
        seeded.cache.store(KEPT, &choices.written()).unwrap();
        assert!(measured(""));
        // Choices are of the paths that were forced as they were made.
        assert!(!measured("tile-32"));
        // Whole, but no tile there is.
        seeded.cache.store(KEPT, b"matmul 512 64 tile-7\n").unwrap();
        assert!(!measured(""));
        seeded.cache.store(KEPT, &choices.written()).unwrap();
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == KEPT)).collect();
        let [file] = &kept[..] else { panic!("{kept:?}") };
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, &whole[..whole.len() - 1]).unwrap();
        assert!(!measured(""));
        assert_eq!(opened("", folder.path()).tuning, seeded.tuning);
    }
}
