//! A leader whose disk is slow gives leadership away: every change waits for the leader's disk, and for a
//! majority of the others, so one slow disk slows all while its master leads and nobody while it does not.
//! Pure.

use std::time::Duration;

use spec::time::Timestamp;

use super::rules;
use super::view::View;
use crate::consensus::Commits;

/// A disk that takes longer than this on average is slow. Disks that are merely busy stay well below.
const SLOW: Duration = Duration::from_millis(100);
/// An average is that of at least so many commits, and so much time: one that hung for a moment is none.
const COMMITS_MIN: u64 = 20;
const WINDOW_MILLIS_MIN: u64 = 3_000;
/// So few commits that they take longer than this wait for nobody.
const WINDOW_MILLIS_MAX: u64 = 60_000;
/// One that was asked to lead keeps leading for so long. Where all disks are slow, leadership would go round
/// and round otherwise.
const INVITED_MILLIS_MIN: u64 = 300_000;
/// Between two attempts to give it away.
const RETRY_MILLIS: u64 = 30_000;

/// What the leader remembers of its disk. Of this reign: it begins empty.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When this reign was first looked at.
    since: Option<Timestamp>,
    /// Where the average that is being taken begins.
    window: Option<(Timestamp, Commits)>,
    tried: Option<Timestamp>,
}

/// Who shall lead instead, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// The successor.
    pub to: u64,
    /// What a commit of this master's disk takes.
    pub commit: Duration,
}

/// Judges the disk whenever an average is complete.
pub(super) fn judge(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Option<HandOver> {
    let since = *memory.since.get_or_insert(now);
    let commit = average(view.status.commits, memory, now).filter(|commit| *commit >= SLOW)?;
    let rests = view.status.invited && now.millis_since(since) < INVITED_MILLIS_MIN;
    if rests || memory.tried.is_some_and(|tried| now.millis_since(tried) < RETRY_MILLIS) {
        return None;
    }
    let to = rules::successor(view, None).ok()??;
    memory.tried = Some(now);
    Some(HandOver { to, commit })
}

fn average(commits: Commits, memory: &mut Memory, now: Timestamp) -> Option<Duration> {
    let (begun, before) = *memory.window.get_or_insert((now, commits));
    let (millis, count) = (now.millis_since(begun), commits.count.saturating_sub(before.count));
    let complete = millis >= WINDOW_MILLIS_MIN && count >= COMMITS_MIN;
    if complete || millis >= WINDOW_MILLIS_MAX {
        memory.window = Some((now, commits));
    }
    complete.then(|| commits.mean_since(&before)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masters::fixture::{Bench, COMMIT};

    /// A leader that is looked at five times a second.
    struct Reign {
        bench: Bench,
        memory: Memory,
        millis: u64,
    }

    impl Reign {
        fn of(bench: Bench, invited: bool) -> Self {
            let mut reign = Self { bench, memory: Memory::default(), millis: 1_000_000 };
            reign.bench.status.invited = invited;
            reign
        }

        /// For so long, with a commit every so often that takes so long: when, from now on, who shall lead.
        fn goes_on(&mut self, seconds: u64, every_millis: u64, commit_millis: u64) -> Vec<(u64, HandOver)> {
            let begun = self.millis;
            let mut found = Vec::new();
            while self.millis < begun + seconds * 1000 {
                let commits = &mut self.bench.status.commits;
                let due = (self.millis + 200) / every_millis - self.millis / every_millis;
                commits.count += due;
                commits.time += Duration::from_millis(due * commit_millis);
                self.millis += 200;
                let now = Timestamp::from_millis(self.millis);
                let memory = &mut self.memory;
                found.extend(
                    self.bench
                        .view(|view| judge(view, memory, now))
                        .map(|it| ((self.millis - begun) / 1000, it)),
                );
            }
            found
        }
    }

    fn three() -> Bench {
        Bench::new(&[1, 2, 3], &[4]).matched(2, COMMIT - 1)
    }

    #[test]
    fn when_a_leader_gives_leadership_away() {
        let alone = || Bench::new(&[1], &[4]);
        let deserted = || three().away(&[2, 3]);
        // The group, whether it was asked to lead; for how many seconds, one commit every so many
        // milliseconds, taking so many; and at which seconds it asks whom to lead.
        type Case = (&'static str, Bench, bool, (u64, u64, u64), &'static [(u64, u64)]);
        let cases: [Case; 11] = [
            ("quick", three(), false, (600, 10, 5), &[]),
            ("nearly slow", three(), false, (600, 150, 99), &[]),
            (
                "slow: at once, and again while it still leads",
                three(),
                false,
                (40, 100, 100),
                &[(3, 3), (33, 3)],
            ),
            ("slower than time itself is not waited for", three(), false, (10, 150, 150), &[(3, 3)]),
            ("few commits take longer to judge", three(), false, (40, 1_000, 150), &[(20, 3)]),
            ("very few are not judged", three(), false, (600, 4_000, 300), &[]),
            ("who is furthest", three().matched(3, COMMIT - 2), false, (10, 150, 150), &[(3, 2)]),
            ("who is there", three().away(&[3]), false, (10, 150, 150), &[(3, 2)]),
            ("nobody is there", deserted(), false, (600, 150, 150), &[]),
            ("nobody else votes", alone(), false, (600, 150, 150), &[]),
            ("asked to lead: only after five minutes", three(), true, (310, 150, 150), &[(300, 3)]),
        ];
        for (case, bench, invited, (seconds, every, takes), expected) in cases {
            let found = Reign::of(bench, invited).goes_on(seconds, every, takes);
            let asked: Vec<_> = found.iter().map(|(at, it)| (*at, it.to)).collect();
            assert_eq!(asked, expected, "{case}");
            let commit = Duration::from_millis(takes);
            assert!(found.iter().all(|(_, it)| it.commit == commit), "{case}: {found:?}");
        }
    }

    #[test]
    fn one_moment_or_the_past_counts_for_nothing() {
        let mut reign = Reign::of(three(), false);
        assert_eq!(reign.goes_on(10, 100, 5), []);
        // One commit that takes a second and a half, among others.
        assert_eq!(reign.goes_on(1, 1_000, 1_500), []);
        assert_eq!(reign.goes_on(10, 100, 5), []);
        // Slow for a second, a minute of rest, quick.
        assert_eq!(reign.goes_on(1, 100, 150), []);
        assert_eq!(reign.goes_on(70, 1_000_000, 0), []);
        assert_eq!(reign.goes_on(10, 500, 5), []);
    }
}
