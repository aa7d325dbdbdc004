//! A machine for tests: it remembers every entry it was given, and a window into it stays outside.

mod driven;
mod foreign;
mod group;
mod members;
pub(crate) mod network;
mod news;
mod rebirth;
mod single;
mod storm;
mod three;

use std::sync::{Arc, Mutex, MutexGuard};

use super::{Frozen, Machine};

/// What the machine has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub entries: Vec<(u64, Vec<u8>)>,
    pub restored: Vec<u64>,
    /// Term, leader, leading; and how many entries were applied by then.
    pub leadership: Vec<(u64, Option<u64>, bool, usize)>,
}

/// The machine, and the window into it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Seen>>);

impl Recorder {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.seen().entries.iter().map(|(_, entry)| String::from_utf8(entry.clone()).unwrap()).collect()
    }
}

impl Machine for Recorder {
    type Output = (u64, usize);

    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Self::Output, String> {
        if entry == b"unreadable" {
            return Err("of another time".to_owned());
        }
        assert_ne!(entry, b"panic", "asked to");
        let mut seen = self.seen();
        assert!(seen.entries.last().is_none_or(|(last, _)| *last < index), "applied twice");
        seen.entries.push((index, entry.to_vec()));
        Ok((index, seen.entries.len()))
    }

    fn applied(&mut self) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Copy(self.seen().entries.clone()))
    }

    fn restore(&mut self, index: u64, chunks: Vec<Vec<u8>>) -> Result<(), String> {
        let decode = |chunk: &Vec<u8>| postcard::from_bytes::<Vec<(u64, Vec<u8>)>>(chunk);
        let chunks: Result<Vec<_>, _> = chunks.iter().map(decode).collect();
        let mut seen = self.seen();
        seen.entries = chunks.map_err(|error| error.to_string())?.concat();
        seen.restored.push(index);
        Ok(())
    }

    fn leadership(&mut self, term: u64, leader: Option<u64>, leading: bool) {
        let mut seen = self.seen();
        let applied = seen.entries.len();
        seen.leadership.push((term, leader, leading, applied));
    }
}

struct Copy(Vec<(u64, Vec<u8>)>);

impl Frozen for Copy {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Vec<u8>>> {
        let encode = |part: &[(u64, Vec<u8>)]| postcard::to_stdvec(part).unwrap();
        Box::new(self.0.chunks(7).map(encode).collect::<Vec<_>>().into_iter())
    }
}
