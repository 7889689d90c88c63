//! Measuring which tiles are fastest on a device. Every tile is to give the same bits (see `wgsl/product.wgsl`), so that the choice
//! is one of speed alone; a tile that does not, on this device, or that gives what a product is not by its definition, is left out
//! before it is timed, and used no more.

use crate::adapter::{adapter, forced, open};
use crate::cache::{self, Cache, Unkept};
use crate::measured::{COLUMNS, Measured, ROWS};
use crate::product::{Family, Tile};
use crate::self_test::Wrong;
use crate::specimen::{Form, Specimen};
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

/// A tile that is not used for products of one kind, whatever their size.
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
    /// A tile that computes wrong, or otherwise than most, or that the device fails on.
    LeftOut(LeftOut),
}

/// Tiles of one kind of product, each on a device that computes every product in it.
struct Field {
    devices: Vec<(Tile, WgpuBackend)>,
    sieve: Sieve,
}

/// A product in a tile.
struct Runner<'a> {
    on: &'a WgpuBackend,
    specimen: Specimen<'a>,
    result: Vec<f64>,
    /// Calls that are timed at once.
    calls: usize,
    least_seconds: f64,
}

impl<'a> Runner<'a> {
    fn new(on: &'a WgpuBackend, form: Form, size: [usize; 3]) -> Result<Self> {
        let mut specimen = Specimen::new(on, form, size)?;
        specimen.run()?;
        let result = specimen.result()?;
        Ok(Runner { on, specimen, result, calls: 1, least_seconds: f64::INFINITY })
    }

    /// Seconds a call takes.
    fn seconds(&mut self) -> Result<f64> {
        let start = Instant::now();
        (0..self.calls).try_for_each(|_| self.specimen.run())?;
        self.on.sync()?;
        Ok(start.elapsed().as_secs_f64() / self.calls as f64)
    }
}

/// What is still there of some tiles, and why others are not.
struct Sieve {
    family: Family,
    left_out: Vec<(Tile, LeftOut)>,
    /// The first one, which may be of the device and not of the tile.
    fault: Option<Error>,
}

impl Sieve {
    /// On one line.
    fn leave(&mut self, tile: Tile, why: &str) {
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        self.left_out.push((tile, LeftOut { product: self.family.name(), tile: tile.name(), why }));
    }

    /// What becomes of each tile; those of which nothing does, or that the device fails on, are left out.
    ///
    /// # Errors
    /// `OutOfMemory`, which says nothing of a tile.
    fn sift<T, U>(
        &mut self,
        tiles: impl IntoIterator<Item = (Tile, T)>,
        [m, n, _]: [usize; 3],
        becomes: impl Fn(T) -> Result<std::result::Result<U, String>>,
    ) -> Result<Vec<(Tile, U)>> {
        let mut kept = Vec::new();
        for (tile, of) in tiles {
            match becomes(of) {
                Ok(Ok(of)) => kept.push((tile, of)),
                Ok(Err(why)) => self.leave(tile, &format!("m={m} n={n}: {why}")),
                Err(error @ Error::OutOfMemory { .. }) => return Err(error),
                Err(error) => {
                    self.leave(tile, &format!("m={m} n={n}: {error}"));
                    if let Error::Fault { .. } = error {
                        self.fault.get_or_insert(error);
                    }
                }
            }
        }
        Ok(kept)
    }
}

/// What most tiles give, the seeded one's of what as many give.
fn agreed<'a>(results: impl Iterator<Item = (Tile, &'a [f64])> + Clone, seeded: Tile) -> Option<(Tile, &'a [f64])> {
    let same = |a: &[f64], b: &[f64]| other(a, b).is_none();
    results.clone().max_by_key(|of| (results.clone().filter(|by| same(by.1, of.1)).count(), of.0 == seeded))
}

/// The first place in which results differ by a bit.
fn other(a: &[f64], b: &[f64]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits())
}

impl Field {
    fn new(family: Family, tiles: &[Tile], open: &dyn Fn(Tile) -> Result<WgpuBackend>) -> Result<Self> {
        let devices = tiles.iter().map(|&tile| Ok((tile, open(tile)?))).collect::<Result<_>>()?;
        Ok(Field { devices, sieve: Sieve { family, left_out: Vec::new(), fault: None } })
    }

