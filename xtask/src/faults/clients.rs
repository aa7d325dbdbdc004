//! Clients that use the cluster through all its masters while it suffers, and record every operation.
//!
//! Some apps have no tasks: plain registers, many operations a second. Others have tasks that are scaled. Names
//! move on with time, so that what has to be searched for one app stays small.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::rest;
use crate::history::{Call, Operation, Outcome};

use super::house::APPS;

/// Clients of registers, and how many there are at a time.
const REGISTER_CLIENTS: u32 = 5;
const REGISTERS: u64 = 3;
/// The first of them turn to another master after so long: all others may hang at one that is stopped, and
/// what no write is accepted for would then be their patience.
const IMPATIENT_CLIENTS: u32 = 2;
const IMPATIENCE: Duration = Duration::from_secs(1);
/// A register is used for so long.
const REGISTER_LIFE: Duration = Duration::from_secs(15);
/// Clients of apps with tasks, each with its own.
const TASK_CLIENTS: u32 = 3;
/// An app with tasks is used for so long, and then removed.
const TASK_LIFE: Duration = Duration::from_secs(45);
/// Most instances of one.
const INSTANCES_MAX: u64 = 3;
/// Tries to remove one that is not used any more.
const REMOVE_TRIES: u32 = 5;
/// Answers that no client should get are counted, and the first ones kept.
const SURPRISES_KEPT: usize = 10;

/// What all clients share.
#[derive(Default)]
pub struct Shared {
    stop: AtomicBool,
    value: AtomicU64,
    /// Figures.
    pub tally: Tally,
}

/// Counters, in operations and microseconds.
#[derive(Default)]
pub struct Tally {
    /// Answered, also when the answer was no.
    pub ok: AtomicU64,
    /// Surely not taken.
    pub failed: AtomicU64,
    /// No answer that says.
    pub unknown: AtomicU64,
    /// Writes among those that were acknowledged.
    pub writes: AtomicU64,
    last_write: AtomicU64,
    longest_gap: AtomicU64,
    surprises: std::sync::Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, operation: &Operation) {
        let counter = match operation.outcome {
            Outcome::Failed => &self.failed,
            Outcome::Unknown => &self.unknown,
            _ => &self.ok,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if operation.outcome == Outcome::Done {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let before = self.last_write.fetch_max(operation.returned, Ordering::Relaxed);
            // The first write ends no gap.
            if before > 0 {
                self.longest_gap.fetch_max(operation.returned.saturating_sub(before), Ordering::Relaxed);
            }
        }
    }

    /// Longest time from one accepted write to the next.
    pub fn longest_gap(&self) -> Duration {
        Duration::from_micros(self.longest_gap.load(Ordering::Relaxed))
    }

    /// Answers that no client should ever get.
    pub fn surprises(&self) -> Vec<String> {
        self.surprises.lock().map(|found| found.clone()).unwrap_or_default()
    }

    fn note(&self, surprise: String) {
        if let Ok(mut found) = self.surprises.lock()
            && found.len() < SURPRISES_KEPT
        {
            found.push(surprise);
        }
    }
}

/// All clients.
pub struct Clients {
    /// Their figures.
    pub shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Operation>>>,
}

impl Clients {
    /// Starts them.
    pub fn start(masters: &[SocketAddr], seed: u64, since: Instant) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |number: u32| Client {
            number,
            masters: masters.to_vec(),
            rng: Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number.into())),
            since,
            shared: shared.clone(),
            history: Vec::new(),
        };
        let threads = (0..REGISTER_CLIENTS + TASK_CLIENTS)
            .map(client)
            .map(|client| {
                std::thread::spawn(move || {
                    if client.number < REGISTER_CLIENTS { client.use_registers() } else { client.use_tasks() }
                })
            })
            .collect();
        Self { shared, threads }
    }

    /// Stops them; what they recorded.
    pub fn stop(self) -> anyhow::Result<Vec<Operation>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = Vec::new();
        for thread in self.threads {
            history.extend(thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
        }
        Ok(history)
    }
}

struct Client {
    number: u32,
    masters: Vec<SocketAddr>,
    rng: Rng,
    since: Instant,
    shared: Arc<Shared>,
    history: Vec<Operation>,
}

impl Client {
    fn use_registers(mut self) -> Vec<Operation> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = format!("/{APPS}/r{}-{}", self.rng.u64(0..REGISTERS), self.age(REGISTER_LIFE));
            let call = match self.rng.u8(0..20) {
                0..=1 => Call::Create([self.value(), self.value(), 0]),
                2 => Call::Delete,
                3..=6 => Call::Set(0, self.value()),
                7..=10 => Call::Set(1, self.value()),
                _ => Call::Read,
            };
            self.operate(&key, call);
            std::thread::sleep(Duration::from_millis(self.rng.u64(5..60)));
        }
        self.history
    }

    fn use_tasks(mut self) -> Vec<Operation> {
        let mut used = String::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = format!("/{APPS}/t{}-{}", self.number, self.age(TASK_LIFE));
            if key != used {
                self.remove(&used);
                used.clone_from(&key);
            }
            let call = match self.rng.u8(0..20) {
                0..=3 => Call::Create([self.value(), self.value(), self.rng.u64(1..=INSTANCES_MAX)]),
                4 => Call::Delete,
                5 => Call::Set(0, self.value()),
                6..=12 => Call::Set(2, self.rng.u64(0..=INSTANCES_MAX)),
                _ => Call::Read,
            };
            self.operate(&key, call);
            std::thread::sleep(Duration::from_millis(self.rng.u64(200..1200)));
        }
        self.history
    }

    /// Removes an app that is not used any more.
    fn remove(&mut self, key: &str) {
        for _ in 0..REMOVE_TRIES {
            if key.is_empty() || matches!(self.operate(key, Call::Delete), Outcome::Done | Outcome::Absent) {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn operate(&mut self, key: &str, call: Call) -> Outcome {
        let Some(master) = self.rng.choice(self.masters.iter().copied()) else { return Outcome::Failed };
        let patience = if self.number < IMPATIENT_CLIENTS { IMPATIENCE } else { rest::TIMEOUT };
        let who = (self.number, patience);
        let operation = operate(master, who, key, call, self.since, &self.shared.tally);
        let outcome = operation.outcome;
        self.history.push(operation);
        outcome
    }

    /// How many lives have passed.
    fn age(&self, life: Duration) -> u128 {
        self.since.elapsed().as_millis() / life.as_millis()
    }

    /// A value that no other operation has.
    fn value(&self) -> u64 {
        self.shared.value.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One operation of a client and its patience through one master, recorded.
pub fn operate(
    master: SocketAddr,
    (client, patience): (u32, Duration),
    key: &str,
    call: Call,
    since: Instant,
    tally: &Tally,
) -> Operation {
    let now = || u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (method, path, body) = rest::request(key, call);
    let invoked = now();
    let answer = rest::ask_within(patience, master, method, &path, &body);
    let returned = now();
    let outcome = rest::outcome(call, &answer).unwrap_or_else(|surprise| {
        tally.note(format!("{master} {key}: {surprise}"));
        Outcome::Unknown
    });
    let operation = Operation { client, key: key.to_owned(), call, outcome, invoked, returned };
    tally.count(&operation);
    operation
}
