//! Waiting for a leader: a request that nobody could take may wait out an election, but never longer than
//! an election takes. Decides nothing about who answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::{Cluster, Leadership};

/// What a request waits for a leader, counted from the moment when there was none any more: a cluster that
/// has no majority answers at once, not after a second each time. An election with the default timing ends
/// within it; clients see a slow answer then, and no failure.
const ELECTION_WAIT: Duration = Duration::from_secs(1);

/// Since when there is nobody to turn to.
#[derive(Debug)]
pub(super) struct Election {
    leadership: watch::Receiver<Leadership>,
    leaderless: Mutex<Option<Instant>>,
}

impl Election {
    /// Watches for as long as somebody holds it.
    pub fn watching(cluster: &Cluster) -> Arc<Self> {
        let leadership = cluster.leadership();
        let election = Arc::new(Self { leadership, leaderless: Mutex::new(None) });
        let (weak, mut news) = (Arc::downgrade(&election), cluster.leadership());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    let someone = answers(&news.borrow_and_update());
                    let Some(election) = weak.upgrade() else { return };
                    election.note(someone, Instant::now());
                    drop(election);
                    if news.changed().await.is_err() {
                        return;
                    }
                }
            });
        }
        election
    }

    fn note(&self, someone: bool, now: Instant) {
        let mut leaderless = self.leaderless.lock().unwrap_or_else(PoisonError::into_inner);
        *leaderless = if someone { None } else { leaderless.or(Some(now)) };
    }

    /// Who leads as far as this master knows.
    pub fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// News of who leads.
    pub fn news(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Until when a request that finds nobody now may wait.
    pub fn patience(&self) -> Instant {
        let leaderless = *self.leaderless.lock().unwrap_or_else(PoisonError::into_inner);
        leaderless.unwrap_or_else(Instant::now) + ELECTION_WAIT
    }

    /// Waits until somebody else, or this master in another term, may answer than under `tried`. `false`: nobody by then.
    pub async fn another(&self, tried: &Leadership, deadline: Instant) -> bool {
        let mut news = self.news();
        let other = news.wait_for(|now| answers(now) && now != tried);
        matches!(tokio::time::timeout_at(deadline, other).await, Ok(Ok(_)))
    }
}

/// A master that leads but has not applied what its term began with is named, and does not lead yet: asking
/// it is no use, but it is waited for where it is (see `decide`).
fn answers(leadership: &Leadership) -> bool {
    leadership.leading || leadership.leader_http.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(term: u64, name: Option<&str>) -> Leadership {
        Leadership { term, leading: false, leader_http: name.map(str::to_owned) }
    }

    async fn settled(election: &Election, leaderless: bool) {
        while election.leaderless.lock().unwrap().is_some() != leaderless {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_election_is_waited_for_and_a_lasting_lack_of_leaders_is_not() {
        let (cluster, _inlets) = Cluster::new(crate::api::tests::options());
        let election = Election::watching(&cluster);
        let (first, none, second) = (leader(1, Some("a:1")), leader(2, None), leader(2, Some("b:1")));
        cluster.set_leadership(first.clone());
        settled(&election, false).await;
        // Its leader is said to lead but does not answer: from now on.
        assert_eq!(election.patience(), Instant::now() + ELECTION_WAIT);
        assert!(!election.another(&first, Instant::now() + ELECTION_WAIT).await);

        cluster.set_leadership(none.clone());
        settled(&election, true).await;
        let lost = Instant::now();
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(election.patience(), lost + ELECTION_WAIT);
        let waiting = election.another(&none, election.patience());
        cluster.set_leadership(second);
        assert!(waiting.await);

        cluster.set_leadership(none.clone());
        settled(&election, true).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let began = Instant::now();
        assert!(!election.another(&none, election.patience()).await);
        assert_eq!(began.elapsed(), Duration::ZERO, "there has been no leader for a minute");
    }
}
