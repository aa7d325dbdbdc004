//! A batch as the bytes of a log entry: a format number, then `postcard`. Old formats stay readable.

use spec::time::Timestamp;

use super::{Batch, Command};

/// The newest format that this version reads.
const FORMAT: u8 = 2;
/// Knew a single master. Format 2 is the same with more commands; what can be said in format 1 is, so that
/// masters of both versions read it while a cluster is being upgraded.
const OF_ONE_MASTER: u8 = 1;

/// What an entry takes besides its commands, at most.
pub const FRAME_BYTES: usize = 64;

/// A log entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Written by a newer version.
    #[error("log entry has format {0}, this version knows up to {FORMAT}: upgrade this master")]
    Format(u8),
    /// Not what was written.
    #[error("log entry is damaged: {0}")]
    Damaged(String),
}

/// Commands as they lie in a log entry, one after the other: what is written while they are counted need not
/// be written again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    bytes: Vec<u8>,
    count: usize,
    of_masters: bool,
}

/// A moment of an [`Encoded`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    count: usize,
    of_masters: bool,
}

impl Mark {
    /// Size of the commands at that moment.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Encoded {
    /// Adds a command.
    pub fn push(&mut self, command: &Command) {
        let bytes = postcard::to_extend(command, std::mem::take(&mut self.bytes));
        self.bytes = bytes.expect("commands hold nothing that postcard or JSON cannot write");
        self.count += 1;
        self.of_masters |= command.is_of_masters();
    }

    /// Where it stands, to come back to.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), count: self.count, of_masters: self.of_masters }
    }

    /// Forgets what was added since.
    pub fn back_to(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        (self.count, self.of_masters) = (mark.count, mark.of_masters);
    }

    /// Their size, without the frame round them.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The log entry that holds them; the same that [`Batch::encode`] yields.
    pub fn entry(&self, at: Timestamp, seed: u64) -> Vec<u8> {
        let mut entry = Vec::with_capacity(self.bytes.len() + FRAME_BYTES);
        entry.push(if self.of_masters { FORMAT } else { OF_ONE_MASTER });
        let mut entry = postcard::to_extend(&(at, seed, self.count), entry).expect("three numbers");
        entry.extend_from_slice(&self.bytes);
        entry
    }
}

impl Batch {
    /// The bytes of a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut commands = Encoded::default();
        self.commands.iter().for_each(|command| commands.push(command));
        commands.entry(self.at, self.seed)
    }

    /// Reads back what [`Batch::encode`] of this or an earlier version wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let damaged = |why: &dyn ToString| BatchError::Damaged(why.to_string());
        match bytes.split_first() {
            None => Err(damaged(&"it is empty")),
            Some((&(OF_ONE_MASTER..=FORMAT), rest)) => match postcard::take_from_bytes(rest) {
                Ok((batch, [])) => Ok(batch),
                Ok((_, more)) => Err(damaged(&format!("{} bytes too many", more.len()))),
                Err(error) => Err(damaged(&error)),
            },
            Some((format, _)) => Err(BatchError::Format(*format)),
        }
    }
}
