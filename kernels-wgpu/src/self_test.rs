//! The self-test of a device: every op on a small problem with a known answer. An op that fails is refused from then on.

use crate::WgpuBackend;
use crate::cache::notice;
use crate::trials::{Answer, Desk, TRIALS};
use crate::tuning::Tuning;
use kernels::{Error, OP_NAMES, Result};

/// Largest error of an answer, relative to it and 1: far above roundings, far below what a wrong kernel gives.
const TOLERANCE: f64 = 1e-4;
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
    /// Runs every op on a small problem with a known answer, and waits for it. An op that fails is
    /// [`Quarantined`](Error::Quarantined) from then on: refused, until a later self-test passes. The verdict is kept on disk for
    /// [`WgpuBackend::tested`].
    ///
    /// # Errors
    /// A fault of the device, or `OutOfMemory`: then there is no verdict, and what was refused before still is.
    pub fn self_test(&self) -> Result<Vec<Wrong>> {
        let faults = self.queue.faults();
        let before = faults.quarantine(&self.info.name, self.tuning.unusable());
        let wrong = match self.wrong() {
            Ok(wrong) => wrong,
            Err(error) => {
                faults.quarantine(&self.info.name, before);
                return Err(error);
            }
        };
        self.refuse(&wrong);
        self.cache.keep(KEPT, &written(&self.tuning, &wrong));
        Ok(wrong)
    }

    fn wrong(&self) -> Result<Vec<Wrong>> {
        let mut wrong = Vec::new();
        for (op, trial) in TRIALS {
            let what = found(trial(&Desk(self)).map(|answer| differs(&answer)))?;
            wrong.extend(what.map(|what| Wrong { op, what }));
        }
        Ok(wrong)
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
        for Wrong { op, what } in wrong {
            notice(&format!("{op} computes wrong on {} and is refused: {what}", self.info.name));
        }
        self.queue.faults().quarantine(&self.info.name, wrong.to_vec());
    }
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
    use crate::product::{Family, Tile};
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
        assert_eq!(on.self_test(), Ok(Vec::new()));
        assert!(!refused() && on.cache.load(KEPT).is_some());
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
        tiles.set(Family::Matmul, 8, 64, Tile::Middle);
        seeded.cache.store(tune::KEPT, &tiles.written()).unwrap();
        assert!(!refused(&opened().tested().unwrap()));
    }
}
