//! Several nodes in one thread, with disks in memory and a mailbag instead of a network: elections, crashes,
//! lost and reordered messages, snapshots for those who were away, changes of the members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use raft::eraftpb::MessageType;

use super::Recorder;
use crate::consensus::open::first_snapshot;
use crate::consensus::store::{Fault, First, LogStore, MemoryDisk, MemoryStore};
use crate::consensus::{
    Answer, MemberChange, Message, Node, NodeConfig, NodeError, Pieces, Proposal, ProposeError, Sent,
    SnapshotPolicy, Transport,
};

/// A message, and the contents if it is a snapshot.
#[derive(Clone)]
pub(super) struct Letter(pub(super) Message, pub(super) Vec<Vec<u8>>);

/// Messages that were sent and not yet delivered.
#[derive(Clone, Default)]
pub(super) struct Mailbag(pub(super) Arc<Mutex<Vec<Letter>>>);

impl Mailbag {
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    /// Whether there were any.
    pub(super) fn lose_snapshots(&self) -> bool {
        let mut mail = self.0.lock().unwrap();
        let before = mail.len();
        mail.retain(|letter| letter.0.get_msg_type() != MessageType::MsgSnapshot);
        mail.len() < before
    }
}

impl Transport for Mailbag {
    fn send(&self, to: u64, message: Message) {
        assert_eq!(to, message.to);
        self.0.lock().unwrap().push(Letter(message, Vec::new()));
    }

    fn send_snapshot(&self, to: u64, message: Message, pieces: Pieces) {
        assert_eq!(to, message.to);
        assert!(message.get_snapshot().data.is_empty(), "the contents are streamed");
        self.0.lock().unwrap().push(Letter(message, pieces.map(Result::unwrap).collect()));
    }
}

pub(super) struct Member {
    pub(super) disk: MemoryDisk,
    pub(super) machine: Recorder,
    /// Absent while crashed.
    pub(super) node: Option<Node<Recorder, MemoryStore>>,
}

type Outputs = Vec<(u64, usize)>;

pub(super) struct Group {
    pub(super) members: BTreeMap<u64, Member>,
    pub(super) mail: Mailbag,
    /// Links that lose everything.
    pub(super) cut: BTreeSet<(u64, u64)>,
    pub(super) answers: BTreeMap<u64, Result<Outputs, ProposeError>>,
    next_ticket: u64,
    /// Last index that was acknowledged.
    pub(super) acknowledged: u64,
    /// For each read what was acknowledged before it.
    reads: BTreeMap<u64, u64>,
    policy: SnapshotPolicy,
    seed: u64,
    /// Everything delivered, to compare two runs.
    pub(super) trace: crc32fast::Hasher,
}

impl Group {
    pub(super) fn new(voters: u64, seed: u64) -> Self {
        let voters: Vec<u64> = (1..=voters).collect();
        let mut group = Self {
            members: BTreeMap::new(),
            mail: Mailbag::default(),
            cut: BTreeSet::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
            acknowledged: 0,
            reads: BTreeMap::new(),
            policy: SnapshotPolicy { entries: 40, keep_entries: 5, ..SnapshotPolicy::default() },
            seed,
            trace: crc32fast::Hasher::new(),
        };
        voters.iter().for_each(|id| group.join(*id, &voters));
        group
    }

    pub(super) fn join(&mut self, id: u64, voters: &[u64]) {
        let first = first_snapshot(&Recorder::default(), voters);
        let first = if voters.contains(&id) { first } else { First::nothing() };
        let disk = MemoryDisk::founded(first).unwrap();
        self.members.insert(id, Member { disk, machine: Recorder::default(), node: None });
        self.start(id);
    }

    pub(super) fn start(&mut self, id: u64) {
        let config = NodeConfig { id, seed: self.seed, snapshots: self.policy };
        let member = self.members.get_mut(&id).unwrap();
        member.machine = Recorder::default();
        member.node = Some(Node::open(config, member.disk.open(), member.machine.clone()).unwrap());
        self.settle(id);
    }

