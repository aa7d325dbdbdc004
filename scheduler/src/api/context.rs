//! What every handler works with: the cluster, the API's own news and counters, the clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spec::time::Timestamp;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::election::Election;
use super::event_shapes::EventShape;
use super::failure::Failure;
use super::forward::Forwarder;
use super::memory::Memory;
use super::tally::Tally;
use crate::cluster::{AskError, Cluster};

/// News of the API itself (`api_post_event`, streams that came and went) that a slow stream may be behind.
const NEWS_BACKLOG: usize = 1024;

/// How long a leader may take to make sure that it leads; without a majority it knows much earlier.
const CURRENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shared by all requests.
#[derive(Debug)]
pub(super) struct Api {
    /// The master's shared part.
    pub cluster: Arc<Cluster>,
    /// Events that do not come out of the replicated log.
    pub news: broadcast::Sender<Arc<EventShape>>,
    /// What the log brought lately.
    pub memory: Arc<Memory>,
    /// Counters for `/metrics`.
    pub tally: Arc<Tally>,
    /// Who leads, and how long that is waited for.
    pub election: Arc<Election>,
    /// The way to the leader.
    pub forwarder: Forwarder,
    /// Ends every open stream.
    pub ending: CancellationToken,
}

impl Api {
    /// A fresh one; counters begin at zero.
    pub fn new(cluster: Arc<Cluster>, ending: CancellationToken) -> Arc<Self> {
        let tally = Tally::watching(&cluster, now());
        Arc::new(Self {
            news: broadcast::channel(NEWS_BACKLOG).0,
            memory: Memory::watching(&cluster, tally.clone()),
            tally,
            election: Election::watching(&cluster),
            forwarder: Forwarder::new(&cluster.options.advertised_http),
            ending,
            cluster,
        })
    }

    /// Waits until this master, which leads, has applied all that was acknowledged before.
    pub async fn current(&self) -> Result<(), Failure> {
        let current = tokio::time::timeout(CURRENT_TIMEOUT, self.cluster.current()).await;
        current.unwrap_or(Err(AskError::TimedOut)).map_err(|error| Failure::unreadable(&error))
    }
}

/// The wall clock.
pub(super) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
