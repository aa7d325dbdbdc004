//! `clusterctl backup`: the state of a running cluster into a file. Checked while it is written, and in its
//! place only when it is whole.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Response;
use scheduler::backup::{BackupError, Head, Reader};
use serde_json::json as value;
use tokio::sync::mpsc;

use super::http::Master;
use super::table::json;
use crate::args::{BackupArgs, Output};

/// Parts that were received and not written.
const PARTS_MAX: usize = 4;
/// A master that sends nothing for this long sends nothing more.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Writes a backup.
pub async fn run(master: &Master, output: Output, args: BackupArgs) -> anyhow::Result<()> {
    let place = if args.file == "-" { None } else { Some(PathBuf::from(&args.file)) };
    match &place {
        None if io::stdout().is_terminal() => bail!("a backup is no text: send standard output to a file"),
        Some(file) if file.exists() && !args.force => {
            bail!("{} exists: choose another name, or replace it with --force", file.display())
        }
        _ => {}
    }
    let answer = master.stream("/v2/backup", "application/octet-stream").await?;
    let (parts, received) = mpsc::channel(PARTS_MAX);
    let target = place.clone();
    let saving = tokio::task::spawn_blocking(move || save(target.as_deref(), received));
    // A writer that fails drops its end, and says why.
    pass_on(answer, parts).await;
    let saved = saving.await.context("the writer broke off")??;
    report(output, place.as_deref(), &saved)
}

/// What was saved.
struct Saved {
    head: Head,
    pieces: u64,
    bytes: u64,
}

fn report(output: Output, place: Option<&Path>, saved: &Saved) -> anyhow::Result<()> {
    let Saved { head, pieces, bytes } = saved;
    let Some(file) = place else { return Ok(()) };
    if output == Output::Json {
        return json(&value!({
            "file": file, "clusterId": head.cluster_id, "term": head.term, "index": head.index,
            "at": head.at.to_string(), "version": head.version, "pieces": pieces, "bytes": bytes,
        }));
    }
    println!("{}: cluster {} as of {}, {bytes} bytes, checked", file.display(), head.cluster_id, head.at);
    println!("to begin a cluster with it: clusterctl restore {} --name m1 --data-dir DIR", file.display());
    Ok(())
}

async fn pass_on(answer: Response, parts: mpsc::Sender<io::Result<bytes::Bytes>>) {
    let mut chunks = answer.bytes_stream();
    loop {
        let part = match tokio::time::timeout(SILENCE_MAX, chunks.next()).await {
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the master sends nothing more")),
            Ok(None) => return,
            Ok(Some(part)) => part.map_err(|_| io::Error::other("the connection to the master broke")),
        };
        let last = part.is_err();
        if parts.send(part).await.is_err() || last {
            return;
        }
    }
}

/// Writes what is received to the file, or to standard output. What was not whole leaves nothing behind.
fn save(place: Option<&Path>, received: mpsc::Receiver<io::Result<bytes::Bytes>>) -> anyhow::Result<Saved> {
    let Some(place) = place else {
        return check(Received::new(received), &mut io::stdout().lock()).context("standard output");
    };
    let mut name =
        place.file_name().map(OsString::from).with_context(|| format!("{} is no file", place.display()))?;
    name.push(".part");
    let part = place.with_file_name(name);
    let saved = write(&part, received).and_then(|saved| {
        std::fs::rename(&part, place).with_context(|| format!("cannot write {}", place.display()))?;
        sync_directory(place).with_context(|| format!("cannot make {} durable", place.display()))?;
        Ok(saved)
    });
    if saved.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    saved
}

fn write(part: &Path, received: mpsc::Receiver<io::Result<bytes::Bytes>>) -> anyhow::Result<Saved> {
    let cannot = || format!("cannot write {}", part.display());
    let mut file = File::create(part).with_context(cannot)?;
    let saved = check(Received::new(received), &mut file)?;
    file.sync_all().with_context(cannot)?;
    Ok(saved)
}

/// A file is durable under its name once its directory is.
fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Reads a backup to its end and writes every byte of it.
fn check(received: Received, to: &mut impl Write) -> anyhow::Result<Saved> {
    let progress = progress();
    let mut copy = Copy { from: received, to, bytes: 0, progress: progress.clone() };
    let mut reader = Reader::open(&mut copy).map_err(explain)?;
    let mut pieces = 0;
    while reader.piece().map_err(explain)?.is_some() {
        pieces += 1;
    }
    let head = reader.head().clone();
    copy.to.flush()?;
    progress.finish_and_clear();
    Ok(Saved { head, pieces, bytes: copy.bytes })
}

/// The disk's troubles are not the master's.
fn explain(error: BackupError) -> anyhow::Error {
    match error {
        BackupError::Io(error) => error.into(),
        error => anyhow::Error::from(error).context("the master sent no good backup"),
    }
}

fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bytes} received, {bytes_per_sec}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// Reads, and writes what was read.
struct Copy<'a, W> {
    from: Received,
    to: &'a mut W,
    bytes: u64,
    progress: ProgressBar,
}

impl<W: Write> Read for Copy<'_, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to
            .write_all(&buffer[..count])
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write the backup: {error}")))?;
        self.bytes += count as u64;
        self.progress.set_position(self.bytes);
        Ok(count)
    }
}

/// The parts of an answer, read on another thread.
struct Received {
    parts: mpsc::Receiver<io::Result<bytes::Bytes>>,
    rest: bytes::Bytes,
}

impl Received {
    fn new(parts: mpsc::Receiver<io::Result<bytes::Bytes>>) -> Self {
        Self { parts, rest: bytes::Bytes::new() }
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.parts.blocking_recv() {
                None => return Ok(0),
                Some(part) => self.rest = part?,
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}
