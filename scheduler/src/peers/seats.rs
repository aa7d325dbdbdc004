//! Who is connected to this master, and for what: one connection of a kind for each other master, the newest.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::wire::Purpose;

/// All seats that are taken.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<u64, Vec<(Purpose, Seat)>>>);

/// One connection's.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    replaced: CancellationToken,
    expelled: CancellationToken,
}

impl Seat {
    /// Resolves when a newer connection is there.
    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Resolves when that master is no member any more.
    pub(super) async fn expelled(&self) {
        self.expelled.cancelled().await;
    }
}

impl Seats {
    /// The seat of a new connection; an older one of that kind has to go.
    pub(super) fn take(&self, from: u64, purpose: Purpose) -> Seat {
        let seat = Seat::default();
        let mut seats = self.lock();
        let seats = seats.entry(from).or_default();
        seats.retain(|(kind, earlier)| {
            if *kind == purpose {
                earlier.replaced.cancel();
            }
            *kind != purpose
        });
        seats.push((purpose, seat.clone()));
        seat
    }

    /// Sends everybody away that is no member any more.
    pub(super) fn expel(&self, is_gone: impl Fn(u64) -> bool) {
        self.lock().retain(|from, seats| {
            let gone = is_gone(*from);
            if gone {
                seats.iter().for_each(|(_, seat)| seat.expelled.cancel());
            }
            !gone
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<(Purpose, Seat)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