    pub(super) fn crash(&mut self, id: u64) {
        let member = self.members.get_mut(&id).unwrap();
        member.disk.crash();
        member.node = None;
    }

    pub(super) fn node(&mut self, id: u64) -> Option<&mut Node<Recorder, MemoryStore>> {
        self.members.get_mut(&id)?.node.as_mut()
    }

    /// Lets a node do what is outstanding. A node whose disk fails is dead.
    pub(super) fn settle(&mut self, id: u64) {
        let mail = self.mail.clone();
        let Some(node) = self.node(id) else { return };
        let settled = node.ready(&mail).and_then(|answers| {
            if let Some(job) = node.snapshot_due() {
                node.snapshot_written(job.run(&Default::default())?)?;
            }
            Ok(answers)
        });
        match settled {
            Ok(answers) => self.record(id, answers),
            Err(NodeError::Store(_)) => self.crash(id),
            Err(error) => panic!("node {id}: {error}"),
        }
    }

    fn record(&mut self, id: u64, answers: Vec<Answer<(u64, usize)>>) {
        let applied = self.node(id).map_or(0, |node| node.status().applied);
        for Answer { ticket, outcome } in answers {
            if let Some((index, _)) = outcome.as_ref().ok().and_then(|outputs| outputs.last()) {
                self.acknowledged = self.acknowledged.max(*index);
            }
            if let (Ok(_), Some(before)) = (&outcome, self.reads.get(&ticket)) {
                assert!(applied >= *before, "a read missed what was acknowledged before it");
            }
            assert!(self.answers.insert(ticket, outcome).is_none(), "answered twice");
        }
    }

    /// A linearizable read, by its ticket.
    pub(super) fn read(&mut self, id: u64) -> u64 {
        self.reads.insert(self.next_ticket, self.acknowledged);
        self.ask(id, Node::read_index)
    }

    pub(super) fn tick(&mut self) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            if let Some(node) = self.node(id) {
                node.tick();
                self.settle(id);
            }
        }
    }

    pub(super) fn deliver(&mut self, at: usize) {
        let Letter(message, pieces) = self.mail.0.lock().unwrap().remove(at);
        let (from, to) = (message.from, message.to);
        let snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
        self.trace.update(&protobuf::Message::write_to_bytes(&message).unwrap());
        pieces.iter().for_each(|piece| self.trace.update(piece));
        let lost = self.cut.contains(&(from, to)) || self.node(to).is_none();
        if lost {
            if snapshot {
                self.report(from, to, Sent::SnapshotLost);
            }
            return;
        }
        let node = self.node(to).unwrap();
        if !snapshot {
            node.step(message);
            return self.settle(to);
        }
        let mut sink = node.stager()();
        if pieces.iter().try_for_each(|piece| sink.put(piece)).is_ok() {
            node.step_snapshot(message, sink.finish());
            self.settle(to);
        }
        self.report(from, to, Sent::SnapshotArrived);
    }

    pub(super) fn report(&mut self, from: u64, to: u64, sent: Sent) {
        if let Some(node) = self.node(from) {
            node.report(to, sent);
            self.settle(from);
        }
    }

    /// A change of the members, by its ticket.
    pub(super) fn change(&mut self, id: u64, change: MemberChange) -> u64 {
        self.ask(id, |node, ticket| node.propose_members(ticket, change))
    }

    pub(super) fn ask(&mut self, id: u64, what: impl FnOnce(&mut Node<Recorder, MemoryStore>, u64)) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some(node) = self.node(id) {
            what(node, ticket);
            self.settle(id);
        }
        ticket
    }

    /// Delivers all messages, and those they cause.
    pub(super) fn deliver_all(&mut self) {
        while !self.mail.is_empty() {
            self.deliver(0);
        }
    }

    pub(super) fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.tick();
            self.deliver_all();
        }
    }

    pub(super) fn leader(&self) -> Option<u64> {
        let leads = |node: &Node<Recorder, MemoryStore>| node.status().leading;
        let mut leaders = self.members.iter().filter(|(_, member)| member.node.as_ref().is_some_and(leads));
        leaders.next().map(|(id, _)| *id)
    }

    pub(super) fn elected(&mut self) -> u64 {
        for _ in 0..200 {
            self.run(1);
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("nobody was elected");
    }

    pub(super) fn propose(&mut self, id: u64, texts: &[&str]) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entries = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        if let Some(node) = self.node(id) {
            let refused = node.propose(vec![Proposal { ticket, entries }]);
            self.record(id, refused);
            self.settle(id);
        }
        ticket
    }

    pub(super) fn texts(&self, id: u64) -> Vec<String> {
        self.members[&id].machine.texts()
    }

    pub(super) fn assert_equal(&self) {
        let mut applied = self.members.values().map(|member| member.machine.seen().entries.clone());
        let first = applied.next().unwrap();
        applied.for_each(|other| assert_eq!(other, first));
    }

    pub(super) fn isolate(&mut self, id: u64) {
        let others: Vec<_> = self.members.keys().copied().filter(|other| *other != id).collect();
        self.cut.extend(others.into_iter().flat_map(|other| [(id, other), (other, id)]));
    }
}

