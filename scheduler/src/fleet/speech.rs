//! What a master says to an agent in a session that stands: what should run, acknowledgements, answers.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use spec::ids::TaskId;
use spec::protocol::{Fence, HEARTBEAT_MILLIS, MasterMessage, Wanted};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::board::ToAgent;
use super::logs::LogDesk;
use super::pulse::Pulse;
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

    /// Until it has waited for long enough.
    async fn ripe(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }
}

/// Until the agent has asked whether somebody is there. Wakes nobody up: it is looked at in the turn of the session
/// that has read the question.
async fn question(pulse: &Pulse) {
    poll_fn(|_| if pulse.take_question() { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Writes what the agent should hear, the complete set first, and answers it. `explain` is told the fence of the last order.
pub(super) async fn speak(
    mut writer: Writer,
    mut complete: oneshot::Receiver<Wanted>,
    mut queue: mpsc::Receiver<ToAgent>,
    logs: &LogDesk,
    pulse: &Pulse,
    explain: impl Fn(&[TaskId], Fence) -> Wanted,
) -> Result<(), SessionError> {
    let complete = loop {
        pulse.speak();
        match timeout(Duration::from_millis(HEARTBEAT_MILLIS), &mut complete).await {
            Ok(Ok(complete)) => break complete,
            Ok(Err(_)) => return Ok(()),
            Err(_) => writer.write(&MasterMessage::Beat).await?,
        }
    };
    let from = complete.fence.index;
    let mut last = complete.fence;
    writer.write_wanted(complete).await?;
    let mut acknowledging = Acknowledging::default();
    loop {
        pulse.speak();
        let next = tokio::select! {
            biased;
            next = queue.recv() => match next {
                Some(next) => next,
                None => return Ok(()),
            },
            () = question(pulse) => ToAgent::Beat,
            () = acknowledging.ripe() => ToAgent::Beat,
        };
        match next {
            ToAgent::Acknowledged { seq, has_endings } => {
                acknowledging.note(seq, has_endings, Instant::now());
                continue;
            }
            ToAgent::Wanted(wanted) if wanted.fence.index <= from => continue,
            ToAgent::Beat => {
                writer.write(&acknowledging.take().unwrap_or(MasterMessage::Beat)).await?;
                continue;
            }
            _ => {}
        }
        if let Some(acknowledged) = acknowledging.take() {
            writer.add(&acknowledged).await?;
        }
        match next {
            ToAgent::Wanted(wanted) => {
                last = wanted.fence;
                writer.write_wanted(*wanted).await?;
            }
            ToAgent::Explain(tasks) => writer.write_wanted(explain(&tasks, last)).await?,
            ToAgent::Message(message) => writer.write(&message).await?,
            ToAgent::Log(request) => match logs.open(*request) {
                Some(open) => writer.write(&MasterMessage::OpenLog(open)).await?,
                None => writer.flush().await?,
            },
            // Handled above.
            ToAgent::Acknowledged { .. } | ToAgent::Beat => {}
        }
    }
}
