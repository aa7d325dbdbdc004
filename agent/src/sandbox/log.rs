//! Reading a task's `stdout` and `stderr` in its sandbox, which belong to the task: whatever it makes of
//! them, only files are read, and never through a link.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use spec::protocol::LogFile;

use crate::runtime::{LogStream, RuntimeError};

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Read at once; also the step when lines are counted from the end.
const PART: usize = 64 * 1024;

/// Says whether the task has ended, and a followed log with it.
pub type HasEnded = Box<dyn Fn() -> bool + Send + Sync>;

/// A log from `tail_lines` before its end, or from its beginning; to where it ends now or, with `follow`,
/// to where it ends when the task has.
pub async fn read(
    sandbox: &Path,
    file: LogFile,
    tail_lines: Option<u32>,
    follow: Option<HasEnded>,
) -> io::Result<LogStream> {
    let mut log = open(sandbox, file)?;
    if let Some(lines) = tail_lines {
        let start = start_of_tail(&mut log, lines)?;
        log.seek(SeekFrom::Start(start))?;
    }
    let reader = Reader { log, follow, was_ended: false };
    Ok(stream::try_unfold(reader, Reader::next).boxed())
}

/// Opens a log.
pub fn open(sandbox: &Path, file: LogFile) -> io::Result<File> {
    let name = match file {
        LogFile::Stdout => "stdout",
        LogFile::Stderr => "stderr",
    };
    // A pipe must not make the agent wait, either.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let log = OpenOptions::new().read(true).custom_flags(flags).open(sandbox.join(name))?;
    if log.metadata()?.is_file() { Ok(log) } else { Err(io::Error::other(format!("{name} is not a file"))) }
}

/// Where the last lines begin. An unfinished line counts as one.
fn start_of_tail(log: &mut (impl Read + Seek), lines: u32) -> io::Result<u64> {
    let mut end = log.seek(SeekFrom::End(0))?;
    let (size, mut left) = (end, lines);
    if lines == 0 {
        return Ok(size);
    }
    let mut part = vec![0; PART];
    while end > 0 {
        let start = end.saturating_sub(PART as u64);
        let part = &mut part[..usize::try_from(end - start).unwrap_or(PART)];
        log.seek(SeekFrom::Start(start))?;
        log.read_exact(part)?;
        for (position, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + position as u64 + 1;
            // The newline at the very end closes the last line, it does not begin another.
            if after == size {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(0)
}

struct Reader {
    log: File,
    follow: Option<HasEnded>,
    was_ended: bool,
}

impl Reader {
    /// An output that was rotated is shorter than what was read of it: goes on from its beginning.
    fn was_cut(&mut self) -> io::Result<bool> {
        let cut = self.log.metadata()?.len() < self.log.stream_position()?;
        if cut {
            self.log.rewind()?;
        }
        Ok(cut)
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, RuntimeError> {
        loop {
            let mut part = vec![0; PART];
            // A local file, a part at a time: not worth a thread.
            let read = self.log.read(&mut part).map_err(|error| RuntimeError::Failed(error.to_string()))?;
            if read > 0 {
                part.truncate(read);
                return Ok(Some((part.into(), self)));
            }
            if self.was_cut().map_err(|error| RuntimeError::Failed(error.to_string()))? {
                continue;
            }
            match &self.follow {
                // Once more after the end is known: what was written before it is there now.
                Some(has_ended) if !self.was_ended => self.was_ended = has_ended(),
                _ => return Ok(None),
            }
            if !self.was_ended {
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn tail(text: &str, lines: u32) -> &str {
        let start = start_of_tail(&mut Cursor::new(text.as_bytes()), lines).unwrap();
        &text[usize::try_from(start).unwrap()..]
    }

    #[test]
    fn tails() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("a", 0, ""),
            ("", 3, ""),
            ("\n\n\n", 2, "\n\n"),
        ] {
            assert_eq!(tail(text, lines), expected, "{text:?} {lines}");
        }
        let long = "x".repeat(PART * 2) + "\n" + &"y".repeat(PART + 1) + "\nz\n";
        assert_eq!(tail(&long, 2).len(), PART + 1 + 1 + 2);
        assert_eq!(tail(&long, 1), "z\n");
    }

    #[test]
    fn only_files() {
        let sandbox = tempfile::tempdir().unwrap();
        assert!(open(sandbox.path(), LogFile::Stdout).is_err());
        std::os::unix::fs::symlink("/etc/passwd", sandbox.path().join("stdout")).unwrap();
        assert!(open(sandbox.path(), LogFile::Stdout).is_err());
        std::fs::create_dir(sandbox.path().join("stderr")).unwrap();
        assert!(open(sandbox.path(), LogFile::Stderr).is_err());
    }
}
