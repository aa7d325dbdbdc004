//! `cargo xtask bench failover`: the leader of three masters is killed (-9) over and over, while a client
//! writes small changes one after another, and moves over to the next master when one does not answer. What
//! is shown is the time from the kill to the next accepted write. Three members of etcd in the same run, with
//! a client of the same kind; both with default settings. The two take turns.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::etcd::{self, Etcd};
use super::group::{Client, Group, Kind};
use super::masters::Masters;
use super::{Spread, single_threaded};
use crate::cargo::{self, Profile};
use crate::stop;

const MEMBERS: usize = 3;
/// Longest wait for a write after a kill.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Kills of one group before it is the other's turn.
const KILLS_A_TURN: usize = 10;
/// Pause of the client between attempts that failed at once.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Options.
#[derive(clap::Args)]
pub struct Failover {
    /// Kills of each group's leader.
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// The client tries the next master after this many milliseconds without an answer.
    #[arg(long, default_value_t = 200)]
    patience: u64,
    /// Leave etcd out.
    #[arg(long)]
    no_etcd: bool,
}

/// Runs the benchmark.
pub fn run(options: &Failover) -> anyhow::Result<ExitCode> {
    stop::catch();
    single_threaded(LocalSet::new().run_until(measure(options)))?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Failover) -> anyhow::Result<()> {
    let dir = cargo::scratch("bench-failover")?;
    let with_etcd = !options.no_etcd && etcd::is_installed();
    if !with_etcd && !options.no_etcd {
        println!("{}", etcd::INSTALL);
    }
    let masters = Masters::new(&cargo::programs(Profile::Release), &dir, MEMBERS)?;
    let mut ours = Group::start(masters, &dir, MEMBERS).await?;
    let mut theirs = match with_etcd {
        true => Some(Group::start(Etcd::new(&dir, MEMBERS)?, &dir, MEMBERS).await?),
        false => None,
    };
    let (mut gantry, mut etcd) = (Vec::new(), Vec::new());
    while gantry.len() < options.kills {
        let kills = KILLS_A_TURN.min(options.kills - gantry.len());
        gantry.extend(turn(&mut ours, kills, options).await?);
        if let Some(theirs) = &mut theirs {
            etcd.extend(turn(theirs, kills, options).await?);
        }
    }
    println!("kill -9 of the leader to the next accepted write, ms:");
    println!("            kills     min     p50     p90     p99     max");
    print(Masters::NAME, gantry);
    print(Etcd::NAME, etcd);
    Ok(())
}

fn print(name: &str, times: Vec<Duration>) {
    if times.is_empty() {
        return;
    }
    let (kills, spread) = (times.len(), Spread::of(times));
    let millis = [spread.min, spread.p50, spread.p90, spread.p99, spread.max].map(|time| time.as_millis());
    let [min, p50, p90, p99, max] = millis;
    println!("  {name:8}  {kills:5} {min:7} {p50:7} {p90:7} {p99:7} {max:7}");
}

/// Some kills in a row, while a client writes.
async fn turn<K: Kind>(
    group: &mut Group<K>,
    kills: usize,
    options: &Failover,
) -> anyhow::Result<Vec<Duration>> {
    let addresses = (0..MEMBERS).map(|member| group.kind.address(member)).collect();
    let (accepted, mut news) = mpsc::unbounded_channel();
    let writer = Wanderer::<K::Client> {
        addresses,
        at: 0,
        client: None,
        patience: Duration::from_millis(options.patience),
    };
    let writing = tokio::task::spawn_local(writer.run(accepted));
    let mut times = Vec::new();
    for _ in 0..kills {
        group.wait_until_whole().await?;
        // Not in step with the heartbeats.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..400))).await;
        let leader = group.leader().await?;
        let (killed, dead) = group.kill(leader)?;
        let next = timeout(GIVE_UP, first_begun_after(dead, &mut news)).await;
        let next = next.with_context(|| format!("{}: no write in {} s", K::NAME, GIVE_UP.as_secs()))??;
        times.push(next - killed);
        group.spawn(leader)?;
        if stop::asked() {
            bail!("interrupted");
        }
    }
    writing.abort();
    Ok(times)
}

/// When a write was begun and when it was accepted.
type Accepted = (Instant, Instant);

async fn first_begun_after(
    dead: Instant,
    news: &mut mpsc::UnboundedReceiver<Accepted>,
) -> anyhow::Result<Instant> {
    loop {
        let (began, accepted) = news.recv().await.context("the client has ended")?;
        if began >= dead {
            return Ok(accepted);
        }
    }
}

/// A client that knows all members and moves over by itself.
struct Wanderer<C> {
    addresses: Vec<std::net::SocketAddr>,
    at: usize,
    client: Option<C>,
    patience: Duration,
}

impl<C: Client> Wanderer<C> {
    async fn run(mut self, accepted: mpsc::UnboundedSender<Accepted>) {
        for revision in fastrand::u64(..1 << 40).. {
            let began = Instant::now();
            match timeout(self.patience, self.attempt(revision)).await {
                Ok(Ok(true)) => {
                    if accepted.send((began, Instant::now())).is_err() {
                        return;
                    }
                }
                Ok(Ok(false) | Err(_)) => {
                    self.move_over();
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(_) => self.move_over(),
            }
        }
    }

    async fn attempt(&mut self, revision: u64) -> anyhow::Result<bool> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(connect(self.addresses[self.at]).await?),
        };
        let document = json!({"id": "/failover", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0,
            "labels": {"revision": revision.to_string()}});
        client.write("/failover", document.to_string()).await
    }

    fn move_over(&mut self) {
        self.client = None;
        self.at = (self.at + 1) % self.addresses.len();
    }
}

async fn connect<C: Client>(address: std::net::SocketAddr) -> anyhow::Result<C> {
    C::connect(address, 1, 1).await?.pop().context("no client")
}
