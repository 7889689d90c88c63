//! Pareto fronts: the rows one would choose from, because no other of them is as good for less.

use crate::report::{Pareto, Quality, Report};
use crate::stats::Interval;

/// A candidate: what it gives and what it takes, both with their noise.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Quality, turned so that more is better.
    pub quality: Interval,
    /// Cost; less is better.
    pub cost: Interval,
}

impl Candidate {
    /// Whether it is at least as good on both axes, overlapping intervals counting as equal, and clearly better on one.
    fn dominates(&self, other: &Candidate) -> bool {
        let (better, worse) = (other.quality.below(self.quality), self.quality.below(other.quality));
        let (cheaper, dearer) = (self.cost.below(other.cost), other.cost.below(self.cost));
        !worse && !dearer && (better || cheaper)
    }
}

/// Which candidates are on the front: none of the front dominates another, and each of the rest is dominated by one
/// of the front. (Only asking who is undominated would not do. Overlap is not transitive: the best row may tie with
/// a cheaper one that itself gives way to a third, clearly worse row, and nothing near the best would be left.)
pub fn front(candidates: &[Candidate]) -> Vec<bool> {
    let mut on_front = vec![false; candidates.len()];
    let mut undecided: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
    while !undecided.is_empty() {
        let dominated = |candidate: &Candidate| undecided.iter().any(|(_, other)| other.dominates(candidate));
        let mut chosen: Vec<(usize, &Candidate)> = undecided.iter().copied().filter(|(_, one)| !dominated(one)).collect();
        if chosen.is_empty() {
            // Wide intervals can dominate each other in a ring: nothing tells its members apart.
            chosen.clone_from(&undecided);
        }
        for (index, _) in &chosen {
            if let Some(mark) = on_front.get_mut(*index) {
                *mark = true;
            }
        }
        undecided.retain(|(index, one)| !chosen.iter().any(|(member, other)| member == index || other.dominates(one)));
    }
    on_front
}

/// Sets `pareto` of every model row, task by task, among the VALID main rows.
pub fn mark(report: &mut Report) {
    for row in &mut report.models {
        row.pareto = Pareto::default();
    }
    let tasks: Vec<String> = report.tasks.iter().map(|task| task.name.clone()).collect();
    for task in &tasks {
        let mut rows: Vec<_> = report
            .models
            .iter_mut()
            .filter(|row| row.task == *task && row.is_main())
            .filter_map(|row| {
                let (quality, latency) = row.ranked()?;
                let (quality, bytes) = (upward(quality), row.file_bytes? as f64);
                let by_latency = Candidate { quality, cost: latency.interval() };
                let by_bytes = Candidate { quality, cost: Interval { low: bytes, high: bytes } };
                Some((by_latency, by_bytes, &mut row.pareto))
            })
            .collect();
        let latency = front(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let bytes = front(&rows.iter().map(|row| row.1).collect::<Vec<_>>());
        for ((_, _, pareto), (latency, bytes)) in rows.iter_mut().zip(latency.into_iter().zip(bytes)) {
            **pareto = Pareto { latency, bytes };
        }
    }
}

/// The interval of a quality, turned so that more is better.
fn upward(quality: &Quality) -> Interval {
    let interval = quality.interval();
    match quality.metric.higher_is_better() {
        true => interval,
        false => Interval { low: -interval.high, high: -interval.low },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::report::Verdict;
    use proptest::prelude::*;

    fn exact(quality: f64, cost: f64) -> Candidate {
        Candidate { quality: Interval { low: quality, high: quality }, cost: Interval { low: cost, high: cost } }
    }

    /// The front of exact points by the textbook: sort by cost, keep what raises the best quality so far.
    fn textbook_front(points: &[(u8, u8)]) -> Vec<bool> {
        points
            .iter()
            .map(|&(quality, cost)| {
                let best_cheaper = points.iter().filter(|other| other.1 < cost).map(|other| other.0).max();
                let best_equal = points.iter().filter(|other| other.1 == cost).map(|other| other.0).max();
                best_equal == Some(quality) && best_cheaper.is_none_or(|best| best < quality)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn exact_points_give_the_textbook_front(points in prop::collection::vec((0u8..12, 0u8..12), 0..30)) {
            let candidates: Vec<_> = points.iter().map(|&(q, c)| exact(q.into(), c.into())).collect();
            prop_assert_eq!(front(&candidates), textbook_front(&points));
        }

        #[test]
        fn noisy_points_keep_a_front_and_never_drop_a_row_for_a_tie(
            points in prop::collection::vec((0u8..50, 0u8..9, 0u8..50, 0u8..9), 1..25)
        ) {
            let interval = |low: u8, width: u8| Interval { low: low.into(), high: (low + width).into() };
            let candidates: Vec<_> = points
                .iter()
                .map(|&(q, qw, c, cw)| Candidate { quality: interval(q, qw), cost: interval(c, cw) })
                .collect();
            let front = front(&candidates);
            for (index, candidate) in candidates.iter().enumerate() {
                let behind = || candidates.iter().zip(&front).any(|(other, on)| *on && other.dominates(candidate));
                prop_assert!(front[index] || behind(), "row {} is off the front for nothing", index);
                let overlaps_all = candidates.iter().all(|other| {
                    candidate.quality.overlaps(other.quality) && candidate.cost.overlaps(other.cost)
                });
                prop_assert!(!overlaps_all || front[index]);
            }
        }
    }

    #[test]
    fn the_best_row_is_represented_although_ties_are_not_transitive() {
        let candidate = |low: f64, high: f64, cost: f64| Candidate { quality: Interval { low, high }, ..exact(0.0, cost) };
        // b ties with a, c with b, but c is clearly better than a: b gives way to a, c stays.
        let [a, b, c] = [candidate(0.80, 0.90, 1.0), candidate(0.85, 0.95, 2.0), candidate(0.92, 0.98, 3.0)];
        assert_eq!(front(&[a, b, c]), [true, false, true]);
    }

    #[test]
    fn fewer_bits_per_byte_are_better() {
        let mut report = fixture::report();
        mark(&mut report);
        let pareto = |id: &str| report.models.iter().find(|row| row.id == id).unwrap().pareto;
        assert_eq!(pareto("rust-lm/order-5 n-gram/f32/cpu"), Pareto { latency: true, bytes: true });
        assert_eq!(pareto("rust-lm/gpt-tiny/distilled-gpt/cpu"), Pareto::default());
    }

    #[test]
    fn only_valid_main_rows_are_marked() {
        let mut report = fixture::report();
        mark(&mut report);
        let marked = |row: &crate::report::ModelRow| row.pareto.latency || row.pareto.bytes;
        assert!(report.models.iter().any(marked));
        let wrong = report.models.iter().find(|row| marked(row) && (row.verdict != Verdict::Valid || !row.is_main()));
        assert_eq!(wrong, None);
    }
}
