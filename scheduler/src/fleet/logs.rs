//! Task logs: requests to the session of the task's agent, and the parts on their way back to whoever reads.
//! A slow reader holds up its own log and nothing else: the agent sends no more than a window ahead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use spec::protocol::{LOG_WINDOW, MasterMessage, OpenLog};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::board::{Switchboard, ToAgent};
use crate::cluster::LogRequest;

/// Logs of one agent read at once.
const LOGS_MAX: usize = 64;

/// Parts that are asked for together: logs must not crowd out what else the agent is told.
const ASK_AFTER: u32 = LOG_WINDOW / 4;

type Part = Result<Vec<u8>, String>;

/// Hands requests to sessions until `shutdown`.
pub(super) async fn run(
    mut requests: mpsc::Receiver<LogRequest>,
    board: Arc<Switchboard>,
    shutdown: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled() => return,
            request = requests.recv() => request,
        };
        let Some(request) = request else { return };
        board.read_log(request);
    }
}

/// The logs that are being read through one session.
#[derive(Debug)]
pub(super) struct LogDesk {
    outgoing: mpsc::Sender<ToAgent>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    streams: HashMap<u64, mpsc::Sender<Part>>,
}

impl LogDesk {
    /// Nothing is being read; asks for more through `outgoing`.
    pub(super) fn new(outgoing: mpsc::Sender<ToAgent>) -> Self {
        Self { outgoing, open: Arc::default() }
    }

    /// Opens a stream; what the agent is to be told.
    pub(super) fn open(&self, request: LogRequest) -> Option<OpenLog> {
        let mut open = lock(&self.open);
        if open.streams.len() >= LOGS_MAX {
            let reason = "too many logs of this agent are being read; try again".to_owned();
            let _ = request.parts.try_send(Err(reason));
            return None;
        }
        open.last += 1;
        let stream = open.last;
        // One place more than the window: the last part may be an error.
        let (sender, receiver) = mpsc::channel(LOG_WINDOW as usize + 1);
        open.streams.insert(stream, sender);
        let (reader, outgoing, streams) = (request.parts, self.outgoing.clone(), self.open.clone());
        tokio::spawn(async move {
            pass_on(stream, receiver, reader, &outgoing).await;
            lock(&streams).streams.remove(&stream);
            let _ = outgoing.send(ToAgent::Message(Box::new(MasterMessage::CloseLog { stream }))).await;
        });
        Some(OpenLog {
            stream,
            task: request.task,
            file: request.file,
            tail_lines: request.tail_lines,
            follow: request.follow,
        })
    }

    /// Takes in a part. An agent that sends beyond its window loses that stream.
    pub(super) fn part(&self, stream: u64, data: Vec<u8>) {
        let mut open = lock(&self.open);
        let Some(parts) = open.streams.get(&stream) else { return };
        // The last place is kept for the reason.
        let has_room = parts.capacity() > 1;
        let part =
            if has_room { Ok(data) } else { Err("the agent sent more than it was asked for".to_owned()) };
        if parts.try_send(part).is_err() || !has_room {
            open.streams.remove(&stream);
        }
    }

    /// The agent has nothing more of it.
    pub(super) fn end(&self, stream: u64, error: Option<String>) {
        let parts = lock(&self.open).streams.remove(&stream);
        if let (Some(parts), Some(error)) = (parts, error) {
            let _ = parts.try_send(Err(error));
        }
    }
}

impl Drop for LogDesk {
    /// The session has ended; the readers would wait for ever.
    fn drop(&mut self) {
        for (_, parts) in lock(&self.open).streams.drain() {
            let _ = parts.try_send(Err("the agent's session ended before the log did".to_owned()));
        }
    }
}

/// Carries one log to its reader, at the reader's pace. Ends with the stream, the reader, or the session.
async fn pass_on(
    stream: u64,
    mut parts: mpsc::Receiver<Part>,
    reader: mpsc::Sender<Part>,
    outgoing: &mpsc::Sender<ToAgent>,
) {
    let mut taken = 0;
    loop {
        let part = tokio::select! {
            part = parts.recv() => part,
            () = reader.closed() => None,
        };
        let Some(part) = part else { return };
        if reader.send(part).await.is_err() {
            return;
        }
        taken += 1;
        if taken == ASK_AFTER {
            taken = 0;
            // What the session's end leaves behind is still to be read.
            let _ = outgoing
                .send(ToAgent::Message(Box::new(MasterMessage::MoreLog { stream, parts: ASK_AFTER })))
                .await;
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
