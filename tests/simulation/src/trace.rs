//! What happened, a line each: virtual time, who, what. Always summed up in a hash, kept as text only when
//! somebody wants to read it.

use std::fmt::{Arguments, Write as _};

use crate::queue::Millis;

/// The story of a run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    line: String,
    lines: Option<Vec<String>>,
    happenings: u64,
}

impl Trace {
    /// A trace; with `keep` its lines can be read afterwards.
    pub fn new(keep: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, line: String::new(), lines: keep.then(Vec::new), happenings: 0 }
    }

    /// Notes one happening.
    pub fn note(&mut self, at: Millis, who: impl std::fmt::Display, what: Arguments<'_>) {
        self.line.clear();
        let _ = write!(self.line, "{:>9} {who:<4} {what}", Seconds(at));
        // FNV-1a: the same on every machine, and no more is asked of it.
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.happenings += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
        }
    }

    /// Sum of everything that was noted.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there are.
    pub fn happenings(&self) -> u64 {
        self.happenings
    }

    /// The lines, if they were kept.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

struct Seconds(Millis);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}.{:03}", self.0 / 1000, self.0 % 1000))
    }
}
