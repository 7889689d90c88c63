//! The self-test of a device: every op on a small problem with a known answer, and products in every tile that is used. An op that fails
//! is refused from then on.

use crate::WgpuBackend;
use crate::cache::notice;
use crate::product::{Family, Tile};
use crate::specimen::{Form, Specimen};
use crate::trials::{Answer, Desk, TRIALS};
use crate::tuning::Tuning;
use kernels::{Error, OP_NAMES, Result};

/// Largest error of an answer, relative to it and 1: far above roundings, far below what a wrong kernel gives.
const TOLERANCE: f64 = 1e-4;
/// Terms of sums in tiles: whole steps of every kernel, and more than one chunk.
const TERMS: usize = 320;
/// Under which the verdict is kept.
const KEPT: &str = "verdict";

/// An op that gave a wrong answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its name.
    pub op: &'static str,
    /// What it gave.
    pub what: String,
}

impl WgpuBackend {
    /// Runs every op on a small problem with a known answer, products in every tile they go by on this device, and where tiles were
    /// measured in every form that they are used for, and waits for it. An op that fails is
    /// [`Quarantined`](Error::Quarantined) from then on: refused, until a later self-test passes. The verdict is kept on disk for
    /// [`WgpuBackend::tested`].
    ///
    /// # Errors
    /// A fault of the device, or `OutOfMemory`: then there is no verdict, and what was refused before still is.
    pub fn self_test(&self) -> Result<Vec<Wrong>> {
        let faults = self.queue.faults();
        let mut before = Before { on: self, refused: faults.quarantine(&self.info.name, self.tuning.unusable()) };
        let wrong = self.wrong()?;
        before.refused.clone_from(&wrong);
        drop(before);
        self.announce(&wrong);
        self.cache.keep(KEPT, &written(&self.tuning, &wrong));
        Ok(wrong)
    }

    fn wrong(&self) -> Result<Vec<Wrong>> {
        let mut wrong = Vec::new();
        for (op, trial) in TRIALS {
            let what = found(trial(&Desk(self)).map(|answer| differs(&answer)))?;
            wrong.extend(what.map(|what| Wrong { op, what }));
        }
        for (family, tile, form, size) in products(&self.tuning) {
            if wrong.iter().all(|of| of.op != family.op()) {
                let what = found(self.product(form, size))?;
                wrong.extend(what.map(|what| Wrong { op: family.op(), what: format!("{what}, in {}", tile.name()) }));
            }
        }
        Ok(wrong)
    }

    fn product(&self, form: Form, [m, n]: [u32; 2]) -> Result<Option<String>> {
        let mut specimen = Specimen::new(self, form, [m as usize, n as usize, TERMS])?;
        specimen.run()?;
        Ok(specimen.differs(&specimen.result()?))
    }

    /// This backend, once its device has passed a self-test or its verdict is known from an earlier run: programs open it so.
    ///
    /// # Errors
    /// Those of [`WgpuBackend::self_test`].
    pub fn tested(self) -> Result<Self> {
        match self.cache.load(KEPT).and_then(|text| read(&self.tuning, &text)) {
            Some(wrong) => self.refuse(&wrong),
            None => {
                self.self_test()?;
            }
        }
        Ok(self)
    }

    fn refuse(&self, wrong: &[Wrong]) {
        self.announce(wrong);
        self.queue.faults().quarantine(&self.info.name, wrong.to_vec());
    }

    fn announce(&self, wrong: &[Wrong]) {
        for Wrong { op, what } in wrong {
            notice(&format!("{op} computes wrong on {} and is refused: {what}", self.info.name));
        }
    }
}

/// What is refused once a self-test ends, however it does.
struct Before<'a> {
    on: &'a WgpuBackend,
    refused: Vec<Wrong>,
}

impl Drop for Before<'_> {
    fn drop(&mut self) {
        self.on.queue.faults().quarantine(&self.on.info.name, std::mem::take(&mut self.refused));
    }
}

/// The products that are tested, by rows and columns: of each family one in every tile it goes by, and where tiles were measured, in one
/// form alone, one of every form.
fn products(tuning: &Tuning) -> Vec<(Family, Tile, Form, [u32; 2])> {
    let of = |family: Family| {
        let mut forms = Form::of(family);
        forms.truncate(if tuning.measured.is_about(family) { forms.len() } else { 1 });
        let in_tile = move |(tile, size): (Tile, [u32; 2])| forms.clone().into_iter().map(move |form| (family, tile, form, size));
        Tile::in_use(tuning, family).into_iter().flat_map(in_tile)
    };
    Family::ALL.into_iter().flat_map(of).collect()
}

/// What is wrong with an op, if anything is.
///
/// # Errors
/// What says nothing of an op: a fault, `OutOfMemory`.
fn found(differs: Result<Option<String>>) -> Result<Option<String>> {
    match differs {
        Err(error @ (Error::Fault { .. } | Error::OutOfMemory { .. })) => Err(error),
        Err(Error::Quarantined { what, .. }) => Ok(Some(what)),
        Err(error) => Ok(Some(error.to_string())),
        Ok(what) => Ok(what),
    }
}

/// The first value that is not what it should be.
fn differs(answer: &Answer) -> Option<String> {
    let Answer { got, wanted } = answer;
    if got.len() != wanted.len() {
        return Some(format!("{} values instead of {}", got.len(), wanted.len()));
    }
    let right = |got: f32, wanted: f64| (f64::from(got) - wanted).abs() <= TOLERANCE * (1.0 + wanted.abs());
    let at = (0..got.len()).find(|&at| !right(got[at], wanted[at]))?;
    Some(format!("value {at} of {} is {} instead of {}", got.len(), got[at], wanted[at]))
}

