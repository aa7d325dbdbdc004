//! A group of servers of one kind as child processes, and what a benchmark does with them: start, kill,
//! start again, wait until they are whole. What kind they are is elsewhere (`masters`, `etcd`).

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::stop;

/// Time for a group to become whole.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between looks at a group.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What servers of a kind have in common.
pub(super) trait Kind {
    /// For people.
    const NAME: &'static str;
    /// Who writes to them.
    type Client: Client;

    /// How a member is started, for the first time and after it was killed.
    fn command(&self, member: usize) -> Command;
    /// Where clients connect.
    fn address(&self, member: usize) -> SocketAddr;
    /// Who leads, if that can be told.
    async fn leader(&self) -> Option<usize>;
    /// Are all members there, with a leader, and hardly behind it?
    async fn is_whole(&self) -> bool;
}

/// A connection of somebody who writes.
pub(super) trait Client: Sized + 'static {
    /// Connects so many clients to one member; `share` of them use a connection together where the protocol
    /// allows it.
    async fn connect(address: SocketAddr, clients: usize, share: usize) -> anyhow::Result<Vec<Self>>;
    /// Writes `document` under `key`; `false` when it was refused. An error: it is unknown what happened, and
    /// the connection is of no use any more.
    async fn write(&mut self, key: &str, document: String) -> anyhow::Result<bool>;
}

/// Running servers.
pub(super) struct Group<K: Kind> {
    pub(super) kind: K,
    members: Vec<Option<Child>>,
    dir: PathBuf,
}

impl<K: Kind> Group<K> {
    /// Starts them; whole when this returns. Logs go to `dir`.
    pub(super) async fn start(kind: K, dir: &Path, count: usize) -> anyhow::Result<Self> {
        let mut group = Self { kind, members: (0..count).map(|_| None).collect(), dir: dir.to_owned() };
        (0..count).try_for_each(|member| group.spawn(member))?;
        group.wait_until_whole().await?;
        Ok(group)
    }

    /// Starts a member that does not run.
    pub(super) fn spawn(&mut self, member: usize) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log(member))?;
        let mut command = self.kind.command(member);
        // Ctrl-C is for us: we end it.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
        self.members[member] = Some(child);
        Ok(())
    }

    /// Kills a member (-9): when the signal was sent, and when it was surely dead.
    pub(super) fn kill(&mut self, member: usize) -> anyhow::Result<(Instant, Instant)> {
        let mut child = self.members[member].take().context("it does not run")?;
        let sent = Instant::now();
        child.kill()?;
        child.wait()?;
        Ok((sent, Instant::now()))
    }

    /// Waits for a leader.
    pub(super) async fn leader(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(leader) = self.kind.leader().await {
                return Ok(leader);
            }
            self.pause(deadline, "has no leader").await?;
        }
    }

    /// Waits until all members are in good standing.
    pub(super) async fn wait_until_whole(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while !self.kind.is_whole().await {
            self.pause(deadline, "does not become whole").await?;
        }
        Ok(())
    }

    async fn pause(&self, deadline: Instant, what: &str) -> anyhow::Result<()> {
        if stop::asked() {
            bail!("interrupted");
        }
        if Instant::now() > deadline {
            bail!("the group of {} {what}; its logs are in {}", K::NAME, self.dir.display());
        }
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(())
    }

    /// Members that run, and their processes.
    pub(super) fn processes(&self) -> impl Iterator<Item = (usize, u32)> {
        let running = |(number, child): (usize, &Option<Child>)| Some((number, child.as_ref()?.id()));
        self.members.iter().enumerate().filter_map(running)
    }

    /// Processor time that all members have used since they were started.
    pub(super) fn cpu(&self) -> Duration {
        self.members.iter().flatten().map(|child| cpu_of(child.id())).sum()
    }

    fn log(&self, member: usize) -> PathBuf {
        self.dir.join(format!("{}-{}.log", K::NAME, member + 1))
    }
}

impl<K: Kind> Drop for Group<K> {
    fn drop(&mut self) {
        for child in self.members.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// User and system time of a process, from `/proc` (in ticks of 10 ms).
pub(super) fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name is in parentheses and may hold anything.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
