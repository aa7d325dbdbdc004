//! Signs of life of sessions: who was heard and spoken to when, what a newcomer of the same id is, and one look at
//! all sessions in place of a timer in each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use spec::protocol::{BEAT_MILLIS, HEARTBEAT_MILLIS, SILENCE_MILLIS_MAX};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::board::{Switchboard, ToAgent};

/// How long a newcomer waits for its earlier session to end, or to show that somebody else is there.
pub const MAKE_WAY: Duration = Duration::from_millis(ALIVE_MILLIS + HEARTBEAT_MILLIS);
/// Who was heard of no longer ago is there: agents beat, and a beat may be late.
const ALIVE_MILLIS: u64 = BEAT_MILLIS + 500;
/// Newcomers that are sent away without a word while one session lives. A session with very much to read
/// may seem alive after its agent has hung up, but not again and again.
const STRIKES_MAX: u32 = 3;

/// How often sessions are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A session that has not spoken for as long says a beat without being asked: what its agent says is not read
/// while reports wait for the log. With the time between two looks it is less than what makes an agent wonder.
pub const UNASKED_AFTER: Duration = Duration::from_millis(BEAT_MILLIS + 200);
/// Nobody is at the other end of a session that was not heard for as long.
const SILENCE: Duration = Duration::from_millis(SILENCE_MILLIS_MAX);

/// Signs of life of one session.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    /// In milliseconds since it began.
    heard: AtomicU64,
    spoken: AtomicU64,
    /// Its agent waits for an answer.
    asked: AtomicBool,
    strikes: AtomicU32,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            spoken: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            strikes: AtomicU32::new(0),
        }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The agent said something.
    pub(super) fn hear(&self) {
        self.heard.store(self.now(), Relaxed);
    }

    /// It was a question.
    pub(super) fn ask(&self) {
        self.asked.store(true, Relaxed);
    }

    /// Is there a question, asked since the last time?
    pub(super) fn take_question(&self) -> bool {
        self.asked.swap(false, Relaxed)
    }

    /// The agent is told something.
    pub(super) fn speak(&self) {
        self.spoken.store(self.now(), Relaxed);
    }

    fn look(&self) -> Look {
        let now = self.now();
        let since = |then: &AtomicU64| Duration::from_millis(now.saturating_sub(then.load(Relaxed)));
        look(since(&self.heard), since(&self.spoken))
    }

    /// What to do with a newcomer of the same id, now that it has waited.
    pub(super) fn judge_newcomer(&self) -> Newcomer {
        let silence = Duration::from_millis(self.now().saturating_sub(self.heard.load(Relaxed)));
        let judged = newcomer(silence, self.strikes.load(Relaxed));
        if judged != Newcomer::Welcome {
            self.strikes.fetch_add(1, Relaxed);
        }
        judged
    }
}

/// What a session needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Nothing,
    Beat,
    End,
}

fn look(unheard: Duration, unspoken: Duration) -> Look {
    match (unheard >= SILENCE, unspoken >= UNASKED_AFTER) {
        (true, _) => Look::End,
        (false, true) => Look::Beat,
        (false, false) => Look::Nothing,
    }
}

/// Whether a connection may take the place of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomer {
    /// Nobody is at the other end of the earlier one.
    Welcome,
    /// Somebody seems to be: try again.
    Later,
    /// Somebody is: two agents have one id.
    Twin,
}

/// What becomes of a newcomer when its agent's earlier session was last heard of so long ago, and sent so many
/// away before. Pure.
pub fn newcomer(silence: Duration, strikes: u32) -> Newcomer {
    match (silence <= Duration::from_millis(ALIVE_MILLIS), strikes) {
        (false, _) => Newcomer::Welcome,
        (true, 0..STRIKES_MAX) => Newcomer::Later,
        (true, _) => Newcomer::Twin,
    }
}

/// Looks at all sessions until `shutdown`.
pub(super) async fn run(board: Arc<Switchboard>, shutdown: CancellationToken) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = looks.tick() => {}
        }
        board.each(|agent, line| match line.pulse.look() {
            Look::Nothing => {}
            Look::Beat => {
                line.tell(agent, ToAgent::Beat);
                line.pulse.speak();
            }
            Look::End => {
                info!(%agent, peer = line.peer, "session ended: nothing heard for {} s", SILENCE.as_secs());
                line.close.cancel();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_session_speaks_before_its_agent_wonders_and_ends_when_nobody_is_there() {
        for (unheard, unspoken, needs) in [
            (0, 0, Look::Nothing),
            (2_100, 2_199, Look::Nothing),
            (2_100, 2_200, Look::Beat),
            (9_999, 2_200, Look::Beat),
            (10_000, 0, Look::End),
        ] {
            assert_eq!(look(millis(unheard), millis(unspoken)), needs, "{unheard}, {unspoken}");
        }
        assert!(UNASKED_AFTER + LOOK_EVERY < millis(3 * HEARTBEAT_MILLIS));
        assert!(millis(BEAT_MILLIS) < UNASKED_AFTER && millis(ALIVE_MILLIS) < MAKE_WAY);
    }

    #[test]
    fn a_question_is_answered_once() {
        let pulse = Pulse::default();
        assert!(!pulse.take_question());
        pulse.ask();
        pulse.ask();
        assert!(pulse.take_question() && !pulse.take_question());
    }

    #[test]
    fn only_who_is_heard_again_and_again_is_somebody_else() {
        for (silence, strikes, judged) in [
            (millis(0), 0, Newcomer::Later),
            (millis(2_500), 2, Newcomer::Later),
            (millis(2_500), 3, Newcomer::Twin),
            (millis(10), u32::MAX, Newcomer::Twin),
            (millis(2_501), 0, Newcomer::Welcome),
            (millis(9_000), 3, Newcomer::Welcome),
        ] {
            assert_eq!(newcomer(silence, strikes), judged, "{silence:?} after {strikes}");
        }
        let pulse = Pulse::default();
        let judged: Vec<_> = (0..4).map(|_| pulse.judge_newcomer()).collect();
        assert_eq!(judged, [Newcomer::Later, Newcomer::Later, Newcomer::Later, Newcomer::Twin]);
    }
}
