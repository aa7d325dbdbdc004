//! `cargo xtask bench writes`: acknowledged small changes of apps a second by three masters with fsync, at
//! several numbers of clients, beside three members of etcd that write the same documents as values. The
//! two take turns, so that a machine that slows down slows both. Clients run in this process, keep their
//! connections and talk to the leader; its processor time counts for both.
//!
//! A change is `PUT /v2/apps/{id}` with the whole document of an app with `instances: 0` and a label that
//! differs; each client has apps of its own, so that nothing waits on locks. For etcd it is a `Put` of the
//! very same document under a key of the same name: less than what our log entry holds, in etcd's favour.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde_json::json;
use tokio::task::LocalSet;

use super::etcd::{self, Etcd};
use super::group::{Client, Group, Kind, cpu_of};
use super::masters::Masters;
use super::{Spread, single_threaded};
use crate::cargo::{self, Profile};
use crate::stop;

/// Apps (keys) of each client, changed in turn.
const APPS_A_CLIENT: usize = 4;

/// Options.
#[derive(clap::Args)]
pub struct Writes {
    /// Numbers of clients that write at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 512])]
    clients: Vec<usize>,
    /// Length of a run.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Rounds; medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Masters, and members of etcd.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Clients of etcd that share an HTTP/2 connection. Ours have one each: HTTP/1.1 cannot share, and so have
    /// etcd's unless told otherwise.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    share: u16,
    /// Leave etcd out.
    #[arg(long)]
    no_etcd: bool,
    /// Leave ours out.
    #[arg(long, conflicts_with = "no_etcd")]
    no_gantry: bool,
}

/// Runs the benchmark.
pub fn run(options: &Writes) -> anyhow::Result<ExitCode> {
    stop::catch();
    single_threaded(measure(options))?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Writes) -> anyhow::Result<()> {
    let dir = cargo::scratch("bench-writes")?;
    let with_etcd = !options.no_etcd && etcd::is_installed();
    if !with_etcd && !options.no_etcd {
        println!("{}", etcd::INSTALL);
    }
    let programs = cargo::programs(Profile::Release);
    let masters = Masters::new(&programs, &dir, options.members)?;
    let ours = match options.no_gantry {
        true => None,
        false => Some(Group::start(masters, &dir, options.members).await?),
    };
    let theirs = match with_etcd {
        true => Some(Group::start(Etcd::new(&dir, options.members)?, &dir, options.members).await?),
        false => None,
    };
    println!(
        "{} members, {} rounds of {} s, documents of {} bytes; changes a second: median (min..max)",
        options.members,
        options.rounds,
        options.seconds,
        document("/bench/c00000-0", 0).len()
    );
    for clients in &options.clients {
        let (mut gantry, mut etcd) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            if let Some(ours) = &ours {
                gantry.push(one(ours, *clients, options).await?);
            }
            if let Some(theirs) = &theirs {
                etcd.push(one(theirs, *clients, options).await?);
            }
        }
        print(*clients, &gantry, &etcd);
    }
    Ok(())
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
struct Run {
    acknowledged: usize,
    refused: usize,
    took: Duration,
    /// From the request to its acknowledgement.
    waits: Vec<Duration>,
    /// Processor time of the members, and of this process.
    members: Duration,
    own: Duration,
}

impl Run {
    fn per_second(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64()
    }

    /// Microseconds of processor time for a change.
    fn micros_each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.acknowledged.max(1) as f64
    }
}

fn print(clients: usize, gantry: &[Run], etcd: &[Run]) {
    println!("{clients} clients");
    for (name, runs) in [(Masters::NAME, gantry), (Etcd::NAME, etcd)] {
        let Some(middle) = middle(runs) else { continue };
        let spread = Spread::of(middle.waits.clone());
        let rates = |choose: fn(f64, f64) -> f64| runs.iter().map(Run::per_second).reduce(choose);
        println!(
            "  {name:7} {:7.0} ({:.0}..{:.0})   wait ms: p50 {:.2} p99 {:.2} max {:.2}   processor us a \
             change: members {:.0}, clients {:.0}   refused {}",
            middle.per_second(),
            rates(f64::min).unwrap_or_default(),
            rates(f64::max).unwrap_or_default(),
            millis(spread.p50),
            millis(spread.p99),
            millis(spread.max),
            middle.micros_each(middle.members),
            middle.micros_each(middle.own),
            runs.iter().map(|run| run.refused).sum::<usize>(),
        );
    }
    if let (Some(gantry), Some(etcd)) = (middle(gantry), middle(etcd)) {
        println!("  ratio of medians gantry/etcd {:.2}", gantry.per_second() / etcd.per_second());
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn middle(runs: &[Run]) -> Option<&Run> {
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    sorted.get(sorted.len() / 2).copied()
}

/// One run against the leader, after each client has made its apps.
async fn one<K: Kind>(group: &Group<K>, clients: usize, options: &Writes) -> anyhow::Result<Run> {
    group.wait_until_whole().await?;
    let leader = group.kind.address(group.leader().await?);
    let connected = K::Client::connect(leader, clients, usize::from(options.share)).await?;
    let mut writers: Vec<_> =
        connected.into_iter().enumerate().map(|(n, client)| Writer::new(n, client)).collect();
    for writer in &mut writers {
        writer.begin().await?;
    }
    let (members, own) = (group.cpu(), cpu_of(std::process::id()));
    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    let local = LocalSet::new();
    let running: Vec<_> = writers.into_iter().map(|writer| local.spawn_local(writer.write(until))).collect();
    local.await;
    let mut run = Run { took: began.elapsed(), ..Run::default() };
    (run.members, run.own) = (group.cpu() - members, cpu_of(std::process::id()) - own);
    for writer in running {
        let (waits, refused) = writer.await??;
        run.acknowledged += waits.len();
        run.refused += refused;
        run.waits.extend(waits);
    }
    ensure!(run.acknowledged > 0, "{} acknowledged nothing", K::NAME);
    if stop::asked() {
        bail!("interrupted");
    }
    Ok(run)
}

/// One client and its apps.
struct Writer<C> {
    client: C,
    keys: Vec<String>,
    revision: u64,
}

impl<C: Client> Writer<C> {
    fn new(number: usize, client: C) -> Self {
        let keys = (0..APPS_A_CLIENT).map(|app| format!("/bench/c{number:05}-{app}")).collect();
        // Another run has written to the same apps: what is written now must differ.
        Self { client, keys, revision: fastrand::u64(..1 << 40) << 20 }
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        for key in &self.keys {
            let document = document(key, self.revision);
            ensure!(self.client.write(key, document).await?, "{key} cannot be made");
        }
        Ok(())
    }

    /// Writes one after another: how long each took that was acknowledged, and how many were refused.
    async fn write(mut self, until: Instant) -> anyhow::Result<(Vec<Duration>, usize)> {
        let (mut waits, mut refused) = (Vec::new(), 0);
        for key in self.keys.iter().cycle() {
            let began = Instant::now();
            if began >= until || stop::asked() {
                break;
            }
            self.revision += 1;
            match self.client.write(key, document(key, self.revision)).await? {
                true => waits.push(began.elapsed()),
                false => refused += 1,
            }
        }
        Ok((waits, refused))
    }
}

/// A small app, the same size for every revision.
fn document(id: &str, revision: u64) -> String {
    json!({"id": id, "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0,
        "labels": {"revision": format!("{revision:020}")}})
    .to_string()
}
