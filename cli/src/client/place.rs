//! Where in a log the reader is, so that it finds the place again through another master. Pure.
//!
//! Masters know logs by lines from their end, which moves. So the last lines that were printed are looked
//! for in the whole log: where they are, or, when it was read from its beginning, at their offset.

/// Printed bytes that are kept to be found again, in whole lines.
const TAIL_BYTES: usize = 1024;

/// What was printed of a log.
#[derive(Clone, Debug)]
pub struct Place {
    /// Bytes printed since the beginning of the log; `None` when it was read from somewhere else.
    offset: Option<u64>,
    /// The last lines.
    tail: Vec<u8>,
}

impl Place {
    /// Nothing was printed yet.
    pub fn new(from_start: bool) -> Self {
        Self { offset: from_start.then_some(0), tail: Vec::new() }
    }

    /// Whole lines were printed.
    pub fn printed(&mut self, lines: &[u8]) {
        if let Some(offset) = &mut self.offset {
            *offset += lines.len() as u64;
        }
        self.tail.extend_from_slice(lines);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        let mut starts =
            self.tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        // Beginning with a line, and never without one.
        if let Some(start) = starts.by_ref().take_while(|start| *start <= excess).last() {
            self.tail.drain(..start);
        }
    }

    /// From now on the place is so far into the log as it is now.
    pub fn found(&mut self, offset: u64) {
        self.offset = Some(offset);
    }
}

/// Looks for a place in a log that is read from its beginning.
#[derive(Debug)]
pub struct Search<'a> {
    place: &'a Place,
    /// Begins with a line.
    unread: Vec<u8>,
    /// Offset of `unread`.
    at: u64,
    found: Option<u64>,
    exact: bool,
}

impl<'a> Search<'a> {
    /// Looks for `place`.
    pub fn new(place: &'a Place) -> Self {
        Self { place, unread: Vec::new(), at: 0, found: None, exact: false }
    }

    /// The next bytes of the log.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.exact || self.place.tail.is_empty() {
            return;
        }
        self.unread.extend_from_slice(bytes);
        let tail = &self.place.tail;
        let mut start = 0;
        while self.unread.len() - start >= tail.len() {
            if self.unread[start..].starts_with(tail) {
                let end = self.at + (start + tail.len()) as u64;
                self.found = Some(end);
                self.exact = self.place.offset == Some(end);
            }
            let line = self.unread[start..].iter().position(|byte| *byte == b'\n');
            let Some(line) = line.filter(|_| !self.exact) else { break };
            start += line + 1;
        }
        self.at += start as u64;
        self.unread.drain(..start);
    }

    /// Where to go on: behind what was printed. `None`: that is not in the log any more, since it was cut.
    /// Nothing printed yet is found at the beginning.
    pub fn end(self) -> Option<u64> {
        if self.place.tail.is_empty() { Some(0) } else { self.found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from_start: bool, printed: &[&str], log: &str) -> Option<u64> {
        let mut place = Place::new(from_start);
        printed.iter().for_each(|lines| place.printed(lines.as_bytes()));
        let at_once = {
            let mut search = Search::new(&place);
            search.take(log.as_bytes());
            search.end()
        };
        let mut search = Search::new(&place);
        log.as_bytes().chunks(3).for_each(|chunk| search.take(chunk));
        assert_eq!(search.end(), at_once, "in pieces");
        at_once
    }

    #[test]
    fn goes_on_behind_what_was_printed() {
        let log = "a\nb\nb\nb\nc\n";
        assert_eq!(found(true, &["a\n", "b\n"], log), Some(4));
        assert_eq!(found(true, &["a\nb\nb\n"], log), Some(6));
        assert_eq!(found(false, &["b\nc\n"], log), Some(10));
        assert_eq!(found(false, &["b\n"], log), Some(8), "the last of several");
        assert_eq!(found(true, &[], log), Some(0));
        assert_eq!(found(true, &["a\nx\n"], log), None, "cut and written anew");
        assert_eq!(found(true, &["z\na\n"], "a\n"), None);
    }

    #[test]
    fn only_the_last_lines_are_kept_and_at_least_one() {
        let mut place = Place::new(true);
        let line = format!("{}\n", "x".repeat(99));
        (0..100).for_each(|_| place.printed(line.as_bytes()));
        assert!(
            place.tail.len() <= TAIL_BYTES + 100 && place.tail.starts_with(b"xxx"),
            "{}",
            place.tail.len()
        );
        let long = format!("{}\n", "y".repeat(5000));
        place.printed(long.as_bytes());
        assert_eq!(place.tail, long.as_bytes());
        assert_eq!(place.offset, Some(100 * 100 + 5001));
    }
}
