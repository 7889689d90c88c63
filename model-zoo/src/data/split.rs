//! Which examples are held out: the same share of every class, chosen by a seed.

use crate::random::Random;

/// Share of every class that is held out, in percent.
pub(super) const TEST_PERCENT: usize = 20;

/// Indices of the train and of the test examples, each ascending. Of every class, [`TEST_PERCENT`] (rounded, at least one and
/// never all, so a class needs two examples) are held out.
pub(super) fn stratified(labels: &[u32], classes: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        members[label as usize].push(index);
    }
    let (mut train, mut test) = (Vec::with_capacity(labels.len()), Vec::new());
    for (class, mut members) in members.into_iter().enumerate() {
        Random::stream(seed, class as u64).shuffle(&mut members);
        let held_out = ((members.len() * TEST_PERCENT + 50) / 100).max(1).min(members.len().saturating_sub(1));
        test.extend_from_slice(&members[..held_out]);
        train.extend_from_slice(&members[held_out..]);
    }
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_out_a_fifth_of_every_class_and_nothing_twice() {
        let labels: Vec<u32> = (0..1000).map(|i| if i % 10 == 0 { 1 } else { 0 }).chain([2, 2]).collect();
        let (train, test) = stratified(&labels, 3, 42);
        let count = |side: &[usize], class| side.iter().filter(|&&i| labels[i] == class).count();
        assert_eq!([count(&test, 0), count(&test, 1), count(&test, 2)], [180, 20, 1]);
        let mut all: Vec<usize> = train.iter().chain(&test).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
        assert_eq!(stratified(&labels, 3, 42), (train, test.clone()));
        assert_ne!(stratified(&labels, 3, 43).1, test);
    }
}
