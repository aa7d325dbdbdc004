//! What masters have said of themselves on their connections: newer than the replicated state, and known
//! before there is one. Soft: it comes again with the next connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::state::MasterInfo;

/// Masters at once. More than there can be; the ones that were added first go.
const ENTRIES_MAX: usize = 64;
/// Longest name, host or version.
const TEXT_BYTES_MAX: usize = 255;

/// Masters by number.
#[derive(Debug, Default)]
pub(crate) struct Book {
    heard: Mutex<BTreeMap<u64, MasterInfo>>,
    news: Notify,
}

impl Book {
    /// A master has said who it is.
    pub(crate) fn note(&self, id: u64, info: MasterInfo) {
        let mut heard = self.lock();
        if heard.insert(id, info.clone()).as_ref() != Some(&info) {
            self.news.notify_one();
        }
        while heard.len() > ENTRIES_MAX {
            heard.pop_first();
        }
    }

    /// Everybody that was heard of.
    pub(crate) fn all(&self) -> BTreeMap<u64, MasterInfo> {
        self.lock().clone()
    }

    /// Resolves when somebody says something new.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, MasterInfo>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why this cannot go into the replicated state, where everything is bounded and makes sense.
pub(crate) fn flaw(info: &MasterInfo) -> Option<String> {
    let MasterInfo { name, http, rpc, dns, version } = info;
    if [name, http, version].iter().any(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
        return Some(format!("its name, its REST address and its version have 1 to {TEXT_BYTES_MAX} bytes"));
    }
    let unspecified =
        [rpc, dns].into_iter().find(|address| address.ip().is_unspecified() || address.port() == 0);
    unspecified.map(|address| {
        format!("nobody reaches {address}: tell the other masters an address with --advertise IP")
    })
}