    /// Computes a product of a form in every tile, leaves out those that are not what the product is by its definition or not what most
    /// are, and times the others over some rounds: least seconds of each.
    ///
    /// # Errors
    /// `OutOfMemory`; a fault, where with it no tile is left: a device that is lost would else count as one that computes wrong.
    fn race(&mut self, form: Form, size: [usize; 3], seeded: Tile, rounds: usize) -> Result<Vec<(Tile, f64)>> {
        let Field { devices, sieve } = self;
        let there = devices.iter().map(|(tile, on)| (*tile, on));
        let runners = sieve.sift(there, size, |on| Ok(Ok(Runner::new(on, form, size)?)))?;
        let runners = sieve.sift(runners, size, |of| Ok(of.specimen.differs(&of.result).map_or(Ok(of), Err)))?;
        let results = runners.iter().map(|(tile, of)| (*tile, &of.result[..]));
        let Some((most, wanted)) = agreed(results, seeded).map(|(tile, result)| (tile, result.to_vec())) else {
            drop(runners);
            devices.clear();
            return sieve.fault.take().map_or(Ok(Vec::new()), Err);
        };
        let mut runners = sieve.sift(runners, size, |of| {
            let at = other(&of.result, &wanted);
            Ok(at
                .map_or(Ok(()), |at| Err(format!("value {at} is {}, {} in {}", of.result[at], wanted[at], most.name())))
                .map(|()| of))
        })?;
        if rounds > 0 {
            runners = sieve.sift(runners, size, |mut of| {
                of.calls = (SAMPLE_S / of.seconds()?).clamp(1.0, 1000.0) as usize;
                Ok(Ok(of))
            })?;
        }
        for round in 0..rounds {
            let best = runners.iter().map(|(_, of)| of.least_seconds).fold(f64::INFINITY, f64::min);
            runners = sieve.sift(runners, size, |mut of| {
                if round == 0 || of.least_seconds <= HOPELESS * best {
                    of.least_seconds = of.least_seconds.min(of.seconds()?);
                }
                Ok(Ok(of))
            })?;
        }
        let times = runners.iter().map(|(tile, of)| (*tile, of.least_seconds)).collect();
        drop(runners);
        devices.retain(|(tile, _)| !sieve.left_out.iter().any(|(out, _)| out == tile));
        match sieve.fault.take_if(|_| devices.is_empty()) {
            Some(fault) => Err(fault),
            None => Ok(times),
        }
    }

    /// Leaves out the tiles that are wrong for products of any form.
    ///
    /// # Errors
    /// Those of [`Field::race`].
    fn compare(&mut self, tuning: &Tuning) -> Result<()> {
        let (family, [m, n, _]) = (self.sieve.family, RAGGED);
        let seeded = Tile::of(tuning, family, m as u32, n as u32, 1);
        Form::of(family).into_iter().try_for_each(|form| self.race(form, RAGGED, seeded, 0).map(drop))
    }

    /// The choices for products of these rows and columns, among the tiles that are still there after the last, and which are not.
    ///
    /// # Errors
    /// Those of [`Field::race`].
    fn choices(mut self, tuning: &Tuning, sizes: &[(u32, u32)], measured: &mut Measured) -> Result<Vec<Tuned>> {
        let family = self.sieve.family;
        self.compare(tuning)?;
        let timed = Form::of(family)[0];
        let mut raced = Vec::new();
        for &(m, n) in sizes {
            let times = self.race(timed, [m as usize, n as usize, K], Tile::of(tuning, family, m, n, 1), ROUNDS)?;
            raced.push((m, n, times));
        }
        self.sieve.left_out.iter().for_each(|(tile, _)| measured.leave_out(family, *tile));
        let left = Tuning { measured: *measured, ..*tuning };
        let mut told: Vec<Tuned> = self.sieve.left_out.into_iter().map(|(_, out)| Tuned::LeftOut(out)).collect();
        for (m, n, mut times) in raced {
            times.retain(|(tile, _)| left.may(family, *tile));
            let seeded = Tile::of(&left, family, m, n, 1);
            let Some(&(_, seeded_seconds)) = times.iter().find(|(tile, _)| *tile == seeded) else { continue };
            let fastest = times.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
            let faster = fastest.filter(|(_, seconds)| *seconds < (1.0 - MARGIN) * seeded_seconds);
            if let Some((tile, _)) = faster {
                measured.set(family, m, n, tile);
            }
            let (tile, seconds) = faster.unwrap_or((seeded, seeded_seconds));
            let (product, tile, seeded) = (family.name(), tile.name(), seeded.name());
            told.push(Tuned::Chosen(Choice { product, m, n, tile, seconds, seeded, seeded_seconds }));
        }
        Ok(told)
    }
}