#[test]
fn three_elect_replicate_and_agree() {
    let mut group = Group::new(3, 1);
    let leader = group.elected();
    let ticket = group.propose(leader, &["a", "b"]);
    group.propose(leader, &["c"]);
    group.run(5);
    assert_eq!(group.answers[&ticket].as_ref().unwrap().len(), 2);
    assert_eq!(group.texts(leader), ["a", "b", "c"]);
    group.assert_equal();
    let follower = group.members.keys().copied().find(|id| *id != leader).unwrap();
    let refused = group.propose(follower, &["d"]);
    assert_eq!(group.answers[&refused], Err(ProposeError::NotLeader { leader: Some(leader) }));
}

#[test]
fn nothing_is_acknowledged_before_a_majority_has_it_on_disk() {
    let mut group = Group::new(3, 2);
    let leader = group.elected();
    group.isolate(leader);
    let ticket = group.propose(leader, &["alone"]);
    group.run(3);
    assert!(!group.answers.contains_key(&ticket));
    // Without a majority it steps down, and says that it does not know.
    group.run(30);
    assert_eq!(group.answers[&ticket], Err(ProposeError::Dropped));
    group.cut.clear();
    group.elected();
    group.run(20);
    assert!(group.texts(leader).is_empty(), "another leader's log has replaced it");
    group.assert_equal();
}

#[test]
fn a_follower_that_loses_what_was_not_synced_catches_up() {
    for fault in [Fault::Fail, Fault::FailAfterSync] {
        let mut group = Group::new(3, 3);
        let leader = group.elected();
        let victim = group.members.keys().copied().find(|id| *id != leader).unwrap();
        group.propose(leader, &["before"]);
        group.run(2);
        group.members[&victim].disk.inject(fault);
        let during = group.propose(leader, &["during"]);
        group.run(2);
        assert!(group.members[&victim].node.is_none(), "its disk failed");
        assert!(group.answers[&during].is_ok(), "two of three are enough");
        group.propose(leader, &["meanwhile"]);
        group.run(2);
        group.start(victim);
        group.run(30);
        assert_eq!(group.texts(victim), ["before", "during", "meanwhile"]);
        group.assert_equal();
    }
}

#[test]
fn a_leader_that_dies_in_its_commit_loses_nothing_acknowledged() {
    for fault in [Fault::Fail, Fault::FailAfterSync] {
        let mut group = Group::new(3, 4);
        let first = group.elected();
        let kept = group.propose(first, &["kept"]);
        group.run(2);
        group.members[&first].disk.inject(fault);
        let unsure = group.propose(first, &["unsure"]);
        assert!(group.members[&first].node.is_none());
        let second = group.elected();
        assert_ne!(first, second);
        group.propose(second, &["later"]);
        group.run(2);
        group.start(first);
        group.run(30);
        assert!(group.answers[&kept].is_ok());
        assert!(!group.answers.contains_key(&unsure), "nobody was told that it is done");
        let texts = group.texts(second);
        assert_eq!((texts.first().unwrap().as_str(), texts.last().unwrap().as_str()), ("kept", "later"));
        group.assert_equal();
    }
}

