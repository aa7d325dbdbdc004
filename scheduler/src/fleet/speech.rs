//! What a master says to an agent in a session that stands: what should run, acknowledgements, beats.

use std::time::Duration;

use spec::protocol::{HEARTBEAT_MILLIS, MasterMessage, Wanted};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::board::ToAgent;
use super::logs::LogDesk;
use super::session::SessionError;
use super::wire::Writer;

/// How long an acknowledgement waits for something to go along with.
const ACKNOWLEDGE_PATIENCE: Duration = Duration::from_millis(HEARTBEAT_MILLIS);
/// The same where agents wait for it: traces of what has ended are kept until then.
const ENDING_PATIENCE: Duration = Duration::from_millis(50);

/// An acknowledgement on its way out. Agents only wait for those of endings, so it goes along with what else is
/// said, or after a while.
#[derive(Debug, Default)]
struct Acknowledging {
    seq: Option<u64>,
    due: Option<Instant>,
}

impl Acknowledging {
    fn note(&mut self, seq: u64, has_endings: bool, now: Instant) {
        let due = now + if has_endings { ENDING_PATIENCE } else { ACKNOWLEDGE_PATIENCE };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.seq = self.seq.max(Some(seq));
    }

    fn take(&mut self) -> Option<MasterMessage> {
        self.due = None;
        self.seq.take().map(|seq| MasterMessage::Acknowledged { seq })
    }
}

/// Writes what the agent should hear, the complete set first; a beat when there is nothing.
pub(super) async fn speak(
    mut writer: Writer,
    mut complete: oneshot::Receiver<Wanted>,
    mut queue: mpsc::Receiver<ToAgent>,
    logs: &LogDesk,
) -> Result<(), SessionError> {
    let beat = Duration::from_millis(HEARTBEAT_MILLIS);
    let complete = loop {
        match timeout(beat, &mut complete).await {
            Ok(Ok(complete)) => break complete,
            Ok(Err(_)) => return Ok(()),
            Err(_) => writer.write(&MasterMessage::Beat).await?,
        }
    };
    let from = complete.fence.index;
    writer.write_wanted(complete).await?;
    let mut acknowledging = Acknowledging::default();
    loop {
        let until = acknowledging.due.unwrap_or_else(|| Instant::now() + beat);
        let next = match timeout_at(until, queue.recv()).await {
            Err(_) => {
                writer.write(&acknowledging.take().unwrap_or(MasterMessage::Beat)).await?;
                continue;
            }
            Ok(None) => return Ok(()),
            Ok(Some(ToAgent::Acknowledged { seq, has_endings })) => {
                acknowledging.note(seq, has_endings, Instant::now());
                continue;
            }
            Ok(Some(ToAgent::Wanted(wanted))) if wanted.fence.index <= from => continue,
            Ok(Some(next)) => next,
        };
        if let Some(acknowledged) = acknowledging.take() {
            writer.add(&acknowledged).await?;
        }
        match next {
            ToAgent::Wanted(wanted) => writer.write_wanted(*wanted).await?,
            ToAgent::Message(message) => writer.write(&message).await?,
            ToAgent::Log(request) => match logs.open(*request) {
                Some(open) => writer.write(&MasterMessage::OpenLog(open)).await?,
                None => writer.flush().await?,
            },
            // Handled above.
            ToAgent::Acknowledged { .. } => {}
        }
    }
}
