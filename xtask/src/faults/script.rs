//! What goes wrong and when, decided by the seed before anything runs. Pure.
//!
//! Two tracks run side by side, one for the masters and one for the agents, and within a track one fault is over
//! before the next begins: so at most one master is missing at a time, but for the moments when all are killed.
//! Each track takes its faults from a shuffled deck, so that none is left out for long.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// Which master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Whoever leads when the time has come.
    Leader,
    /// The one at this place.
    Place(u8),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, started again afterwards.
    KillMaster(Pick),
    /// Stopped (SIGSTOP), goes on afterwards as if nothing had been.
    StopMaster(Pick),
    /// All at once.
    KillAllMasters,
    /// Cut off from all nodes; clients still reach it.
    IsolateMaster(Pick),
    /// What it sends reaches no node.
    MuteMaster(Pick),
    /// Nothing from any node reaches it.
    DeafenMaster(Pick),
    /// It and the last agent on one side, all others on the other.
    Split(Pick),
    /// What it sends is slow.
    SlowMaster(Pick),
    /// Leadership is given to another master, through the API.
    Transfer,
    /// Its disk is lost; it joins as new.
    ReplaceMaster(Pick),
    /// `kill -9` of the agent; its tasks go on.
    KillAgent(u8),
    /// The agent is stopped; its tasks go on.
    StopAgent(u8),
    /// The agent and all its tasks are killed at once.
    PowerOff(u8),
    /// Cut off from all nodes.
    IsolateAgent(u8),
}

/// One of them, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// From the beginning.
    pub at: Duration,
    /// Until it is undone.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
}

