//! Unpacking fetched archives: `.tar`, `.tar.gz` and `.tgz`. Entries that would leave the directory are
//! refused, and so are devices and the like.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

/// Bounds of what an archive may hold: one that is made to fill the disk stops here.
const BYTES_MAX: u64 = 16 << 30;
const ENTRIES_MAX: usize = 1_000_000;

/// Forms that Mesos' fetcher unpacked and we cannot: said, rather than left packed.
const UNSUPPORTED: [&str; 6] = [".zip", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".gz"];

/// Unpacks a file by its name's ending. One that is no archive stays as it is.
pub(super) fn extract(file: &Path, into: &Path) -> Result<(), String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let open = || File::open(file).map(BufReader::new).map_err(|error| error.to_string());
    if name.ends_with(".tar") {
        return unpack(open()?, into);
    }
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        return unpack(GzDecoder::new(open()?), into);
    }
    match UNSUPPORTED.iter().find(|ending| name.ends_with(*ending)) {
        Some(ending) => Err(format!("{ending} archives are not supported; .tar, .tar.gz and .tgz are")),
        None => Ok(()),
    }
}

fn unpack(reader: impl Read, into: &Path) -> Result<(), String> {
    let mut archive = Archive::new(reader.take(BYTES_MAX));
    let text = |error: io::Error| format!("unpacking: {error}");
    let mut written = 0_u64;
    for (index, entry) in archive.entries().map_err(text)?.enumerate() {
        let mut entry = entry.map_err(text)?;
        let path = entry.path().map_err(text)?.into_owned();
        check(&path, entry.header().entry_type())?;
        written = written.saturating_add(entry.size());
        if index >= ENTRIES_MAX || written > BYTES_MAX {
            return Err("unpacking: the archive is too large".to_owned());
        }
        // Checks again, with the links that are on disk by now.
        if !entry.unpack_in(into).map_err(text)? {
            return Err(format!("unpacking: {} leads out of the sandbox", path.display()));
        }
    }
    Ok(())
}

fn check(path: &Path, kind: EntryType) -> Result<(), String> {
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("unpacking: {} leads out of the sandbox", path.display()));
    }
    let is_known = kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link();
    let is_meta = kind.is_pax_global_extensions() || kind.is_pax_local_extensions() || kind.is_contiguous();
    if is_known || is_meta || kind.is_gnu_sparse() {
        Ok(())
    } else {
        Err(format!("unpacking: {} is a device or the like", path.display()))
    }
}
