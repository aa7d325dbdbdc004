//! Kills a process that appends to a log, at random instants, and looks whether anything it acknowledged is
//! missing. The child is this very test, started again with a directory in its environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gantry_scheduler::consensus::{Frozen, Handle, Machine, Options, SnapshotPolicy, Start, open};

const KILLS: u32 = 20;
/// Proposers at work in the child, so that commits are shared.
const PROPOSERS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(60);
const DIRECTORY: &str = "GANTRY_LOG_KILL_DIRECTORY";
const ROUND: &str = "GANTRY_LOG_KILL_ROUND";

/// Remembers which number came at which index.
#[derive(Default)]
struct Numbers(BTreeMap<u64, u64>);

impl Machine for Numbers {
    type Output = Applied;

    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Applied, String> {
        if entry == b"list" {
            return Ok(Applied::List(self.0.clone()));
        }
        let number = entry[..8].try_into().map(u64::from_le_bytes).expect("the test's own entries");
        assert!(self.0.insert(index, number).is_none(), "applied twice");
        Ok(Applied::At(index))
    }

    fn applied(&mut self) {}

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(Pairs(self.0.clone()))
    }

    fn restore(&mut self, _: u64, chunks: Vec<Vec<u8>>) -> Result<(), String> {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| "not a number");
        self.0.clear();
        for pair in chunks.iter().flat_map(|chunk| chunk.chunks(16)) {
            self.0.insert(number(&pair[..8])?, number(&pair[8..])?);
        }
        Ok(())
    }

    fn leadership(&mut self, _: u64, _: Option<u64>, _: bool) {}
}

enum Applied {
    At(u64),
    List(BTreeMap<u64, u64>),
}

struct Pairs(BTreeMap<u64, u64>);

impl Frozen for Pairs {
    fn chunks(self: Box<Self>) -> Box<dyn Iterator<Item = Vec<u8>>> {
        let pairs: Vec<_> = self.0.into_iter().collect();
        let encode = |part: &[(u64, u64)]| {
            part.iter()
                .flat_map(|(index, number)| [index.to_le_bytes(), number.to_le_bytes()])
                .flatten()
                .collect()
        };
        Box::new(pairs.chunks(50).map(encode).collect::<Vec<_>>().into_iter())
    }
}

/// Opens the log and waits until it leads.
async fn start(dir: &Path) -> Handle<Numbers> {
    let snapshots = SnapshotPolicy { entries: 200, keep_entries: 50, ..SnapshotPolicy::default() };
    let options = Options { snapshots, ..Options::new(dir, "m1", Start::Found, 1) };
    let handle = open(options, Numbers::default()).unwrap_or_else(|error| panic!("{error}"));
    let mut status = handle.status();
    let leading = status.wait_for(|status| status.leading);
    tokio::time::timeout(PATIENCE, leading).await.expect("a single voter leads").expect("the log runs");
    handle
}

/// The child: appends for ever, and says on its standard output what was acknowledged.
#[tokio::main(flavor = "current_thread")]
async fn append(dir: &Path, round: u64) {
    let handle = start(dir).await;
    let proposers = (0..PROPOSERS).map(|proposer| {
        let handle = handle.clone();
        tokio::spawn(async move {
            for count in 0u64.. {
                let number = round << 40 | proposer << 32 | count;
                let mut entry = number.to_le_bytes().to_vec();
                entry.resize(8 + (count as usize * 37) % 900, 0);
                let Ok(Applied::At(index)) = handle.propose(entry).await else { panic!("the log stopped") };
                writeln!(std::io::stdout(), "\nack {index} {number}").expect("the parent listens");
            }
        })
    });
    for proposer in proposers.collect::<Vec<_>>() {
        proposer.await.expect("it runs for ever");
    }
}

fn spawn(dir: &Path, round: u32) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "kills_lose_nothing_acknowledged", "--nocapture"]);
    command.env(DIRECTORY, dir).env(ROUND, round.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("a child")
}

fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let (index, number) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((index.parse().ok()?, number.parse().ok()?))
}

/// Runs a child for a while and returns what it acknowledged. Only lines with an end count: the kill may cut
/// one off in the middle of a number.
fn run_and_kill(dir: &Path, round: u32, wait_for_first: bool, after: Duration) -> Vec<(u64, u64)> {
    let mut child = spawn(dir, round);
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut acks = Vec::new();
    let mut read = |output: &mut BufReader<_>| {
        let mut line = String::new();
        let more = output.read_line(&mut line).expect("a pipe") > 0;
        acks.extend(line.strip_suffix('\n').and_then(acknowledged));
        more && (acks.is_empty() || !wait_for_first)
    };
    if wait_for_first {
        while read(&mut output) {}
    }
    std::thread::sleep(after);
    child.kill().expect("it runs for ever");
    child.wait().expect("it is ours");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("a pipe");
    let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
    acks.extend(whole.lines().filter_map(acknowledged));
    acks
}

#[tokio::main(flavor = "current_thread")]
async fn list(dir: &Path) -> BTreeMap<u64, u64> {
    let handle = start(dir).await;
    let Ok(Applied::List(numbers)) = handle.propose(b"list".to_vec()).await else {
        panic!("the log stopped")
    };
    handle.shutdown().await.expect("an orderly end");
    numbers
}

#[test]
fn kills_lose_nothing_acknowledged() {
    if let (Ok(dir), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) {
        return append(Path::new(&dir), round.parse().expect("a number"));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut source = fastrand::Rng::with_seed(11);
    let mut acks: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..KILLS {
        // Every other kill may also strike while the log is founded or read.
        let wait_for_first = round % 2 == 1;
        let after = Duration::from_micros(source.u64(..120_000));
        let new = run_and_kill(dir.path(), round, wait_for_first, after);
        assert!(!wait_for_first || !new.is_empty(), "round {round}: the child did nothing");
        acks.extend(new);
        let found = list(dir.path());
        for (index, number) in &acks {
            assert_eq!(found.get(index), Some(number), "round {round}: entry {index} was acknowledged");
        }
    }
    assert!(acks.len() > 500, "too little to lose: {}", acks.len());
}
