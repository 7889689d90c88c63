//! One axis of a chart: from values to pixels, and where its ticks stand.

/// How values spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log10,
}

/// A range of values laid over a range of pixels; `from_px > to_px` turns it round.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from_px: f64,
    to_px: f64,
}

impl Axis {
    /// An axis that holds all of `values` with some room at both ends; `None` without a value it can show.
    pub(super) fn over(values: impl Iterator<Item = f64>, scale: Scale, from_px: f64, to_px: f64) -> Option<Self> {
        let shown = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) = shown.fold(None, |range: Option<(f64, f64)>, value| {
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })?;
        let (low, high) = match scale {
            Scale::Linear => {
                let room = if high > low { (high - low) * 0.07 } else { (high.abs() * 0.05).max(1e-3) };
                (low - room, high + room)
            }
            Scale::Log10 => {
                let room = ((high / low).powf(0.07)).max(1.5);
                (low / room, high * room)
            }
        };
        Some(Self { scale, low, high, from_px, to_px })
    }

    /// The pixel of a value; values off a log axis stand at its lower end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log10 => (value.max(f64::MIN_POSITIVE) / self.low).log10() / (self.high / self.low).log10(),
        };
        self.from_px + share.clamp(0.0, 1.0) * (self.to_px - self.from_px)
    }

    /// Lower and upper end.
    pub(super) fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Round values to label, at most about `most`.
    pub(super) fn ticks(&self, most: usize) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.linear_ticks(most),
            Scale::Log10 => self.log_ticks(most),
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / most.max(1) as f64;
        let magnitude = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * magnitude);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<f64> {
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let within = |factors: &[f64]| -> Vec<f64> {
            let values = decades.clone().flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
            values.filter(|value| (self.low..=self.high).contains(value)).collect()
        };
        let [fine, middle, coarse] = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(within);
        if fine.len() <= most {
            fine
        } else if middle.len() <= most {
            middle
        } else {
            let step = coarse.len().div_ceil(most.max(1)).max(1);
            coarse.into_iter().step_by(step).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn log_axes_place_decades_evenly() {
        let axis = Axis::over([1.0, 1000.0].into_iter(), Scale::Log10, 0.0, 300.0).unwrap();
        let steps: Vec<f64> = [1.0, 10.0, 100.0, 1000.0].map(|value| axis.at(value)).windows(2).map(|w| w[1] - w[0]).collect();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-9 && *step > 0.0), "{steps:?}");
        assert_eq!(axis.ticks(5), [1.0, 10.0, 100.0, 1000.0]);
    }

    #[test]
    fn an_axis_needs_a_value() {
        assert!(Axis::over([f64::NAN].into_iter(), Scale::Linear, 0.0, 1.0).is_none());
        assert!(Axis::over([0.0, -1.0].into_iter(), Scale::Log10, 0.0, 1.0).is_none());
    }

    proptest! {
        #[test]
        fn values_and_ticks_stay_on_the_axis(values in prop::collection::vec(1e-9f64..1e9, 1..20), log: bool) {
            let scale = if log { Scale::Log10 } else { Scale::Linear };
            let axis = Axis::over(values.iter().copied(), scale, 300.0, 40.0).unwrap();
            for value in values {
                prop_assert!((40.0..=300.0).contains(&axis.at(value)));
            }
            let ticks = axis.ticks(6);
            prop_assert!(ticks.len() <= 8, "{:?}", ticks);
            prop_assert!(ticks.iter().all(|tick| (40.0..=300.0).contains(&axis.at(*tick))));
        }
    }
}