/// The whole script. The first agent is never touched: its tasks show what the masters' faults do to tasks.
pub fn script(seed: u64, length: Duration, masters: u8, agents: u8) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let mut steps = track(&mut rng.fork(), length, |rng| master_deck(rng, masters));
    replace_once(&mut rng, &mut steps, masters);
    if agents > 1 {
        steps.extend(track(&mut rng.fork(), length, |rng| agent_deck(rng, agents)));
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// Steps one after another, with a pause after each, until the time is up.
fn track(rng: &mut Rng, length: Duration, deck: impl Fn(&mut Rng) -> Vec<Fault>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut left = Vec::new();
    loop {
        let free = steps.last().map_or(Duration::from_secs(2), |last| last.at + last.lasts);
        let at = free + Duration::from_millis(rng.u64(1000..4000));
        if left.is_empty() {
            left = deck(rng);
        }
        let Some(fault) = left.pop() else { return steps };
        let lasts = Duration::from_millis(rng.u64(fault.length()));
        if at + lasts > length {
            return steps;
        }
        steps.push(Step { at, lasts, fault });
    }
}

/// Half of all picks are the leader: its faults are the worst.
fn pick(rng: &mut Rng, masters: u8) -> Pick {
    if rng.bool() { Pick::Leader } else { Pick::Place(rng.u8(0..masters)) }
}

fn master_deck(rng: &mut Rng, masters: u8) -> Vec<Fault> {
    let mut deck = vec![
        Fault::KillMaster(Pick::Leader),
        Fault::KillMaster(pick(rng, masters)),
        Fault::StopMaster(Pick::Leader),
        Fault::StopMaster(pick(rng, masters)),
        Fault::KillAllMasters,
        Fault::IsolateMaster(Pick::Leader),
        Fault::IsolateMaster(pick(rng, masters)),
        Fault::MuteMaster(pick(rng, masters)),
        Fault::DeafenMaster(pick(rng, masters)),
        Fault::Split(pick(rng, masters)),
        Fault::SlowMaster(pick(rng, masters)),
        Fault::Transfer,
    ];
    // Of a single master nothing is replaced, and nobody takes over.
    deck.retain(|fault| masters > 1 || !matches!(fault, Fault::Transfer));
    rng.shuffle(&mut deck);
    deck
}

fn agent_deck(rng: &mut Rng, agents: u8) -> Vec<Fault> {
    let mut deck: Vec<Fault> = (1..agents)
        .flat_map(|agent| {
            [Fault::KillAgent, Fault::StopAgent, Fault::PowerOff, Fault::IsolateAgent]
                .map(|fault| fault(agent))
        })
        .collect();
    rng.shuffle(&mut deck);
    deck
}

/// In the middle a master loses its disk instead of what was to happen to it. A transfer takes no time, in which
/// nobody could be started again.
fn replace_once(rng: &mut Rng, steps: &mut [Step], masters: u8) {
    let middle = steps.len() / 2;
    let mut later = steps.iter_mut().skip(middle);
    if masters > 1
        && let Some(step) = later.find(|step| step.fault != Fault::Transfer)
    {
        step.fault = Fault::ReplaceMaster(pick(rng, masters));
    }
}

impl Fault {
    /// How long it lasts, in milliseconds.
    fn length(self) -> std::ops::Range<u64> {
        match self {
            Self::Transfer => 0..1,
            Self::KillMaster(_) | Self::KillAllMasters | Self::KillAgent(_) => 200..4000,
            // Longer than the silence after which an agent counts as unreachable, about every second time.
            Self::StopAgent(_) | Self::IsolateAgent(_) | Self::PowerOff(_) => 4000..16_000,
            _ => 1500..6000,
        }
    }

    /// Does it cut connections?
    pub fn is_partition(self) -> bool {
        matches!(
            self,
            Self::IsolateMaster(_)
                | Self::MuteMaster(_)
                | Self::DeafenMaster(_)
                | Self::Split(_)
                | Self::IsolateAgent(_)
        )
    }

    /// Does it kill processes?
    pub fn is_kill(self) -> bool {
        matches!(
            self,
            Self::KillMaster(_)
                | Self::KillAllMasters
                | Self::ReplaceMaster(_)
                | Self::KillAgent(_)
                | Self::PowerOff(_)
        )
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => write!(f, "the leader"),
            Self::Place(place) => write!(f, "m{}", place + 1),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillMaster(pick) => write!(f, "kill {pick}"),
            Self::StopMaster(pick) => write!(f, "stop {pick}"),
            Self::KillAllMasters => write!(f, "kill all masters"),
            Self::IsolateMaster(pick) => write!(f, "cut off {pick}"),
            Self::MuteMaster(pick) => write!(f, "lose what {pick} sends"),
            Self::DeafenMaster(pick) => write!(f, "lose what {pick} is sent"),
            Self::Split(pick) => write!(f, "split {pick} and the last agent from the others"),
            Self::SlowMaster(pick) => write!(f, "slow the link of {pick}"),
            Self::Transfer => write!(f, "transfer leadership"),
            Self::ReplaceMaster(pick) => write!(f, "lose the disk of {pick}"),
            Self::KillAgent(agent) => write!(f, "kill a{}", agent + 1),
            Self::StopAgent(agent) => write!(f, "stop a{}", agent + 1),
            Self::PowerOff(agent) => write!(f, "power off a{}", agent + 1),
            Self::IsolateAgent(agent) => write!(f, "cut off a{}", agent + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_is_a_script() {
        assert_eq!(script(7, TEN_MINUTES, 3, 3), script(7, TEN_MINUTES, 3, 3));
        assert_ne!(script(7, TEN_MINUTES, 3, 3), script(8, TEN_MINUTES, 3, 3));
    }

    #[test]
    fn everything_happens_in_ten_minutes_and_ends_in_time() {
        for seed in 0..50 {
            let steps = script(seed, TEN_MINUTES, 3, 3);
            let kinds: std::collections::BTreeSet<String> = steps
                .iter()
                .map(|step| format!("{:?}", step.fault).split('(').next().unwrap_or_default().to_owned())
                .collect();
            assert_eq!(kinds.len(), 14, "seed {seed}: {kinds:?}");
            let replaced = steps.iter().filter(|step| matches!(step.fault, Fault::ReplaceMaster(_)));
            let away: Vec<Duration> = replaced.map(|step| step.lasts).collect();
            assert!(away.len() == 1 && away[0] >= Duration::from_millis(200), "seed {seed}: {away:?}");
            assert!(steps.iter().all(|step| step.at + step.lasts <= TEN_MINUTES), "seed {seed}");
            assert!(steps.is_sorted_by_key(|step| step.at), "seed {seed}");
        }
    }

    #[test]
    fn the_first_agent_is_left_alone_and_tracks_do_not_overlap() {
        let of_agent = |fault: Fault| match fault {
            Fault::KillAgent(agent)
            | Fault::StopAgent(agent)
            | Fault::PowerOff(agent)
            | Fault::IsolateAgent(agent) => Some(agent),
            _ => None,
        };
        for seed in 0..50 {
            let steps = script(seed, TEN_MINUTES, 5, 4);
            assert!(steps.iter().all(|step| of_agent(step.fault) != Some(0)));
            let (agents, masters): (Vec<_>, Vec<_>) =
                steps.into_iter().partition(|step| of_agent(step.fault).is_some());
            for track in [agents, masters] {
                assert!(track.windows(2).all(|two| two[0].at + two[0].lasts < two[1].at), "seed {seed}");
            }
        }
    }
}
