//! Snapshots on their way to other members: who gets one, and whether anybody still reads it. raft sends a
//! member nothing more until it hears how the snapshot went; should the transport never say so, it is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::store::Pieces;

/// Ticks without a piece read and without a report after which a snapshot is given up: two minutes.
pub(super) const SILENCE_TICKS: u64 = 3000;

/// The snapshots being sent.
#[derive(Debug, Default)]
pub(super) struct Shipping(BTreeMap<u64, Shipment>);

#[derive(Debug)]
struct Shipment {
    /// Pieces read so far; counted by whoever reads.
    read: Arc<AtomicU64>,
    seen: u64,
    silent: u64,
}

impl Shipping {
    /// A snapshot leaves for `to`; it takes the place of an earlier one. The pieces, under observation.
    pub(super) fn begin(&mut self, to: u64, pieces: Pieces) -> Pieces {
        let read = Arc::new(AtomicU64::new(0));
        self.0.insert(to, Shipment { read: Arc::clone(&read), seen: 0, silent: 0 });
        Box::new(pieces.inspect(move |_| {
            read.fetch_add(1, Ordering::Relaxed);
        }))
    }

    /// It was reported how the snapshot for `to` went.
    pub(super) fn ended(&mut self, to: u64) {
        self.0.remove(&to);
    }

    /// Time passes: whose snapshots are lost. Those that raft does not wait for any more are forgotten.
    pub(super) fn tick(&mut self, awaited: impl Fn(u64) -> bool) -> Vec<u64> {
        self.0.retain(|to, _| awaited(*to));
        for shipment in self.0.values_mut() {
            let read = shipment.read.load(Ordering::Relaxed);
            shipment.silent = if read == shipment.seen { shipment.silent + 1 } else { 0 };
            shipment.seen = read;
        }
        self.0.extract_if(.., |_, shipment| shipment.silent >= SILENCE_TICKS).map(|(to, _)| to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_nobody_reads_is_given_up() {
        let mut shipping = Shipping::default();
        let mut pieces = shipping.begin(2, Box::new([Ok(vec![1]), Ok(vec![2])].into_iter()));
        let _three = shipping.begin(3, Box::new(std::iter::empty()));
        let _four = shipping.begin(4, Box::new(std::iter::empty()));
        shipping.ended(4);
        for _ in 1..SILENCE_TICKS {
            assert!(shipping.tick(|_| true).is_empty());
        }
        assert!(pieces.next().is_some());
        assert_eq!(shipping.tick(|_| true), [3]);
        assert!(shipping.tick(|to| to != 2).is_empty());
        assert!((0..SILENCE_TICKS).all(|_| shipping.tick(|_| true).is_empty()), "nobody waits for it");
    }
}
