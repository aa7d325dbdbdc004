//! What every handler works with: the cluster, the API's own news and counters, the clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use spec::time::Timestamp;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::event_shapes::EventShape;
use super::tally::Tally;
use crate::cluster::Cluster;

/// News of the API itself (`api_post_event`, streams that came and went) that a slow stream may be behind.
const NEWS_BACKLOG: usize = 1024;

/// Shared by all requests.
#[derive(Debug)]
pub(super) struct Api {
    /// The master's shared part.
    pub cluster: Arc<Cluster>,
    /// Events that do not come out of the replicated log.
    pub news: broadcast::Sender<Arc<EventShape>>,
    /// Counters for `/metrics`.
    pub tally: Arc<Tally>,
    /// Ends every open stream.
    pub ending: CancellationToken,
}

impl Api {
    /// A fresh one; counters begin at zero.
    pub fn new(cluster: Arc<Cluster>, ending: CancellationToken) -> Arc<Self> {
        let tally = Tally::watching(&cluster, now());
        Arc::new(Self { cluster, news: broadcast::channel(NEWS_BACKLOG).0, tally, ending })
    }
}

/// The wall clock.
pub(super) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