impl WgpuBackend {
    /// Computes and times products of several sizes in every tile the device can do, tells of each choice once a kind of product is
    /// done, and keeps the choices on disk: later openings of this device, by the same driver and sources, go by them. They change
    /// speed alone: a tile that gives what a product is not by its definition, or other bits than most do, or that the device fails on,
    /// is told of and not used for that kind of product. Takes about a minute, most of it for compiling.
    ///
    /// # Errors
    /// Those of [`WgpuBackend::new`]. Before anything is measured, `Value` where the environment forces a tile, as there is none left
    /// to choose, and `Unavailable` where choices cannot be kept on disk. `OutOfMemory`, and a fault of the device where no tile is
    /// left after it: then what was kept before stands. `Quarantined` for an op that has products that every tile computes wrong, once
    /// all the choices are kept: later openings refuse it.
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
    let measured = measured(&tuning, families, sizes, &in_tile, told)?;
    cache.store(KEPT, &measured.written()).map_err(unkept)?;
    match (Tuning { measured, ..tuning }).unusable().pop() {
        Some(Wrong { op, what }) => Err(Error::Quarantined { op, backend: NAME, device: adapter.get_info().name, what }),
        None => Ok(()),
    }
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
///
/// # Errors
/// Those of [`Field::race`].
fn measured(
    tuning: &Tuning,
    families: &[Family],
    sizes: &[(u32, u32)],
    open: &dyn Fn(Tile) -> Result<WgpuBackend>,
    told: &mut dyn FnMut(&Tuned),
) -> Result<Measured> {
    let tiles: Vec<Tile> = Tile::ALL.into_iter().filter(|tile| tuning.can(*tile)).collect();
    let mut measured = Measured::default();
    for &family in families {
        // Devices of its own, so that what one kind of product does to a device is not the next one's.
        Field::new(family, &tiles, open)?.choices(tuning, sizes, &mut measured)?.iter().for_each(&mut *told);
    }
    Ok(measured)
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

    /// Small problems of two families, in tiles that `spoilt` says how to open: what is measured, and what is told of tiles left out.
    fn measured_of(spoilt: impl Fn(Tile) -> (&'static str, fn(&WgpuBackend))) -> (Result<Measured>, Vec<Tuned>) {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let seeded = open(&adapter, "", Cache::none()).unwrap();
        let in_tile = |tile: Tile| {
            let (word, then) = spoilt(tile);
            let on = open(&adapter, &format!("{},{word}", tile.name()), Cache::none())?;
            then(&on);
            Ok(on)
        };
        let mut told = Vec::new();
        let (families, sizes) = ([Family::Matmul, Family::LinearInt8], [(8, 64), (32, 64)]);
        let measured = measured(&seeded.tuning, &families, &sizes, &in_tile, &mut |of| told.push(of.clone()));
        (measured, told)
    }

    fn why(told: &[Tuned], product: &str, tile: Tile) -> Option<String> {
        let of = told.iter().filter_map(|of| match of {
            Tuned::LeftOut(out) if (out.product, out.tile) == (product, tile.name()) => Some(out.why.clone()),
            _ => None,
        });
        let of: Vec<String> = of.collect();
        assert!(of.len() < 2, "{of:?}");
        of.first().cloned()
    }

    fn tuning_with(measured: Measured) -> Tuning {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        Tuning { measured, ..open(&adapter, "", Cache::none()).unwrap().tuning }
    }

    #[test]
    fn tiles_that_compute_wrong_and_tiles_that_fault_are_left_out_and_the_others_are_chosen_among() {
        // One computes nothing, and one is lost.
        let (measured, told) = measured_of(|tile| match tile {
            Tile::Middle => ("break-matmul", |_| ()),
            Tile::Large => ("", |on| on.device().destroy()),
            _ => ("", |_| ()),
        });
        let measured = measured.unwrap();
        let seeded = tuning_with(Measured::default());
        let of = why(&told, "matmul", Tile::Middle);
        assert!(of.as_ref().is_some_and(|why| why.contains("is 0 instead of")), "{of:?}");
        assert_eq!(why(&told, "linear_int8", Tile::Middle), None);
        for product in ["matmul", "linear_int8"] {
            assert_eq!(why(&told, product, Tile::Small), None);
            assert_eq!(seeded.large, why(&told, product, Tile::Large).is_some_and(|why| why.contains("failed on the device")));
        }
        let choices = told.iter().filter_map(|of| match of {
            Tuned::Chosen(choice) => Some(*choice),
            Tuned::LeftOut(_) => None,
        });
        let choices: Vec<Choice> = choices.collect();
        let all = [(Family::Matmul, 8, 64), (Family::Matmul, 32, 64), (Family::LinearInt8, 8, 64), (Family::LinearInt8, 32, 64)];
        assert_eq!(choices.len(), all.len());
        for ((family, m, n), choice) in all.into_iter().zip(&choices) {
            assert_eq!((choice.product, choice.m, choice.n), (family.name(), m, n));
            assert_ne!(choice.tile, Tile::Large.name());
            assert_ne!((choice.product, choice.tile), ("matmul", Tile::Middle.name()));
            let (seeded, kept) = (Tile::of(&seeded, family, m, n, 1), measured.tile(family, m, n));
            assert_eq!(kept.map_or(seeded.name(), Tile::name), choice.tile);
            assert_ne!(kept, Some(seeded), "only what departs from the seeded choice is kept");
        }
    }

    #[test]
    fn a_seeded_tile_that_computes_wrong_is_used_no_more_whatever_the_size() {
        let (measured, told) = measured_of(|tile| (if tile == Tile::Small { "break-matmul" } else { "" }, |_| ()));
        let left = tuning_with(measured.unwrap());
        assert!(why(&told, "matmul", Tile::Small).is_some() && why(&told, "linear_int8", Tile::Small).is_none());
        assert!(Tile::ALL.into_iter().skip(1).all(|tile| why(&told, "matmul", tile).is_none()), "{told:?}");
        for (m, n, batch) in [(8, 64, 1), (32, 64, 1), (1, 1, 1), (1, 1, 3), (500, 4000, 1), (500, 4000, 3)] {
            let tile = Tile::of(&left, Family::Matmul, m, n, batch);
            assert!(tile != Tile::Small && left.can(tile), "{m} {n} {batch}: {tile:?}");
        }
        assert!(left.may(Family::LinearInt8, Tile::Small));
        assert_eq!(told.iter().filter(|of| matches!(of, Tuned::Chosen(_))).count(), 4);
        assert_eq!(left.unusable(), []);
    }

    #[test]
    fn want_of_memory_says_nothing_of_tiles() {
        let (measured, told) = measured_of(|tile| ("", if tile == Tile::Middle { |on| on.counters.refuse(9) } else { |_| () }));
        assert!(matches!(measured, Err(Error::OutOfMemory { .. })) && told.is_empty(), "{told:?}");
    }

    #[test]
    fn tiles_are_compared_in_every_form() {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let in_tile = |tile: Tile| open(&adapter, tile.name(), Cache::none());
        let mut field = Field::new(Family::Linear, &[Tile::Small], &in_tile).unwrap();
        field.compare(&tuning_with(Measured::default())).unwrap();
        let (tile, on) = &field.devices[0];
        assert_eq!(*tile, Tile::Small);
        // Each form is of a dtype of its own, and so of a pipeline.
        assert!(on.made().pipelines >= Form::of(Family::Linear).len() as u64, "{:?}", on.made());
    }

    /// As after a reset of the driver: none of the tiles is known to be wrong.
    #[test]
    fn devices_that_are_all_lost_are_a_fault_and_leave_out_no_tile() {
        for wrong in [None, Some(Tile::Middle)] {
            let (measured, told) = measured_of(|tile| match wrong == Some(tile) {
                true => ("break-matmul", |_| ()),
                false => ("", |on| on.device().destroy()),
            });
            assert!(matches!(measured, Err(Error::Fault { .. })) && told.is_empty(), "{told:?}");
        }
    }

    #[test]
    fn an_op_with_products_that_no_tile_computes_right_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let words = "break-matmul";
        let on = || opened(words, folder.path());
        let of = |families: &[Family]| tune(&adapter, words, &on().cache, (families, &[(8, 64)]), &mut |_| ());
        let refused = |on: &WgpuBackend, op| on.queue.faults().enter(op).is_err();
        assert!(!refused(&on(), "matmul"));
        assert!(matches!(of(&[Family::Matmul]), Err(Error::Quarantined { op: "matmul", .. })));
        assert!(refused(&on(), "matmul"));
        on().cache.store(KEPT, b"").unwrap();
        assert!(matches!(of(&[Family::Matmul, Family::Linear]), Err(Error::Quarantined { op: "matmul", .. })));
        assert!(refused(&on(), "matmul") && !refused(&on(), "linear"));
        let tested = on();
        let wrong = tested.self_test().unwrap();
        assert_eq!(wrong, [Wrong { op: "matmul", what: "matmul is right in no tile".into() }]);
        assert!(refused(&tested, "matmul") && refused(&on().tested().unwrap(), "matmul"));
    }

    #[test]
    fn what_most_tiles_give_is_right_and_else_what_the_seeded_one_gives() {
        let [a, b] = [[1.0, 2.0], [1.0, 3.0]];
        let of = |results: &[(Tile, [f64; 2])]| {
            let results = results.iter().map(|(tile, result)| (*tile, &result[..]));
            agreed(results, Tile::Small).map(|(_, result)| result.to_vec())
        };
        let [small, middle, large] = [Tile::Small, Tile::Middle, Tile::Large];
        assert_eq!(of(&[(small, a), (middle, b), (large, b)]), Some(b.to_vec()));
        assert_eq!(of(&[(small, a), (middle, b)]), Some(a.to_vec()));
        assert_eq!((of(&[(large, b)]), of(&[])), (Some(b.to_vec()), None));
        assert_eq!((other(&a, &b), other(&a, &a), other(&[0.0], &[-0.0])), (Some(1), None, Some(0)));
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
