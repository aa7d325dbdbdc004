//! A batch as the bytes of a log entry: a format number, then `postcard`. Old formats stay readable.

use super::Batch;

/// The format written by this version.
const FORMAT: u8 = 1;

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
        let bytes = postcard::to_extend(self, vec![FORMAT]);
        bytes.expect("commands hold nothing that postcard or JSON cannot write")
    }

    /// Reads back what [`Batch::encode`] of this or an earlier version wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let damaged = |why: &dyn ToString| BatchError::Damaged(why.to_string());
        match bytes.split_first() {
            None => Err(damaged(&"it is empty")),
            Some((&FORMAT, rest)) => match postcard::take_from_bytes(rest) {
                Ok((batch, [])) => Ok(batch),
                Ok((_, more)) => Err(damaged(&format!("{} bytes too many", more.len()))),
                Err(error) => Err(damaged(&error)),
            },
            Some((format, _)) => Err(BatchError::Format(*format)),
        }
    }
}