/// A line for the tiles that were measured, whose verdict it is, and one for each op that is wrong.
fn written(tuning: &Tuning, wrong: &[Wrong]) -> Vec<u8> {
    let line = |Wrong { op, what }: &Wrong| format!("{op} {}\n", what.replace('\n', " "));
    format!("{}\n{}", tiles(tuning), wrong.iter().map(line).collect::<String>()).into_bytes()
}

/// The verdict, if it is one on these tiles.
fn read(tuning: &Tuning, text: &[u8]) -> Option<Vec<Wrong>> {
    let line = |line: &str| {
        let (name, what) = line.split_once(' ')?;
        let op = OP_NAMES.iter().find(|op| **op == name)?;
        Some(Wrong { op, what: what.to_owned() })
    };
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    if lines.next()? != tiles(tuning) {
        return None;
    }
    lines.map(line).collect()
}

fn tiles(tuning: &Tuning) -> String {
    format!("tiles {}", blake3::hash(&tuning.measured.written()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{adapter, open};
    use crate::cache::Cache;
    use crate::measured::Measured;
    use crate::tune;
    use crate::tuning::Class;
    use wgpu::Limits;

    #[test]
    fn every_op_has_a_problem() {
        assert!(OP_NAMES.iter().all(|op| TRIALS.iter().any(|(of, _)| of == op)));
    }

    #[test]
    fn an_answer_is_wrong_if_any_value_is() {
        let of = |got: &[f32], wanted: &[f64]| differs(&Answer { got: got.to_vec(), wanted: wanted.to_vec() });
        assert_eq!(of(&[1.0, 0.0], &[1.0, 1e-6]), None);
        assert!(of(&[1.0, f32::NAN], &[1.0, 0.0]).is_some_and(|what| what.contains("value 1 of 2 is NaN")));
        assert!(of(&[1.0], &[1.0, 0.0]).is_some());
        assert!(of(&[1001.0], &[1000.0]).is_some());
    }

    #[test]
    fn a_verdict_comes_back_as_it_was_kept_for_the_tiles_it_is_about() {
        let seeded = Tuning::new(&Limits::default(), Class::default(), "").unwrap();
        let mut tuned = seeded;
        tuned.measured.set(Family::Matmul, 8, 64, Tile::Middle);
        let wrong = vec![Wrong { op: "softmax", what: "value 1 of 2".into() }];
        let kept = written(&seeded, &wrong);
        assert_eq!((read(&seeded, &kept), read(&tuned, &kept)), (Some(wrong), None));
        assert_eq!(read(&tuned, &written(&tuned, &[])), Some(Vec::new()));
        for text in ["no_such_op wrong\n", "softmax\n"] {
            assert_eq!(read(&seeded, format!("{}\n{text}", tiles(&seeded)).as_bytes()), None);
        }
        assert_eq!((read(&seeded, b""), read(&seeded, b"softmax wrong\n"), read(&seeded, b"\xff")), (None, None, None));
    }

    #[test]
    fn every_tile_in_use_is_tested_and_measured_ones_in_every_form() {
        let limits = Limits { max_compute_workgroup_storage_size: 32 << 10, ..Limits::default() };
        let mut tuning = Tuning::new(&limits, Class::default(), "").unwrap();
        let of = |tuning: &Tuning, family| {
            let products = products(tuning).into_iter().filter(move |of| of.0 == family);
            products.map(|(_, tile, form, _)| (tile, form)).collect::<Vec<_>>()
        };
        let tiles = [Tile::Small, Tile::Middle, Tile::Large];
        for family in Family::ALL {
            assert_eq!(of(&tuning, family), tiles.map(|tile| (tile, Form::of(family)[0])));
        }
        tuning.measured.set(Family::Linear, 8, 4096, Tile::Large);
        tuning.measured.leave_out(Family::LinearInt8, Tile::Middle);
        let all = |family, tiles: &[Tile]| -> Vec<_> {
            tiles.iter().flat_map(|tile| Form::of(family).into_iter().map(|form| (*tile, form))).collect()
        };
        assert_eq!(of(&tuning, Family::Linear), all(Family::Linear, &tiles));
        assert_eq!(of(&tuning, Family::LinearInt8), all(Family::LinearInt8, &[Tile::Small, Tile::Large]));
        assert_eq!(of(&tuning, Family::Matmul).len(), 3);
    }

    #[test]
    fn want_of_memory_is_no_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let on = open(&adapter, "", Cache::new(Some(folder.path().to_owned()), &adapter.get_info(), "")).unwrap();
        let refused = || on.queue.faults().enter("copy").is_err();
        on.refuse(&[Wrong { op: "copy", what: "of an earlier test".into() }]);
        on.counters.refuse(2);
        assert!(matches!(on.self_test(), Err(Error::OutOfMemory { .. })));
        assert!(refused());
        assert_eq!(on.cache.load(KEPT), None);
    }

    /// A verdict on other tiles does not let these run.
    #[test]
    fn a_device_is_tested_again_once_tiles_were_measured() {
        let folder = tempfile::tempdir().unwrap();
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let opened = || open(&adapter, "", Cache::new(Some(folder.path().to_owned()), &adapter.get_info(), "")).unwrap();
        let seeded = opened();
        seeded.cache.store(KEPT, &written(&seeded.tuning, &[Wrong { op: "copy", what: "by this verdict".into() }])).unwrap();
        let refused = |on: &WgpuBackend| on.queue.faults().enter("copy").is_err();
        assert!(refused(&opened().tested().unwrap()));
        let mut tiles = Measured::default();
        tiles.set(Family::MatmulInt8, 8, 64, Tile::Middle);
        seeded.cache.store(tune::KEPT, &tiles.written()).unwrap();
        assert!(!refused(&opened().tested().unwrap()));
    }
}
