//! `cargo xtask faults`: masters and agents as processes of their own, on addresses of their own, under clients
//! that record what they were told, while a script kills, stops, cuts off and restarts them. In the end nothing
//! acknowledged may be lost.

mod clients;
mod gaps;
pub mod house;
mod nemesis;
pub mod net;
pub mod rest;
mod script;
pub mod site;
pub mod tasks;
pub mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use self::clients::Clients;
use self::house::APPS;
use self::nemesis::Nemesis;
use self::script::{Fault, Step, script};
use self::site::Site;
use self::verify::wait_until;
use crate::cargo::{self, Profile};
use crate::history::{self, Call, Operation, Outcome};
use crate::stop;

/// From one line of figures to the next.
const PROGRESS: Duration = Duration::from_secs(10);
/// Instances of the app whose agent is left alone.
const STEADY: u64 = 3;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Faults {
    /// Minutes of faults.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// Number of masters.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub masters: u8,
    /// Number of agents; the first is left alone.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub agents: u8,
    /// Decides what happens when; any when not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Which build of the cluster's program.
    #[arg(long, value_enum, default_value_t = Profile::Dev)]
    pub profile: Profile,
}

/// Builds, and runs this program again in a house of its own.
pub fn run(faults: &Faults) -> anyhow::Result<ExitCode> {
    if let Some(scratch) = house::inside() {
        house::settle_in()?;
        return torment(faults, &cargo::programs(faults.profile), &scratch).map(|()| ExitCode::SUCCESS);
    }
    cargo::build(&["clusterctl"], faults.profile)?;
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if faults.seed.is_none() {
        args.extend(["--seed".into(), fastrand::u64(0..1_000_000).to_string().into()]);
    }
    let status = house::enter(&args)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole run, inside: starts a cluster, torments it, and checks what is left. History and logs are kept.
pub fn torment(faults: &Faults, programs: &Path, scratch: &Path) -> anyhow::Result<()> {
    let seed = faults.seed.unwrap_or_default();
    let mut history = Vec::new();
    let result = Run::start(faults, programs, scratch).and_then(|mut run| {
        run.torment(seed, &mut history)?;
        run.end()
    });
    let kept = keep(scratch, seed, &history);
    if let Ok(kept) = &kept {
        println!("history and logs are in {}", kept.display());
    }
    result.map_err(|error| match kept {
        Ok(_) => error.context(format!("seed {seed}")),
        Err(failed) => error.context(format!("seed {seed}; nothing could be kept: {failed:#}")),
    })
}

struct Run {
    site: Site,
    script: Vec<Step>,
    since: Instant,
    steady: verify::Steady,
}

impl Run {
    /// A whole cluster with one app that nobody touches.
    fn start(faults: &Faults, programs: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let length = Duration::from_secs_f64(faults.minutes * 60.0);
        let seed = faults.seed.unwrap_or_default();
        let script = script(seed, length, faults.masters, faults.agents);
        let site = start_site(programs, scratch, faults.masters, faults.agents)?;
        println!(
            "{} masters and {} agents run; {} faults in {:.0} s with seed {seed}; slow links: {}",
            faults.masters,
            faults.agents,
            script.len(),
            length.as_secs_f64(),
            site.network.slowness()
        );
        let mut run = Self { site, script, since: Instant::now(), steady: verify::Steady::new() };
        run.steady = run.start_steady()?;
        Ok(run)
    }

    fn start_steady(&self) -> anyhow::Result<verify::Steady> {
        let id = format!("/{APPS}/steady");
        let app = json!({
            "id": id, "cmd": "exec sleep 1000000", "cpus": 0.01, "mem": 16, "instances": STEADY,
            "labels": {"v": "0"}, "env": {"W": "0"}, "constraints": [["hostname", "CLUSTER", "a1"]],
        });
        let address = self.address()?;
        let (status, answer) = rest::call(address, "POST", "/v2/apps", &app)?;
        ensure!(status == 201, "the steady app is refused: {status} {answer}");
        wait_until("the steady app", || verify::is_settled(address))?;
        verify::steady(address, &id)
    }

    fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        self.site.https().first().copied().context("there are no masters")
    }

    /// Faults under load, then quiet; then all is checked.
    fn torment(&mut self, seed: u64, history: &mut Vec<Operation>) -> anyhow::Result<()> {
        self.since = Instant::now();
        println!("{:6.1} s: it begins, at {} UTC", 0.0, time_of_day());
        let clients = Clients::start(&self.site.https(), seed, self.since);
        let shared = clients.shared.clone();
        let played = self.play(&shared.tally);
        history.extend(clients.stop()?);
        played?;
        println!("{:6.1} s: everything is healed", self.since.elapsed().as_secs_f64());
        let quiet = Instant::now();
        self.wait_for_quiet()?;
        let converged = quiet.elapsed();
        self.read_all(history, &shared.tally)?;
        let violations = history::check(history);
        self.figures(history, &shared.tally, converged);
        ensure!(
            violations.is_empty(),
            "the history is not linearizable:\n{}",
            violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
        let surprises = shared.tally.surprises();
        ensure!(surprises.is_empty(), "answers that no client should get:\n{}", surprises.join("\n"));
        Ok(())
    }

    /// Begins and ends every step in its time.
    fn play(&mut self, tally: &clients::Tally) -> anyhow::Result<()> {
        let mut nemesis = Nemesis::default();
        let mut moments: Vec<(Duration, usize, bool)> = Vec::new();
        for (number, step) in self.script.iter().enumerate() {
            moments.extend([(step.at, number, true), (step.at + step.lasts, number, false)]);
        }
        moments.sort_unstable();
        let mut next_progress = PROGRESS;
        for (at, number, begins) in moments {
            while self.since.elapsed() < at {
                self.site.check()?;
                ensure!(!stop::asked(), "asked to stop");
                if self.since.elapsed() > next_progress {
                    progress(self.since, tally);
                    next_progress += PROGRESS;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let fault = self.script[number].fault;
            if begins {
                let words = nemesis.begin(&mut self.site, number, fault)?;
                let lasts = self.script[number].lasts.as_secs_f64();
                println!("{:6.1} s: {words}, {lasts:.1} s", self.since.elapsed().as_secs_f64());
            } else {
                nemesis.end(&mut self.site, number, fault)?;
            }
        }
        self.site.check()
    }

    fn wait_for_quiet(&mut self) -> anyhow::Result<()> {
        let address = self.address()?;
        let (since, site) = (self.since, &mut self.site);
        let mut told = "";
        let steady = wait_until("the cluster is whole and at rest", || {
            site.check()?;
            let site = &*site;
            let checks: [(&str, &dyn Fn() -> anyhow::Result<()>); 4] = [
                ("whole", &|| verify::is_whole(site)),
                ("settled", &|| verify::is_settled(address)),
                ("as it says", &|| verify::is_real(address)),
                ("equal everywhere", &|| verify::is_equal(site)),
            ];
            for (what, check) in checks {
                check().inspect_err(|error| {
                    if told != what {
                        println!("{:6.1} s: not {what} yet: {error:#}", since.elapsed().as_secs_f64());
                        told = what;
                    }
                })?;
            }
            verify::steady(address, &format!("/{APPS}/steady"))
        })?;
        ensure!(
            steady == self.steady,
            "tasks of an agent that nobody touched were touched: before {:?}, now {steady:?}",
            self.steady
        );
        Ok(())
    }

    /// Every app that was ever written is read once more, through every master.
    fn read_all(&self, history: &mut Vec<Operation>, tally: &clients::Tally) -> anyhow::Result<()> {
        let keys: std::collections::BTreeSet<String> = history.iter().map(|one| one.key.clone()).collect();
        for address in self.site.https() {
            for key in &keys {
                let read = clients::operate(address, (0, rest::TIMEOUT), key, Call::Read, self.since, tally);
                let known = matches!(read.outcome, Outcome::Found(_) | Outcome::Absent);
                ensure!(known, "{address} answers no read at rest: {read}");
                history.push(read);
            }
        }
        Ok(())
    }

    fn figures(&self, history: &[Operation], tally: &clients::Tally, converged: Duration) {
        let count = |is: fn(Fault) -> bool| self.script.iter().filter(|step| is(step.fault)).count();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{} operations: {} answered ({} writes), {} surely not taken, {} unknown",
            history.len(),
            load(&tally.ok),
            load(&tally.writes),
            load(&tally.failed),
            load(&tally.unknown)
        );
        println!(
            "{} faults: {} kills, {} partitions; longest time without an accepted write {:.2} s; at rest {:.1} s \
             after the last fault",
            self.script.len(),
            count(Fault::is_kill),
            count(Fault::is_partition),
            tally.longest_gap().as_secs_f64(),
            converged.as_secs_f64()
        );
        for gap in gaps::long(history, &self.script) {
            println!("{gap}");
        }
    }

    /// What is removed is gone everywhere, and every process ends in order.
    fn end(&mut self) -> anyhow::Result<()> {
        let address = self.address()?;
        let (status, answer) = rest::call(address, "DELETE", "/v2/groups?force=true", &Value::Null)?;
        ensure!(status == 200, "removing all apps: {status} {answer}");
        wait_until("everything is removed", || verify::is_empty(address))?;
        for member in self.site.members.iter_mut().rev() {
            member.end()?;
        }
        let left = tasks::others(std::process::id());
        ensure!(left.is_empty(), "processes outlive the cluster:\n{}", left.join("\n"));
        println!("nothing is lost, nothing is left");
        Ok(())
    }
}

/// A whole cluster.
pub fn start_site(programs: &Path, scratch: &Path, masters: u8, agents: u8) -> anyhow::Result<Site> {
    let mut site = prepare_site(programs, scratch, masters, agents)?;
    start_all(&mut site)?;
    Ok(site)
}

/// Nodes on which nothing runs yet.
pub fn prepare_site(programs: &Path, scratch: &Path, masters: u8, agents: u8) -> anyhow::Result<Site> {
    // A copy: what is built meanwhile must not take part.
    let clusterctl = scratch.join("clusterctl");
    std::fs::copy(programs.join("clusterctl"), &clusterctl).context("cannot copy clusterctl")?;
    Site::new(clusterctl, scratch, masters, agents)
}

/// Starts everything and waits until the cluster is whole.
pub fn start_all(site: &mut Site) -> anyhow::Result<()> {
    for (index, node) in site.network.nodes().into_iter().enumerate() {
        site.start(node, index == 0)?;
    }
    wait_until("the cluster is whole", || {
        site.check()?;
        verify::is_whole(site)
    })
}

/// As the processes' logs have it.
fn time_of_day() -> String {
    let seconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64()) % 86_400.0;
    let (minutes, seconds) = (seconds as u64 / 60, seconds % 60.0);
    format!("{:02}:{:02}:{seconds:06.3}", minutes / 60, minutes % 60)
}

fn progress(since: Instant, tally: &clients::Tally) {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{:6.1} s: {} answered, {} not taken, {} unknown; longest without a write {:.2} s",
        since.elapsed().as_secs_f64(),
        load(&tally.ok),
        load(&tally.failed),
        load(&tally.unknown),
        tally.longest_gap().as_secs_f64()
    );
}

/// Keeps what shows what happened: the history, and every process's log.
fn keep(scratch: &Path, seed: u64, history: &[Operation]) -> anyhow::Result<PathBuf> {
    let dir = cargo::scratch(&format!("faults-{seed}"))?;
    history::write(std::io::BufWriter::new(std::fs::File::create(dir.join("history.jsonl"))?), history)?;
    for log in std::fs::read_dir(scratch)?.flatten() {
        if log.path().extension().is_some_and(|extension| extension == "log") {
            std::fs::copy(log.path(), dir.join(log.file_name()))?;
        }
    }
    Ok(dir)
}