#[test]
fn who_was_away_for_long_gets_a_snapshot() {
    let mut group = Group::new(3, 5);
    let leader = group.elected();
    let away = group.members.keys().copied().find(|id| *id != leader).unwrap();
    group.crash(away);
    for number in 0..150 {
        group.propose(leader, &[&number.to_string()]);
        group.run(1);
    }
    let store = group.node(leader).unwrap().store();
    assert!(store.outline().first_index() > 50, "the log was compacted");
    group.start(away);
    // The first snapshot is lost on the way; the transport says so.
    for _ in 0..40 {
        group.tick();
        while !group.mail.is_empty() {
            if group.mail.lose_snapshots() {
                group.node(leader).unwrap().report(away, Sent::SnapshotLost);
            } else {
                group.deliver(0);
            }
        }
    }
    assert_eq!(group.members[&away].machine.seen().restored.len(), 1);
    group.run(40);
    assert!(group.members[&away].machine.seen().restored.len() > 1, "restored from the leader's snapshot");
    assert_eq!(group.texts(away).len(), 150);
    group.crash(away);
    group.start(away);
    group.run(40);
    group.assert_equal();
}

#[test]
fn a_lying_disk_is_found_out() {
    let mut group = Group::new(1, 6);
    group.members[&1].disk.lie(true);
    let leader = group.elected();
    let ticket = group.propose(leader, &["gone"]);
    assert!(group.answers[&ticket].is_ok());
    group.crash(1);
    group.start(1);
    group.elected();
    assert!(group.texts(1).is_empty(), "an acknowledged entry is lost, and these tests would see it");
}

#[test]
fn members_change_and_are_found_again_after_a_crash() {
    let mut group = Group::new(1, 7);
    let leader = group.elected();
    group.propose(leader, &["a"]);
    group.join(2, &[1]);
    group.join(3, &[1]);
    for id in [2, 3] {
        let added = group.change(leader, MemberChange::AddLearner(id));
        group.run(20);
        assert_eq!(group.answers[&added], Ok(vec![]));
        let promoted = group.change(leader, MemberChange::Promote { id, replacing: None });
        group.run(10);
        assert_eq!(group.answers[&promoted], Ok(vec![]));
        let node = group.node(leader).unwrap();
        let on_disk = node.store().outline().hard_state().commit;
        assert_eq!(on_disk, node.status().applied, "or a crash would go back to the old members");
    }
    let ticket = group.propose(leader, &["b"]);
    group.run(5);
    assert!(group.answers[&ticket].is_ok());
    for id in 1..=3 {
        group.crash(id);
    }
    group.mail.0.lock().unwrap().clear();
    group.start(1);
    group.run(60);
    assert_eq!(group.leader(), None, "one of three is no majority, also after a crash");
    group.start(2);
    group.start(3);
    group.elected();
    group.run(20);
    assert_eq!(group.texts(3), ["a", "b"]);
    group.assert_equal();
}

#[test]
fn foreign_and_malformed_messages_are_dropped() {
    let mut group = Group::new(1, 8);
    group.elected();
    let mut snapshot = Message { to: 1, from: 9, term: 99, ..Message::default() };
    snapshot.set_msg_type(MessageType::MsgSnapshot);
    snapshot.mut_snapshot().data = vec![255; 9].into();
    let mut proposal = Message { to: 1, from: 9, ..Message::default() };
    proposal.set_msg_type(MessageType::MsgPropose);
    let misdirected = Message { to: 2, from: 9, term: 99, ..Message::default() };
    for message in [snapshot, proposal, misdirected] {
        group.node(1).unwrap().step(message);
        group.settle(1);
    }
    assert_eq!(group.leader(), Some(1));
}
