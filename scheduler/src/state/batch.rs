//! A batch as the bytes of a log entry: a format number, then `postcard`. Old formats stay readable, and an entry
//! is of the lowest format that can say it, so that masters of several versions read it while a cluster is being
//! upgraded.

use spec::app::AppDocument;
use spec::time::Timestamp;

use super::{Batch, Command, Deploy, Expect, Form};

/// Knew a single master.
const OF_ONE_MASTER: u8 = 1;
/// The same with more commands.
const OF_MASTERS: u8 = 2;
/// The newest format that this version reads: the same with packed definitions.
const PACKED: u8 = 3;

/// What an entry takes besides its commands, at most.
pub const FRAME_BYTES: usize = 64;

/// A log entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Written by a newer version.
    #[error("log entry has format {0}, this version knows up to {PACKED}: upgrade this master")]
    Format(u8),
    /// Not what was written.
    #[error("log entry is damaged: {0}")]
    Damaged(String),
}

/// Commands as they lie in a log entry, one after the other: what is written while they are counted need not
/// be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    form: Form,
    bytes: Vec<u8>,
    count: usize,
    format: u8,
}

/// A moment of an [`Encoded`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    count: usize,
    format: u8,
}

impl Mark {
    /// Size of the commands at that moment.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Encoded {
    /// None yet. Definitions will be written in `form`.
    pub fn new(form: Form) -> Self {
        Self { form, bytes: Vec::new(), count: 0, format: OF_ONE_MASTER }
    }

    /// Adds a command.
    pub fn push(&mut self, command: &Command) {
        let before = std::mem::take(&mut self.bytes);
        let bytes = match command {
            Command::Deploy(deploy) if self.form == Form::Json => {
                postcard::to_extend(&in_json(deploy), before)
            }
            _ => postcard::to_extend(command, before),
        };
        self.bytes = bytes.expect("commands hold nothing that postcard or JSON cannot write");
        self.count += 1;
        self.format = self.format.max(format_of(command, self.form));
    }

    /// Where it stands, to come back to.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), count: self.count, format: self.format }
    }

    /// Forgets what was added since.
    pub fn back_to(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        (self.count, self.format) = (mark.count, mark.format);
    }

    /// Their size, without the frame round them.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The log entry that holds them; the same that [`Batch::encode`] yields.
    pub fn entry(&self, at: Timestamp, seed: u64) -> Vec<u8> {
        let mut entry = Vec::with_capacity(self.bytes.len() + FRAME_BYTES);
        entry.push(self.format);
        let mut entry = postcard::to_extend(&(at, seed, self.count), entry).expect("three numbers");
        entry.extend_from_slice(&self.bytes);
        entry
    }
}

/// The lowest format that can say `command`.
fn format_of(command: &Command, form: Form) -> u8 {
    match command {
        Command::AddMaster { .. } | Command::SetMaster { .. } | Command::RemoveMaster { .. } => OF_MASTERS,
        Command::Deploy(deploy) if form == Form::Packed && !deploy.put.is_empty() => PACKED,
        _ => OF_ONE_MASTER,
    }
}

/// [`Command::Deploy`] with its definitions in JSON and all else as ever: its number among the commands, then its
/// fields in order. A tuple, since `postcard` writes nothing round the parts.
fn in_json(deploy: &Deploy) -> impl serde::Serialize {
    const NUMBER: u32 = 1;
    let Deploy { id, force, put, remove, restart, kill, service_ports } = deploy;
    let put = put.iter().map(|put| (AppDocument(put.app.0.clone()), put.expect));
    let put: Vec<(AppDocument, Expect)> = put.collect();
    (NUMBER, *id, *force, put, remove.clone(), restart.clone(), kill.clone(), *service_ports)
}

impl Batch {
    /// The bytes of a log entry, with definitions in `form`.
    pub fn encode(&self, form: Form) -> Vec<u8> {
        let mut commands = Encoded::new(form);
        self.commands.iter().for_each(|command| commands.push(command));
        commands.entry(self.at, self.seed)
    }

    /// Reads back what [`Batch::encode`] of this or an earlier version wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let damaged = |why: &dyn ToString| BatchError::Damaged(why.to_string());
        match bytes.split_first() {
            None => Err(damaged(&"it is empty")),
            Some((&(OF_ONE_MASTER..=PACKED), rest)) => match postcard::take_from_bytes(rest) {
                Ok((batch, [])) => Ok(batch),
                Ok((_, more)) => Err(damaged(&format!("{} bytes too many", more.len()))),
                Err(error) => Err(damaged(&error)),
            },
            Some((format, _)) => Err(BatchError::Format(*format)),
        }
    }
}
