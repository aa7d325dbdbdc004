//! The processes under measurement: masters, and the one with all agents. What they use.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::Million;
use super::mix::Shape;
use crate::bench::group::{Group, Kind, cpu_of};
use crate::bench::masters::Masters;
use crate::bench::memory::Memory;

/// What agents have beyond what all tasks take.
const SPARE: f64 = 1.1;

/// Everything that runs.
pub(super) struct House {
    pub(super) masters: Group<Masters>,
    agents: Child,
}

/// Processor time of each process, by name.
pub(super) type Cpu = Vec<(String, Duration)>;

impl House {
    /// Masters are whole when this returns; agents are on their way.
    pub(super) async fn start(
        masters: Masters,
        programs: &Path,
        dir: &Path,
        options: &Million,
    ) -> anyhow::Result<Self> {
        let rpc = masters.rpc_addresses();
        let masters = Group::start(masters, dir, options.masters).await?;
        let mut command = Command::new(programs.join("clusterctl"));
        let each = |of: fn(&Shape) -> f64| {
            let all: f64 = Shape::all(options).map(|shape| of(&shape) * shape.instances as f64).sum();
            (all * SPARE / f64::from(options.agents)).ceil()
        };
        let cpus = options.agent_cpus.unwrap_or_else(|| each(|shape| shape.cpus));
        let mem = options.agent_mem.unwrap_or_else(|| each(|shape| shape.mem) as u64);
        command.args(["agent", "--runtime", "hollow", "--ip", "127.0.0.1", "--ports", "1025-65535"]);
        command.args(["--masters", &rpc]).arg("--data-dir").arg(dir.join("agents"));
        for (option, value) in [
            ("--hollow", options.agents.to_string()),
            ("--hollow-racks", options.racks.to_string()),
            ("--hollow-start-delay", options.start_delay.clone()),
            ("--usage-interval", options.usage_interval.clone()),
            ("--cpus", cpus.to_string()),
            ("--mem", mem.to_string()),
        ] {
            command.args([option, &value]);
        }
        if let Some(lifetime) = options.lifetime {
            let lifetime = format!("{}ms", lifetime.as_millis());
            command.args(["--hollow-exit-after", &lifetime, "--hollow-exit-code", "1"]);
        }
        let log = File::options().create(true).append(true).open(dir.join("agents.log"))?;
        // Ctrl-C is for us: we end it.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let agents = command.spawn().context("cannot run clusterctl")?;
        Ok(Self { masters, agents })
    }

    /// The position of the leader.
    pub(super) async fn leader_number(&self) -> anyhow::Result<usize> {
        self.masters.leader().await
    }

    /// Where the leader answers REST.
    pub(super) async fn leader(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.masters.kind.address(self.leader_number().await?))
    }

    /// Where the masters answer REST.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.masters.processes().map(|(n, _)| self.masters.kind.address(n))
    }

    fn processes(&self) -> Vec<(String, u32)> {
        let mut all: Vec<_> =
            self.masters.processes().map(|(number, process)| (master(number), process)).collect();
        all.push(("agents".to_owned(), self.agents.id()));
        all
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> Cpu {
        let mut cpu: Cpu =
            self.processes().into_iter().map(|(name, process)| (name, cpu_of(process))).collect();
        cpu.push(("clients".to_owned(), cpu_of(std::process::id())));
        cpu
    }

    /// Processor time since `before`, for each task.
    pub(super) fn print_cpu(&self, phase: &str, before: &Cpu, tasks: usize) {
        let used = self.since(before, |used| {
            format!("{:.1} s ({:.1} us a task)", used.as_secs_f64(), used.as_secs_f64() * 1e6 / tasks as f64)
        });
        println!("{phase}: processor time: {used}");
    }

    /// Processor time since `before`, as a share of a core.
    pub(super) fn print_load(&self, phase: &str, before: &Cpu, took: Duration) {
        let used =
            self.since(before, |used| format!("{:.1} %", used.as_secs_f64() * 100.0 / took.as_secs_f64()));
        println!("{phase}: share of a core: {used}");
    }

    fn since(&self, before: &Cpu, text: impl Fn(Duration) -> String) -> String {
        let spent = |name: &str| before.iter().find(|(other, _)| other == name).map(|(_, spent)| *spent);
        let one = |(name, now): (String, Duration)| {
            Some(format!("{name} {}", text(now.saturating_sub(spent(&name)?))))
        };
        self.cpu().into_iter().filter_map(one).collect::<Vec<_>>().join(", ")
    }

    /// Memory of each process, by name.
    pub(super) fn memory(&self) -> anyhow::Result<Vec<(String, Memory)>> {
        let processes = self.processes().into_iter();
        processes.map(|(name, process)| Ok((name, Memory::of(process)?))).collect()
    }

    /// Resident memory now and at most.
    pub(super) fn print_memory(&self, when: &str) -> anyhow::Result<()> {
        let one = |(name, memory): (String, Memory)| {
            format!("{name} {} (peak {})", memory.resident / 1024, memory.peak / 1024)
        };
        let all: Vec<_> = self.memory()?.into_iter().map(one).collect();
        println!("memory, MiB, {when}: {}", all.join(", "));
        Ok(())
    }

    /// Resident memory for each task.
    pub(super) fn print_memory_a_task(&self, tasks: usize) -> anyhow::Result<()> {
        let one =
            |(name, memory): (String, Memory)| format!("{name} {:.2}", memory.resident as f64 / tasks as f64);
        let all: Vec<_> = self.memory()?.into_iter().map(one).collect();
        println!("memory, KiB a task: {}", all.join(", "));
        Ok(())
    }

    /// Where the masters keep their data, by name.
    pub(super) fn data(&self) -> Vec<(String, PathBuf)> {
        let of = |(number, _)| (master(number), self.masters.kind.data(number));
        self.masters.processes().map(of).collect()
    }
}

fn master(number: usize) -> String {
    format!("master {}", number + 1)
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.agents.kill();
        let _ = self.agents.wait();
    }
}
