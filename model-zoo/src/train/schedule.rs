//! The learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate changes over a run. Steps count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// The same at every step.
    Constant {
        /// Learning rate.
        lr: f32,
    },
    /// Up in a straight line, down along half a cosine: peak · (step + 1)/warmup, then
    /// floor + ½·(peak − floor)·(1 + cos(π·(step − warmup)/(total − warmup))), and `floor` from `total` on.
    WarmupCosine {
        /// Largest learning rate.
        peak: f32,
        /// Last learning rate.
        floor: f32,
        /// Steps until the peak.
        warmup_steps: u64,
        /// Steps until the floor.
        total_steps: u64,
    },
    /// Up and down in straight lines.
    WarmupLinear {
        /// Largest learning rate.
        peak: f32,
        /// Last learning rate.
        floor: f32,
        /// Steps until the peak.
        warmup_steps: u64,
        /// Steps until the floor.
        total_steps: u64,
    },
}

impl Schedule {
    /// Rates are finite and not negative, and the warm-up ends before the run.
    ///
    /// # Errors
    /// `Config` naming what is out of range.
    pub fn check(&self) -> Result<()> {
        let rates = |rates: &[(&'static str, f32)]| {
            let bad = rates.iter().find(|(_, rate)| !rate.is_finite() || *rate < 0.0);
            bad.map_or(Ok(()), |(name, rate)| Err(Error::config(name, format!("{rate} is no rate: finite and not negative"))))
        };
        match *self {
            Self::Constant { lr } => rates(&[("lr", lr)]),
            Self::WarmupCosine { peak, floor, warmup_steps, total_steps }
            | Self::WarmupLinear { peak, floor, warmup_steps, total_steps } => {
                rates(&[("peak", peak), ("floor", floor)])?;
                match warmup_steps <= total_steps {
                    true => Ok(()),
                    false => Err(Error::config("warmup_steps", format!("{warmup_steps} exceeds the {total_steps} steps in all"))),
                }
            }
        }
    }

    /// Learning rate of `step`, counted from 0.
    pub fn lr(&self, step: u64) -> f32 {
        match *self {
            Self::Constant { lr } => lr,
            Self::WarmupCosine { peak, floor, warmup_steps, total_steps } => {
                let falling = |progress: f64| 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
                warmed(step, peak, floor, warmup_steps, total_steps, falling)
            }
            Self::WarmupLinear { peak, floor, warmup_steps, total_steps } => {
                warmed(step, peak, floor, warmup_steps, total_steps, |progress| 1.0 - progress)
            }
        }
    }
}

fn warmed(step: u64, peak: f32, floor: f32, warmup_steps: u64, total_steps: u64, falling: impl Fn(f64) -> f64) -> f32 {
    let (peak, floor) = (f64::from(peak), f64::from(floor));
    if step < warmup_steps {
        return (peak * (step + 1) as f64 / warmup_steps as f64) as f32;
    }
    if step >= total_steps {
        return floor as f32;
    }
    let progress = (step - warmup_steps) as f64 / (total_steps - warmup_steps) as f64;
    (floor + (peak - floor) * falling(progress)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_to_the_peak_and_falls_to_the_floor() {
        let cosine = Schedule::WarmupCosine { peak: 0.8, floor: 0.08, warmup_steps: 4, total_steps: 12 };
        let linear = Schedule::WarmupLinear { peak: 0.8, floor: 0.08, warmup_steps: 4, total_steps: 12 };
        for schedule in [cosine, linear] {
            schedule.check().unwrap();
            for (step, lr) in [(0, 0.2), (1, 0.4), (3, 0.8), (4, 0.8), (8, 0.44), (12, 0.08), (u64::MAX, 0.08)] {
                assert!((schedule.lr(step) - lr).abs() < 1e-7, "{schedule:?} at {step}: {}", schedule.lr(step));
            }
            assert!((4..12).all(|step| schedule.lr(step) > schedule.lr(step + 1)));
        }
        // ½·(1 + cos(π/4)) of the way from floor to peak.
        assert!((cosine.lr(6) - 0.694_558_44).abs() < 1e-6);
        assert!((linear.lr(6) - 0.62).abs() < 1e-6);
    }

    #[test]
    fn runs_without_warmup_or_without_steps_are_defined() {
        let schedule = |warmup_steps, total_steps| Schedule::WarmupCosine { peak: 1.0, floor: 0.0, warmup_steps, total_steps };
        assert_eq!(schedule(0, 10).lr(0), 1.0);
        assert_eq!(schedule(0, 0).lr(0), 0.0);
        assert_eq!(schedule(5, 5).lr(4), 1.0);
        assert!(schedule(6, 5).check().is_err());
        assert!(Schedule::Constant { lr: f32::NAN }.check().is_err());
    }
}
