//! Ids of new instances: UUIDs in the form of version 1, which Marathon's clients parse and sort. Made of
//! the batch's time, index and seed, so that every master makes the same ones.

use spec::time::Timestamp;
use uuid::Uuid;

/// 100 ns ticks from the Gregorian reform, where version 1 begins to count, to the Unix epoch.
const EPOCH_TICKS: u64 = 0x01B2_1DD2_1381_4000;
const TICKS_PER_MILLI: u64 = 10_000;

/// The ids of one batch, in order.
pub(super) struct InstanceIds {
    ticks: u64,
    /// Clock sequence and node: 62 random bits, so that two batches of one instant differ.
    tail: [u8; 8],
}

impl InstanceIds {
    pub(super) fn new(now: Timestamp, seed: u64, index: u64) -> Self {
        let mut tail = mix(seed ^ mix(index)).to_be_bytes();
        tail[0] = tail[0] & 0x3f | 0x80;
        // The multicast bit says that the node is no network card (RFC 9562, section 6.10).
        tail[2] |= 1;
        Self { ticks: now.millis().wrapping_mul(TICKS_PER_MILLI).wrapping_add(EPOCH_TICKS), tail }
    }

    pub(super) fn draw(&mut self) -> Uuid {
        let ticks = self.ticks;
        self.ticks = ticks.wrapping_add(1);
        let high = (ticks >> 48) as u16 & 0x0fff | 0x1000;
        Uuid::from_fields(ticks as u32, (ticks >> 32) as u16, high, &self.tail)
    }
}

/// The finaliser of SplitMix64: every input bit moves every output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_1_and_differ_by_time_seed_index_and_count() {
        let draw = |at, seed, index| InstanceIds::new(Timestamp::from_millis(at), seed, index).draw();
        let id = draw(1_577_836_800_000, 7, 1);
        assert_eq!((id.get_version_num(), id.get_variant()), (1, uuid::Variant::RFC4122));
        assert_eq!(id, draw(1_577_836_800_000, 7, 1));
        assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_577_836_800);
        let mut ids = InstanceIds::new(Timestamp::from_millis(1_577_836_800_000), 7, 1);
        let others = [draw(1, 7, 1), draw(1_577_836_800_000, 8, 1), draw(1_577_836_800_000, 7, 2)];
        assert_eq!(ids.draw(), id);
        assert!(!others.contains(&id) && ids.draw() != id);
    }
}
