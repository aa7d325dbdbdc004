//! Logs of tasks: sent to the leader as they are read, and kept when a container goes.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use spec::ids::TaskId;
use spec::protocol::{AgentMessage, LOG_WINDOW, LogFile, OpenLog};
use tokio::fs::File;
use tokio::io::{self, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::{LogStream, Runtime, RuntimeError};
use crate::sandbox::log;

/// Logs that are read at once.
pub(super) const STREAMS_MAX: usize = 64;
/// A part of a log that is sent.
const PART_BYTES_MAX: usize = 32 * 1024;
/// Lines of a container's log that are kept when it goes.
const KEPT_LINES: u32 = 10_000;
/// Bytes of them.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;
/// One log on its way to the leader; dropping it ends that.
pub(super) struct Reading {
    window: Arc<Semaphore>,
    _task: AbortOnDropHandle<()>,
}

impl Reading {
    /// Starts `sending`, which takes a permit of the window for each part.
    pub(super) fn start<F>(sending: impl FnOnce(Arc<Semaphore>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let window = Arc::new(Semaphore::new(LOG_WINDOW as usize));
        let task = tokio::spawn(sending(window.clone()));
        Self { window, _task: AbortOnDropHandle::new(task) }
    }

    /// The reader has taken so many parts. Never more than a window is open, whatever the leader says.
    pub(super) fn more(&self, parts: u32) {
        let room = (LOG_WINDOW as usize).saturating_sub(self.window.available_permits());
        self.window.add_permits(room.min(parts as usize));
    }
}

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
    window: Arc<Semaphore>,
) {
    let stream = request.stream;
    let error = match open(&request, runtime, &sandbox).await {
        Err(error) => Some(error),
        Ok(parts) => forward(stream, parts, &outgoing, &window).await,
    };
    let _ = outgoing.send(AgentMessage::LogEnd { stream, error }).await;
}

async fn forward(
    stream: u64,
    mut parts: Parts,
    outgoing: &mpsc::Sender<AgentMessage>,
    window: &Semaphore,
) -> Option<String> {
    while let Some(part) = parts.next().await {
        let mut part = match part {
            Ok(part) => part,
            Err(error) => return Some(error),
        };
        while !part.is_empty() {
            let data = part.split_to(part.len().min(PART_BYTES_MAX)).to_vec();
            if let Ok(permit) = window.acquire().await {
                permit.forget();
            }
            if outgoing.send(AgentMessage::LogData { stream, data }).await.is_err() {
                return None;
            }
        }
    }
    None
}

async fn open(request: &OpenLog, runtime: Option<Arc<dyn Runtime>>, sandbox: &Path) -> Result<Parts, String> {
    let OpenLog { task, file, tail_lines, follow, .. } = request;
    if let Some(runtime) = runtime {
        match runtime.log(task, *file, *tail_lines, *follow).await {
            Ok(parts) => return Ok(in_words(parts)),
            Err(RuntimeError::NotFound) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let parts = log::read(sandbox, *file, *tail_lines, None).await;
    let parts = parts.map_err(|_| format!("task '{task}' has no log on this agent"))?;
    Ok(in_words(parts))
}

fn in_words(parts: LogStream) -> Parts {
    Box::pin(parts.map(|part| part.map_err(|error| error.to_string())))
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

async fn write(mut parts: LogStream, path: &Path) -> io::Result<()> {
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
