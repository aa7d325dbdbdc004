//! Stormy lives: messages lost, doubled and reordered, nodes crashing and starting, links cut, members coming
//! and going, leadership handed about. Nothing acknowledged may be lost, and in the end all agree.

use super::group::Group;
use crate::consensus::store::Fault;
use crate::consensus::{MemberChange, Sent};

struct Storm {
    group: Group,
    source: fastrand::Rng,
    /// Tickets and texts of what was proposed.
    sent: Vec<(u64, String)>,
    /// Number of the next member; 0: nobody comes or goes.
    next_member: u64,
    reads: Vec<u64>,
    changes: Vec<u64>,
}

/// What there was of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    trace: u32,
    acknowledged: usize,
    reads: usize,
    changes: usize,
}

fn storm(voters: u64, seed: u64, steps: usize, changing: bool) -> Outcome {
    let next_member = if changing { voters + 1 } else { 0 };
    let mut storm = Storm {
        group: Group::new(voters, seed),
        source: fastrand::Rng::with_seed(seed),
        sent: Vec::new(),
        next_member,
        reads: Vec::new(),
        changes: Vec::new(),
    };
    for step in 0..steps {
        storm.step(step);
    }
    storm.heal();
    storm.outcome(seed)
}

impl Storm {
    fn step(&mut self, step: usize) {
        let Self { group, source, .. } = self;
        let waiting = group.mail.0.lock().unwrap().len();
        let ids: Vec<u64> = group.members.keys().copied().collect();
        let id = *source.choice(&ids).unwrap();
        let leader = group.leader().unwrap_or(id);
        match source.u16(..1000) {
            0..700 if waiting > 0 => group.deliver(source.usize(..waiting)),
            700..715 if waiting > 0 => self.lose(waiting),
            715..725 if waiting > 0 => {
                let copy = group.mail.0.lock().unwrap()[source.usize(..waiting)].clone();
                group.mail.0.lock().unwrap().push(copy);
            }
            725..790 => {
                let text = format!("{step}");
                self.sent.push((group.propose(leader, &[&text]), text));
            }
            790..810 => self.reads.push(group.read(leader)),
            810..820 => self.change(leader, id),
            820..823 => drop(group.ask(leader, |node, ticket| node.transfer(ticket, id))),
            823..828 => {
                let fault = *source.choice(&[Fault::Fail, Fault::FailAfterSync, Fault::Halfway]).unwrap();
                group.members[&id].disk.inject(fault);
            }
            828..860 if group.members[&id].node.is_none() => group.start(id),
            860..864 => group.isolate(id),
            864..890 => group.cut.clear(),
            890..893 => group.crash(id),
            _ => group.tick(),
        }
    }

    /// A message is lost. Of a snapshot the transport mostly says so.
    fn lose(&mut self, waiting: usize) {
        let letter = self.group.mail.0.lock().unwrap().remove(self.source.usize(..waiting));
        if letter.0.has_snapshot() && self.source.u8(..4) > 0 {
            self.group.report(letter.0.from, letter.0.to, Sent::SnapshotLost);
        }
    }

    fn change(&mut self, leader: u64, id: u64) {
        let Some(members) = self.group.node(leader).map(|node| node.status().members) else { return };
        if self.next_member == 0 {
            return;
        }
        let change = match (members.learners.first(), members.voters.len()) {
            (Some(learner), _) if members.voters.contains(&id) => {
                MemberChange::Promote { id: *learner, replacing: Some(id) }
            }
            (Some(learner), _) => MemberChange::Promote { id: *learner, replacing: None },
            (None, 4..) => MemberChange::Remove(id),
            (None, _) => {
                self.group.join(self.next_member, &[]);
                self.next_member += 1;
                MemberChange::AddLearner(self.next_member - 1)
            }
        };
        self.changes.push(self.group.change(leader, change));
    }

    /// All faults end; the group must come to agree and to accept proposals again. Who was removed is gone.
    fn heal(&mut self) {
        let group = &mut self.group;
        group.cut.clear();
        for id in group.members.keys().copied().collect::<Vec<_>>() {
            group.crash(id);
            group.start(id);
        }
        group.elected();
        group.run(60);
        let leader = group.elected();
        let members = group.node(leader).unwrap().status().members;
        assert!(members.outgoing.is_empty(), "still between two configurations: {members:?}");
        group.members.retain(|id, _| members.voters.contains(id) || members.learners.contains(id));
        let last = group.propose(leader, &["last"]);
        let read = group.read(leader);
        group.run(60);
        assert!(group.answers[&last].is_ok() && group.answers[&read].is_ok());
        group.assert_equal();
    }

    fn outcome(self, seed: u64) -> Outcome {
        let Self { group, sent, reads, changes, .. } = self;
        let texts = group.texts(*group.members.keys().next().unwrap());
        let done = |ticket: &u64| group.answers.get(ticket).is_some_and(Result::is_ok);
        let acknowledged: Vec<_> = sent.iter().filter(|(ticket, _)| done(ticket)).collect();
        for (_, text) in &acknowledged {
            assert!(texts.contains(text), "seed {seed}: acknowledged {text} is lost");
        }
        Outcome {
            trace: group.trace.finalize(),
            acknowledged: acknowledged.len(),
            reads: reads.iter().filter(|ticket| done(ticket)).count(),
            changes: changes.iter().filter(|ticket| done(ticket)).count(),
        }
    }
}

/// Runs storms and demands that they leave something to lose.
fn storms(voters: u64, seeds: std::ops::Range<u64>, changing: bool) {
    let outcomes: Vec<_> = seeds.map(|seed| storm(voters, seed, 3000, changing)).collect();
    let sum = |part: fn(&Outcome) -> usize| outcomes.iter().map(part).sum::<usize>();
    let acknowledged = sum(|outcome| outcome.acknowledged);
    let (reads, changes) = (sum(|outcome| outcome.reads), sum(|outcome| outcome.changes));
    println!("{acknowledged} entries, {reads} reads, {changes} changes of the members");
    assert!(acknowledged > 30 * outcomes.len() && reads > outcomes.len(), "{acknowledged} {reads}");
    assert!(!changing || changes > outcomes.len(), "{changes}");
}

#[test]
fn three_lose_nothing_acknowledged_and_end_in_agreement() {
    storms(3, 0..30, false);
}

#[test]
fn five_lose_nothing_acknowledged_and_end_in_agreement() {
    storms(5, 100..115, false);
}

#[test]
fn members_come_and_go_and_nothing_acknowledged_is_lost() {
    storms(3, 200..240, true);
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    assert_eq!(storm(3, 77, 2000, true), storm(3, 77, 2000, true));
    assert_ne!(storm(3, 77, 2000, true).trace, storm(3, 78, 2000, true).trace);
}
