//! The order of the examples as a pure function of (seed, epoch, index), so that a run can be resumed anywhere.

use crate::random::Random;

/// A permutation of `0..len` per epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    len: u64,
}

/// Rounds of the Feistel network; four make it indistinguishable from a random permutation for statistical purposes.
const ROUNDS: u64 = 4;

impl Order {
    /// Orders of `len` examples.
    pub fn new(seed: u64, len: usize) -> Self {
        Self { seed, len: len as u64 }
    }

    /// Example at place `index` of `epoch`; `index` beyond the end wraps around. 0 if there are no examples.
    ///
    /// # Source
    /// Luby and Rackoff, *How to construct pseudorandom permutations from pseudorandom functions* (1988), on the smallest square
    /// that holds `len`, walked until the result is below `len` (Black and Rogaway, *Ciphers with arbitrary finite domains*, 2002).
    pub fn example(&self, epoch: u64, index: usize) -> usize {
        if self.len < 2 {
            return 0;
        }
        let half_bits = (u64::BITS - (self.len - 1).leading_zeros()).div_ceil(2);
        let mask = (1u64 << half_bits) - 1;
        let mut at = index as u64 % self.len;
        loop {
            let (mut left, mut right) = (at >> half_bits, at & mask);
            for round in 0..ROUNDS {
                let key = Random::stream(self.seed, epoch * ROUNDS + round).next_u64();
                let mixed = Random::new(key ^ right).next_u64() & mask;
                (left, right) = (right, left ^ mixed);
            }
            at = left << half_bits | right;
            if at < self.len {
                return at as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_shows_every_example_once_and_in_another_order() {
        for len in [1, 2, 3, 7, 64, 65, 1000] {
            let order = Order::new(42, len);
            let epoch = |epoch| (0..len).map(|index| order.example(epoch, index)).collect::<Vec<_>>();
            let mut sorted = epoch(3);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..len).collect::<Vec<_>>());
            if len >= 64 {
                assert_ne!(epoch(0), epoch(1));
                assert_ne!(epoch(0), Vec::from_iter((0..len).map(|index| Order::new(43, len).example(0, index))));
            }
        }
        assert_eq!(Order::new(1, 0).example(0, 5), 0);
    }

    #[test]
    fn places_are_uniform_and_neighbours_are_not_kept_together() {
        const LEN: usize = 100;
        let (mut first, mut together) = ([0u32; LEN], 0u32);
        for seed in 0..20_000 {
            let order = Order::new(seed, LEN);
            first[order.example(1, 0)] += 1;
            together += u32::from(order.example(1, 0).abs_diff(order.example(1, 1)) == 1);
        }
        // 200 expected in each place, standard deviation 14; neighbours: 20,000 · 2/100 = 400, standard deviation 20.
        assert!(first.iter().all(|&count| (count as f64 - 200.0).abs() < 5.0 * 14.1), "{first:?}");
        assert!((f64::from(together) - 400.0).abs() < 5.0 * 20.0, "{together}");
    }
}
