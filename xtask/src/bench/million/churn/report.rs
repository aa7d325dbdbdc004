//! What was seen every few seconds, and what is to be said of it in the end.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::house::{Cpu, House};
use super::super::watch::{self, Counts};
use super::Back;
use super::growth::{Kind, Series};
use crate::bench::masters::Rest;

/// The rate that was asked for is missed when it is less than so much of it.
const RATE_SHARE: f64 = 0.9;
const MIB: f64 = 1024.0 * 1024.0;
/// Size of the blocks that the system counts.
const BLOCK_BYTES: u64 = 512;

/// One look.
pub(super) struct Sample {
    at: Duration,
    counts: Counts,
    cpu: Cpu,
    /// Resident memory of each process, in MiB.
    memory: Vec<(String, f64)>,
    /// Space that the data of each master takes, in MiB.
    disk: Vec<(String, f64)>,
}

impl Sample {
    pub(super) async fn take(began: Instant, rest: &mut Rest, house: &House) -> anyhow::Result<Self> {
        let counts = watch::look(rest).await?;
        let memory =
            house.memory()?.into_iter().map(|(name, used)| (name, used.resident as f64 / 1024.0)).collect();
        let disk = house.data().into_iter().map(|(name, dir)| (name, taken(&dir) as f64 / MIB)).collect();
        Ok(Self { at: began.elapsed(), counts, cpu: house.cpu(), memory, disk })
    }
}

/// Bytes on disk below a directory; what goes away meanwhile counts nothing.
fn taken(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::symlink_metadata(path).map_or(0, |file| file.blocks() * BLOCK_BYTES);
    };
    entries.flatten().map(|entry| taken(&entry.path())).sum()
}

/// See the module.
pub(super) struct Report {
    first: Sample,
    last: Sample,
    memory: Vec<Series>,
    disk: Vec<Series>,
    waiting: Series,
}

impl Report {
    /// From the first look on.
    pub(super) fn begun(first: Sample) -> Self {
        let series = |kind, seen: &[(String, f64)]| {
            seen.iter().map(|(name, _)| Series::of(name.clone(), kind)).collect()
        };
        let (memory, disk) = (series(Kind::Level, &first.memory), series(Kind::Saw, &first.disk));
        let last = Sample {
            cpu: first.cpu.clone(),
            memory: first.memory.clone(),
            disk: first.disk.clone(),
            ..first
        };
        let mut report =
            Self { first, last, memory, disk, waiting: Series::of("waiting".to_owned(), Kind::Level) };
        report.note();
        report
    }

    /// Takes in one more look, and says what it saw.
    pub(super) fn push(&mut self, now: Sample) {
        let took = (now.at - self.last.at).as_secs_f64();
        let rate =
            |of: fn(&Counts) -> usize| of(&now.counts).saturating_sub(of(&self.last.counts)) as f64 / took;
        let load = spent(&self.last.cpu, &now.cpu)
            .map(|(name, spent)| format!("{name} {:.0}", spent.as_secs_f64() * 100.0 / took));
        println!(
            "{:5.0} s: {:.0} failures, {:.0} starts a second; {} tasks, {} running, {} wait; % of a core: {}; memory, MiB: \
             {}; disk, MiB: {}",
            now.at.as_secs_f64(),
            rate(|counts| counts.failed),
            rate(|counts| counts.started),
            now.counts.all,
            now.counts.running,
            now.counts.queued,
            load.collect::<Vec<_>>().join(", "),
            figures(&now.memory),
            figures(&now.disk),
        );
        self.last = now;
        self.note();
    }

    fn note(&mut self) {
        let all =
            self.memory.iter_mut().zip(&self.last.memory).chain(self.disk.iter_mut().zip(&self.last.disk));
        all.for_each(|(series, (_, mib))| series.push(self.last.at, *mib));
        self.waiting.push(self.last.at, self.last.counts.queued as f64);
    }

    fn failed(&self) -> usize {
        self.last.counts.failed.saturating_sub(self.first.counts.failed)
    }

    fn seconds(&self) -> f64 {
        (self.last.at - self.first.at).as_secs_f64()
    }

    /// All figures.
    pub(super) fn print(&self) {
        let started = self.last.counts.started.saturating_sub(self.first.counts.started);
        let (failed, seconds) = (self.failed(), self.seconds());
        println!(
            "{failed} failures and {started} starts in {seconds:.0} s: {:.0} and {:.0} a second",
            failed as f64 / seconds,
            started as f64 / seconds
        );
        let each = spent(&self.first.cpu, &self.last.cpu)
            .map(|(name, spent)| format!("{name} {:.0}", spent.as_secs_f64() * 1e6 / failed.max(1) as f64));
        println!("processor time a failure, us: {}", each.collect::<Vec<_>>().join(", "));
        for (what, all) in [("memory", &self.memory), ("disk", &self.disk)] {
            for series in all {
                if let Some(growth) = series.growth() {
                    println!("{what} of {}, MiB: {growth}", series.name);
                }
            }
        }
    }

    /// What is not as it should be.
    pub(super) fn complaints(&self, wanted: f64) -> Vec<String> {
        let mut complaints = Vec::new();
        let rate = self.failed() as f64 / self.seconds();
        if rate < wanted * RATE_SHARE {
            complaints.push(format!("{rate:.0} failures a second instead of {wanted:.0}"));
        }
        for (what, all) in [("memory", &self.memory), ("disk", &self.disk)] {
            for series in all {
                match series.growth() {
                    None => complaints.push(format!("too short to say anything of {what}")),
                    Some(growth) if !growth.is_ok => {
                        complaints.push(format!("{what} of {} grows", series.name))
                    }
                    Some(_) => {}
                }
            }
        }
        if self
            .waiting
            .growth()
            .is_some_and(|growth| !growth.is_ok && growth.last > 0.01 * self.last.counts.all as f64)
        {
            complaints.push("more and more tasks wait".to_owned());
        }
        complaints
    }
}

/// Processor time of each process between two looks.
fn spent<'a>(before: &'a Cpu, now: &'a Cpu) -> impl Iterator<Item = (&'a str, Duration)> {
    let since = |(name, now): &'a (String, Duration)| {
        let before = before.iter().find(|(other, _)| other == name).map(|(_, before)| *before)?;
        Some((&**name, now.saturating_sub(before)))
    };
    now.iter().filter_map(since)
}

fn figures(all: &[(String, f64)]) -> String {
    all.iter().map(|(name, mib)| format!("{name} {mib:.0}")).collect::<Vec<_>>().join(", ")
}

/// Says whether it is all as it should be.
pub(super) fn verdict(complaints: &[String], back: &Back, is_led: bool) -> bool {
    let Back { before, new, away, took } = back;
    println!(
        "{before} instances before; afterwards {} of them seen running within {:.1} s, {away} not, {new} others",
        before - away,
        took.as_secs_f64()
    );
    let mut complaints = complaints.to_vec();
    if *new + *away > 0 {
        complaints.push("not every task is back".to_owned());
    }
    if !is_led {
        complaints.push("the leader changed".to_owned());
    }
    match &complaints[..] {
        [] => println!("ok: nothing grows, every task is back"),
        all => println!("not ok: {}", all.join("; ")),
    }
    complaints.is_empty()
}
