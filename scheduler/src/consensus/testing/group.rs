//! Several nodes in one thread, with disks in memory and a mailbag instead of a network: elections, crashes,
//! lost and reordered messages, snapshots for those who were away, changes of the members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use raft::eraftpb::MessageType;

use super::Recorder;
use crate::consensus::open::first_snapshot;
use crate::consensus::store::{First, MemoryDisk, MemoryStore};
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
        let settled = node.ready(&mail, &mut || false).and_then(|answers| {
            if let Some(job) = node.snapshot_due()? {
                node.snapshot_written(job.run(&Default::default())?);
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
