//! Where on disk the entries of the log are: one record for each frame that holds some of them, not for each
//! entry. Pure.

use std::collections::VecDeque;

/// A frame with entries that still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the frame's first entry.
    pub first: u64,
    /// Index of the last one that counts: later frames may have replaced the rest.
    pub last: u64,
    pub segment: u64,
    pub offset: u64,
    /// Bytes of the frame.
    pub bytes: usize,
    pub sequence: u64,
}

/// In the order of their entries; together they hold each entry once.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<Place>);

impl Places {
    /// The entries of a new frame replace all from its first one on.
    pub(super) fn push(&mut self, place: Place) {
        while self.0.pop_back_if(|last| last.first >= place.first).is_some() {}
        if let Some(before) = self.0.back_mut() {
            before.last = before.last.min(place.first - 1);
        }
        self.0.push_back(place);
    }

    /// Forgets frames whose entries are all at or before `base`.
    pub(super) fn compact(&mut self, base: u64) {
        while self.0.pop_front_if(|first| first.last <= base).is_some() {}
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The frames from the one that holds `index` on.
    pub(super) fn from(&self, index: u64) -> impl Iterator<Item = &Place> {
        let at = self.0.partition_point(|place| place.last < index);
        self.0.range(at..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(first: u64, last: u64) -> Place {
        Place { first, last, segment: 1, offset: first * 100, bytes: 50, sequence: first }
    }

    fn held(places: &Places) -> Vec<(u64, u64)> {
        places.from(0).map(|place| (place.first, place.last)).collect()
    }

    #[test]
    fn a_new_frame_replaces_the_tail_and_compaction_the_head() {
        let mut places = Places::default();
        for (first, last) in [(2, 4), (5, 9), (10, 10), (7, 8), (9, 12)] {
            places.push(place(first, last));
        }
        assert_eq!(held(&places), [(2, 4), (5, 6), (7, 8), (9, 12)]);
        assert_eq!(places.from(6).map(|place| place.first).collect::<Vec<_>>(), [5, 7, 9]);
        assert_eq!(places.from(13).count(), 0);
        places.compact(7);
        assert_eq!(held(&places), [(7, 8), (9, 12)]);
        places.push(place(3, 3));
        assert_eq!(held(&places), [(3, 3)]);
        places.clear();
        assert_eq!(held(&places), []);
    }
}
