//! The parent of a process task. Not written yet: fails.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one task.
pub fn run(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
