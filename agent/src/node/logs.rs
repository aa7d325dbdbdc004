//! Logs of tasks: sent to the leader as they are read, and kept when a container goes.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use spec::ids::TaskId;
use spec::protocol::{AgentMessage, LogFile, OpenLog};
use tokio::fs::File;
use tokio::io::{self, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::runtime::{Runtime, RuntimeError};

/// Logs that are read at once.
pub(super) const STREAMS_MAX: usize = 64;
/// A part of a log that is sent.
const PART_BYTES_MAX: usize = 32 * 1024;
/// Lines of a container's log that are kept when it goes.
const KEPT_LINES: u32 = 10_000;
/// Bytes of them.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;
/// How far back the end of a file is searched for lines.
const TAIL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Read at once in that search.
const BLOCK_BYTES: u64 = 64 * 1024;

type Parts = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

fn name_of(file: LogFile) -> &'static str {
    match file {
        LogFile::Stdout => "stdout",
        LogFile::Stderr => "stderr",
    }
}

/// Sends a log: from the runtime while the task has one, otherwise from its sandbox.
pub(super) async fn send(
    request: OpenLog,
    runtime: Option<Arc<dyn Runtime>>,
    sandbox: PathBuf,
    outgoing: mpsc::Sender<AgentMessage>,
) {
    let stream = request.stream;
    let error = match open(&request, runtime, &sandbox).await {
        Err(error) => Some(error),
        Ok(parts) => forward(stream, parts, &outgoing).await,
    };
    let _ = outgoing.send(AgentMessage::LogEnd { stream, error }).await;
}

async fn forward(
    stream: u64,
    mut parts: Parts,
    outgoing: &mpsc::Sender<AgentMessage>,
) -> Option<String> {
    while let Some(part) = parts.next().await {
        let mut part = match part {
            Ok(part) => part,
            Err(error) => return Some(error),
        };
        while !part.is_empty() {
            let data = part.split_to(part.len().min(PART_BYTES_MAX)).to_vec();
            if outgoing
                .send(AgentMessage::LogData { stream, data })
                .await
                .is_err()
            {
                return None;
            }
        }
    }
    None
}

async fn open(
    request: &OpenLog,
    runtime: Option<Arc<dyn Runtime>>,
    sandbox: &Path,
) -> Result<Parts, String> {
    let OpenLog {
        task,
        file,
        tail_lines,
        follow,
        ..
    } = request;
    if let Some(runtime) = runtime {
        match runtime.log(task, *file, *tail_lines, *follow).await {
            Ok(parts) => {
                return Ok(Box::pin(
                    parts.map(|part| part.map_err(|error| error.to_string())),
                ));
            }
            Err(RuntimeError::NotFound) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let path = sandbox.join(name_of(*file));
    let mut file = File::open(&path)
        .await
        .map_err(|_| format!("task '{task}' has no log on this agent"))?;
    let from = start_of_tail(&mut file, *tail_lines)
        .await
        .map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(from))
        .await
        .map_err(|error| error.to_string())?;
    Ok(Box::pin(
        ReaderStream::new(file).map(|part| part.map_err(|error| error.to_string())),
    ))
}

/// Where the last `lines` lines of a file begin.
async fn start_of_tail(file: &mut File, lines: Option<u32>) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0)).await?;
    let Some(lines) = lines else { return Ok(0) };
    if lines == 0 {
        return Ok(length);
    }
    let floor = length.saturating_sub(TAIL_BYTES_MAX);
    let (mut end, mut left) = (length, u64::from(lines));
    let mut block = Vec::new();
    while end > floor {
        let start = end.saturating_sub(BLOCK_BYTES).max(floor);
        block.clear();
        file.seek(SeekFrom::Start(start)).await?;
        (&mut *file)
            .take(end - start)
            .read_to_end(&mut block)
            .await?;
        for (at, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let after = start + at as u64 + 1;
            // The line break at the very end closes the last line and begins none.
            if after == length {
                continue;
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(floor)
}

/// Puts the last lines of a container's log into its sandbox, where they stay for as long as it does.
pub(super) async fn keep(runtime: &dyn Runtime, task: &TaskId, sandbox: &Path) {
    for file in [LogFile::Stdout, LogFile::Stderr] {
        let path = sandbox.join(name_of(file));
        if tokio::fs::try_exists(&path).await.unwrap_or(true) {
            continue;
        }
        if let Ok(parts) = runtime.log(task, file, Some(KEPT_LINES), false).await
            && let Err(error) = write(parts, &path).await
        {
            tracing::info!(%task, %error, "a log could not be kept");
        }
    }
}

async fn write(mut parts: crate::runtime::LogStream, path: &Path) -> io::Result<()> {
    let mut file = File::create(path).await?;
    let mut room = KEPT_BYTES_MAX;
    while let Some(Ok(part)) = parts.next().await {
        let taken = part.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        file.write_all(&part[..taken]).await?;
        room -= taken as u64;
        if room == 0 {
            break;
        }
    }
    file.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        let long = "x".repeat(100_000);
        for (text, lines, tail) in [
            ("a\nb\nc\n", Some(2), "b\nc\n"),
            ("a\nb\nc", Some(2), "b\nc"),
            ("a\nb\n", Some(9), "a\nb\n"),
            ("a\nb\n", Some(0), ""),
            ("a\nb\n", None, "a\nb\n"),
            ("", Some(1), ""),
            (&format!("a\n{long}\nb\n"), Some(2), &format!("{long}\nb\n")),
        ] {
            std::fs::write(&path, text).unwrap();
            let mut file = File::open(&path).await.unwrap();
            let from = usize::try_from(start_of_tail(&mut file, lines).await.unwrap()).unwrap();
            assert_eq!(&text[from..], tail, "{lines:?}");
        }
    }
}
