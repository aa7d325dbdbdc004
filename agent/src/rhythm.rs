//! When an agent speaks to a leader that it has nothing to say to, and what it makes of the leader's silence. Pure:
//! the time comes in.

use std::time::Duration;

use spec::protocol::{BEAT_MILLIS, HEARTBEAT_MILLIS, SILENCE_MILLIS_MAX};
use tokio::time::Instant;

/// A leader that was silent for as long may hang: the other masters are asked whether there is a later one. It is
/// only left when there is, or when it has been silent for very long.
const WONDER_AFTER: Duration = Duration::from_millis(3 * HEARTBEAT_MILLIS);
/// The time that it has to answer in any case: an agent that was itself held up has asked late.
const ANSWER_PATIENCE: Duration = Duration::from_millis(HEARTBEAT_MILLIS);
/// A leader that was silent for as long is left.
const GIVE_UP_AFTER: Duration = Duration::from_millis(SILENCE_MILLIS_MAX);

/// Agents of one process speak at the same moments, so many apart: it wakes up once for many of them, and so does
/// the leader.
const GRID: Duration = Duration::from_millis(50);

/// One session's.
#[derive(Debug)]
pub struct Rhythm {
    /// Where the grid begins: the same for all sessions of the process.
    base: Instant,
    said: Instant,
    heard: Instant,
    /// Since when the agent waits for a word.
    unanswered: Option<Instant>,
    wondered: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The agent says that it is there.
    Beat,
    /// The leader is silent: is there another?
    Wonder,
    /// The leader has been silent for too long.
    GiveUp,
}

impl Rhythm {
    /// A session begins.
    pub fn new(base: Instant, now: Instant) -> Self {
        Self { base, said: now, heard: now, unanswered: None, wondered: None }
    }

    /// The agent has said something.
    pub fn say(&mut self, now: Instant) {
        self.said = now;
        self.unanswered.get_or_insert(now);
    }

    /// The leader has said something.
    pub fn hear(&mut self, now: Instant) {
        (self.heard, self.unanswered, self.wondered) = (now, None, None);
    }

    /// When something is due, unless something is said or heard before.
    pub fn next(&self) -> Instant {
        let next = self.beat_at().min(self.heard + GIVE_UP_AFTER);
        self.wonder_at().map_or(next, |at| next.min(at))
    }

    /// What is due, the most urgent first.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.heard + GIVE_UP_AFTER {
            return Some(Due::GiveUp);
        }
        if self.wonder_at().is_some_and(|at| at <= now) {
            self.wondered = Some(now);
            return Some(Due::Wonder);
        }
        (now >= self.beat_at()).then_some(Due::Beat)
    }

    fn beat_at(&self) -> Instant {
        on_grid(self.base, self.said + Duration::from_millis(BEAT_MILLIS))
    }

    fn wonder_at(&self) -> Option<Instant> {
        let at = (self.heard + WONDER_AFTER).max(self.unanswered? + ANSWER_PATIENCE);
        Some(self.wondered.map_or(at, |before| at.max(before + WONDER_AFTER)))
    }
}

/// The last moment of the grid that is not after `at`.
pub fn on_grid(base: Instant, at: Instant) -> Instant {
    let since = at.saturating_duration_since(base).as_nanos();
    let over = u64::try_from(since % GRID.as_nanos()).unwrap_or_default();
    at.checked_sub(Duration::from_nanos(over)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds after the base.
    fn at(base: Instant, millis: u64) -> Instant {
        base + Duration::from_millis(millis)
    }

    /// What is done, and when, until `end`; the leader answers a beat after so many milliseconds while `answers`.
    fn course(begin: u64, end: u64, answers: impl Fn(u64) -> Option<u64>) -> Vec<(u64, Due)> {
        let base = Instant::now();
        let mut rhythm = Rhythm::new(base, at(base, begin));
        let (mut done, mut answer) = (Vec::new(), None);
        loop {
            let next = rhythm.next();
            let answered = answer.map(|millis| at(base, millis)).filter(|answered| *answered <= next);
            let now = answered.unwrap_or(next);
            let millis = u64::try_from((now - base).as_millis()).unwrap();
            if millis > end {
                return done;
            }
            if answered.is_some() {
                answer = None;
                rhythm.hear(now);
                continue;
            }
            let due = rhythm.due(now).expect("nothing is due before its time");
            done.push((millis, due));
            match due {
                Due::Beat => {
                    rhythm.say(now);
                    answer = answer.or(answers(millis).map(|after| millis + after));
                }
                Due::Wonder => {}
                Due::GiveUp => return done,
            }
        }
    }

    #[test]
    fn a_leader_that_answers_is_asked_every_two_seconds_on_the_grid() {
        let beats: Vec<_> = [2_050, 4_050, 6_050].map(|millis| (millis, Due::Beat)).into();
        assert_eq!(course(63, 7_000, |_| Some(1)), beats);
        assert_eq!(course(63, 7_000, |_| Some(900)), beats);
        assert_eq!(course(0, 4_100, |_| Some(1)), [(2_000, Due::Beat), (4_000, Due::Beat)]);
    }

    #[test]
    fn a_silent_leader_is_wondered_at_after_three_seconds_and_left_after_ten() {
        use Due::{Beat, GiveUp, Wonder};
        let silent = [
            (2_000, Beat),
            (3_000, Wonder),
            (4_000, Beat),
            (6_000, Wonder),
            (6_000, Beat),
            (8_000, Beat),
            (9_000, Wonder),
            (10_000, GiveUp),
        ];
        assert_eq!(course(0, 20_000, |_| None), silent);
        // It falls silent after an answer: counted from there.
        let course = course(0, 20_000, |millis| (millis < 3_000).then_some(500));
        assert_eq!(course[1..3], [(4_000, Beat), (5_500, Wonder)]);
        assert_eq!(course.last(), Some(&(12_500, GiveUp)));
    }

    #[test]
    fn an_agent_that_was_held_up_gives_the_leader_time_to_answer() {
        let base = Instant::now();
        let mut rhythm = Rhythm::new(base, base);
        assert_eq!(rhythm.due(at(base, 4_500)), Some(Due::Beat));
        rhythm.say(at(base, 4_500));
        assert_eq!(rhythm.due(at(base, 5_499)), None);
        assert_eq!(rhythm.due(at(base, 5_500)), Some(Due::Wonder));
        rhythm.hear(at(base, 5_600));
        assert_eq!(rhythm.next(), at(base, 6_500));
    }

    #[test]
    fn what_is_said_puts_a_beat_off_and_does_not_hide_silence() {
        let base = Instant::now();
        let mut rhythm = Rhythm::new(base, base);
        for millis in (500..3_000).step_by(500) {
            rhythm.say(at(base, millis));
            assert_eq!(rhythm.due(at(base, millis + 400)), None);
        }
        assert_eq!(rhythm.due(at(base, 3_000)), Some(Due::Wonder));
    }
}
