//! A batch as the bytes of a log entry: a format number, then `postcard`. Old formats stay readable.

use super::{Batch, Command};

/// The newest format that this version reads.
const FORMAT: u8 = 2;
/// Knew a single master. Format 2 is the same with more commands; what can be said in format 1 is, so that
/// masters of both versions read it while a cluster is being upgraded.
const OF_ONE_MASTER: u8 = 1;

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

impl Batch {
    /// The bytes of a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let format = if self.commands.iter().any(Command::is_of_masters) { FORMAT } else { OF_ONE_MASTER };
        let bytes = postcard::to_extend(self, vec![format]);
        bytes.expect("commands hold nothing that postcard or JSON cannot write")
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
