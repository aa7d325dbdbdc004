//! raft's log lines as `tracing` events.

use std::fmt::{Arguments, Write as _};

use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record};

/// The logger that raft's constructors take.
pub(super) fn logger() -> Logger {
    Logger::root(Bridge, slog::o!())
}

struct Bridge;

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let text = || {
            let mut line = Line(record.msg().to_string());
            match record.kv().serialize(record, &mut line) {
                Ok(()) => line.0,
                Err(error) => format!("{} ({error})", line.0),
            }
        };
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{}", text()),
            Level::Warning => tracing::warn!(target: "raft", "{}", text()),
            // What raft calls information, such as each ignored vote, is detail to an operator.
            Level::Info | Level::Debug => tracing::debug!(target: "raft", "{}", text()),
            Level::Trace => tracing::trace!(target: "raft", "{}", text()),
        }
        Ok(())
    }
}

/// The message, then ` key=value` for each pair.
struct Line(String);

impl slog::Serializer for Line {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        Ok(write!(self.0, " {key}={value}")?)
    }
}
