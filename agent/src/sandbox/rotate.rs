//! Keeps what running processes write to their outputs from filling the disk: an output that has grown too
//! large goes on in an empty file, and its end stays beside it as `stdout.1` or `stderr.1`.
//!
//! As `logrotate` does with `copytruncate`: whoever writes need not know. What is written between the copy
//! and the cut is lost, which only happens to a task that writes faster than anybody reads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Largest output, and largest part of it that is kept beside: as containers get from Docker.
pub const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// The sandbox belongs to the task: neither a link nor a pipe there may be followed or waited for.
const CAREFUL: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;
/// As the output itself.
const LOG_MODE: u32 = 0o644;

/// Cuts the outputs in one sandbox that are too large.
pub fn rotate(sandbox: &Path) -> io::Result<()> {
    for name in ["stdout", "stderr"] {
        match cut(sandbox, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn cut(sandbox: &Path, name: &str) -> io::Result<()> {
    let path = sandbox.join(name);
    // Most are small, and need not be opened.
    if std::fs::symlink_metadata(&path)?.len() <= LOG_BYTES_MAX {
        return Ok(());
    }
    let mut log = own(OpenOptions::new().read(true).write(true).custom_flags(CAREFUL).open(&path)?)?;
    let kept = keep(&mut log, &sandbox.join(format!("{name}.1")));
    // Also when its end could not be kept, most likely because the disk is full.
    log.set_len(0)?;
    kept
}

fn keep(log: &mut File, beside: &Path) -> io::Result<()> {
    let metadata = log.metadata()?;
    log.seek(SeekFrom::Start(metadata.len().saturating_sub(LOG_BYTES_MAX)))?;
    let options =
        OpenOptions::new().write(true).create(true).mode(LOG_MODE).custom_flags(CAREFUL).open(beside)?;
    let mut kept = own(options)?;
    kept.set_len(0)?;
    fchown(&kept, Some(metadata.uid()), Some(metadata.gid()))?;
    io::copy(&mut log.take(LOG_BYTES_MAX), &mut kept).map(drop)
}

/// Only a file that has no other name: it could be anything on the machine.
fn own(file: File) -> io::Result<File> {
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.nlink() == 1 {
        return Ok(file);
    }
    Err(io::Error::other("an output of the task is not a file of its own"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_end_is_kept_and_writing_goes_on() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path().join("stdout");
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        writer.write_all(b"small").unwrap();
        rotate(sandbox.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"small");
        writer.write_all(&vec![b'x'; LOG_BYTES_MAX as usize]).unwrap();
        writer.write_all(b"end").unwrap();
        rotate(sandbox.path()).unwrap();
        writer.write_all(b"more").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"more");
        let kept = std::fs::read(sandbox.path().join("stdout.1")).unwrap();
        assert!(kept.len() as u64 == LOG_BYTES_MAX && kept.ends_with(b"xend"));
    }

    #[test]
    fn nothing_of_others_is_touched() {
        let sandbox = tempfile::tempdir().unwrap();
        let other = sandbox.path().join("other");
        std::fs::write(&other, vec![b'x'; LOG_BYTES_MAX as usize + 1]).unwrap();
        std::fs::hard_link(&other, sandbox.path().join("stdout")).unwrap();
        assert!(rotate(sandbox.path()).is_err());
        std::fs::remove_file(sandbox.path().join("stdout")).unwrap();
        std::os::unix::fs::symlink(&other, sandbox.path().join("stdout")).unwrap();
        rotate(sandbox.path()).unwrap();
        std::fs::rename(sandbox.path().join("stdout"), sandbox.path().join("stderr.1")).unwrap();
        std::fs::copy(&other, sandbox.path().join("stderr")).unwrap();
        assert!(rotate(sandbox.path()).is_err(), "the copy must not go through a link");
        assert_eq!(std::fs::metadata(&other).unwrap().len(), LOG_BYTES_MAX + 1);
        assert_eq!(std::fs::metadata(sandbox.path().join("stderr")).unwrap().len(), 0);
    }
}
