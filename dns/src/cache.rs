//! A bounded memory of answers, as bytes. Pure: the time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::packet;

/// Answers that are kept; the oldest goes first.
const ENTRIES_MAX: usize = 2048;

/// Larger answers are not kept, so that the whole cache stays below 4 MiB.
const ANSWER_MAX: usize = 2048;

/// What is promised for longer than this is asked again all the same.
const TTL_MAX: u32 = 3600;

/// Answers by question.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    answers: HashMap<Vec<u8>, Kept>,
    /// Keys in the order of their first entry; each once.
    order: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Kept {
    reply: Vec<u8>,
    at: Instant,
    ttl: Duration,
}

impl Cache {
    /// Keeps the answer to a query, if it may be kept.
    pub(crate) fn put(&mut self, query: &[u8], reply: &[u8], now: Instant) {
        let keep = reply.len() <= ANSWER_MAX && !packet::is_truncated(reply);
        let Some(ttl) = packet::ttl_min(reply).filter(|_| keep) else {
            return;
        };
        let Some(key) = packet::cache_key(query) else {
            return;
        };
        let ttl = Duration::from_secs(ttl.min(TTL_MAX).into());
        let kept = Kept { reply: reply.to_vec(), at: now, ttl };
        if self.answers.insert(key.clone(), kept).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > ENTRIES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }

    /// The answer to a query while it is good, with what is left of its time to live.
    pub(crate) fn fresh(&self, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        let kept = self.answers.get(&packet::cache_key(query)?)?;
        let age = now.saturating_duration_since(kept.at);
        let old = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        (age < kept.ttl).then(|| kept.for_asker(query, |ttl| ttl.min(TTL_MAX).saturating_sub(old)))
    }

    /// The last answer to a query however old it is, to be forgotten after a second.
    pub(crate) fn stale(&self, query: &[u8]) -> Option<Vec<u8>> {
        let kept = self.answers.get(&packet::cache_key(query)?)?;
        Some(kept.for_asker(query, |_| 1))
    }
}

impl Kept {
    fn for_asker(&self, query: &[u8], ttl: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut reply = self.reply.clone();
        packet::map_ttls(&mut reply, ttl);
        packet::readdress(&mut reply, query);
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{query, reply};
    use hickory_proto::op::Message;
    use hickory_proto::rr::RecordType;

    fn ask(name: &str) -> Vec<u8> {
        query(name, RecordType::A, None)
    }

    #[test]
    fn answers_age_and_go() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cache = Cache::default();
        cache.put(&ask("web.example."), &reply(&ask("web.example."), [[10, 0, 0, 1]], 30), start);
        let mut other = ask("WEB.example.");
        packet::set_id(&mut other, 9);
        let later = Message::from_vec(&cache.fresh(&other, start + 10 * second).unwrap()).unwrap();
        assert_eq!((later.metadata.id, later.answers[0].ttl), (9, 20));
        assert_eq!(later.queries[0].name().to_string(), "WEB.example.");
        assert!(cache.fresh(&other, start + 30 * second).is_none());
        let stale = Message::from_vec(&cache.stale(&other).unwrap()).unwrap();
        assert_eq!((stale.answers[0].ttl, stale.answers.len()), (1, 1));
        assert!(cache.fresh(&query("web.example.", RecordType::AAAA, None), start).is_none());
    }

    #[test]
    fn what_must_not_be_kept_is_not() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let query = ask("web.example.");
        cache.put(&query, &packet::truncated(&query), now);
        cache.put(&query, &packet::error(&query, hickory_proto::op::ResponseCode::NXDomain), now);
        cache.put(&query, b"nonsense", now);
        let mut cut = reply(&query, [[10, 0, 0, 1]], 30);
        cut[2] |= 2;
        cache.put(&query, &cut, now);
        assert!(cache.stale(&query).is_none());
    }

    #[test]
    fn it_stays_bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for n in 0..ENTRIES_MAX + 10 {
            let query = ask(&format!("n{n}.example."));
            cache.put(&query, &reply(&query, [[10, 0, 0, 1]], 30), now);
            cache.put(&query, &reply(&query, [[10, 0, 0, 2]], 30), now);
        }
        assert_eq!((cache.answers.len(), cache.order.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(cache.fresh(&ask("n0.example."), now).is_none());
        assert!(cache.fresh(&ask(&format!("n{}.example.", ENTRIES_MAX + 9)), now).is_some());
    }
}
