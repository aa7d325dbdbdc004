//! The directory of a one-process cluster: made at the start, and removed with every task that it knows.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use agent::options::Options as AgentOptions;
use anyhow::{Context, bail};
use tracing::warn;

/// Names of temporary directories begin so; the number of the process follows.
const TEMPORARY: &str = "gantry-dev-";

/// The directory of the first master; those of others have a number behind it.
const MASTER: &str = "master";

/// Where a cluster lives.
#[derive(Debug)]
pub struct Home {
    /// The directory.
    pub dir: PathBuf,
    /// Is it removed when the cluster ends?
    pub temporary: bool,
}

impl Home {
    /// In the given directory, or a temporary one.
    pub fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let (dir, temporary) = match given {
            Some(dir) => (dir.to_owned(), false),
            None => (std::env::temp_dir().join(format!("{TEMPORARY}{}", std::process::id())), true),
        };
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
        // Labels and sandboxes name the directory: one path for one directory, however it was given.
        let dir =
            dir.canonicalize().with_context(|| format!("cannot use the data directory {}", dir.display()))?;
        Ok(Self { dir, temporary })
    }

    /// The log of a master, counted from 0. The first one's is called as the only one's.
    pub fn master(&self, number: u8) -> PathBuf {
        match number {
            0 => self.dir.join(MASTER),
            number => self.dir.join(format!("{MASTER}-{}", number + 1)),
        }
    }

    /// How many masters there are already.
    pub fn masters(&self) -> u8 {
        (0..u8::MAX).take_while(|number| self.master(*number).is_dir()).count() as u8
    }

    /// The directory of an agent, counted from 0.
    pub fn agent(&self, number: u8) -> PathBuf {
        self.dir.join(format!("agent-{}", number + 1))
    }
}

/// Ends every task of the cluster in `dir`, which must not be running, and removes the directory. What is
/// not the cluster's own stays.
pub async fn remove(dir: &Path) -> anyhow::Result<()> {
    if parts(dir)?.is_empty() {
        bail!("{} holds no cluster of `clusterctl dev`: nothing was removed", dir.display());
    }
    discard(dir).await
}

/// As [`remove`], also when the cluster never got as far as being one.
pub async fn discard(dir: &Path) -> anyhow::Result<()> {
    let parts = parts(dir)?;
    // The log goes last: with it, a removal that broke off can be tried again.
    for part in parts.iter().filter(|part| !is_master(part)) {
        let options = AgentOptions::new(Vec::new(), part.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        agent::node::remove_everything(options).await?;
        remove_all(part)?;
    }
    for master in parts.iter().filter(|part| is_master(part)) {
        remove_all(master)?;
    }
    if let Err(error) = std::fs::remove_dir(dir) {
        warn!(dir = %dir.display(), %error, "the directory holds something else, or cannot be removed");
    }
    Ok(())
}

fn remove_all(dir: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

fn is_master(part: &Path) -> bool {
    part.file_name().is_some_and(|name| is_master_name(&name.to_string_lossy()))
}

fn is_master_name(name: &str) -> bool {
    let number = name.strip_prefix(MASTER).map(|rest| rest.strip_prefix('-').map(str::parse::<u8>));
    matches!(number, Some(Some(Ok(_)))) || name == MASTER
}

/// The directories of a master and agents in `dir`.
fn parts(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read {}", dir.display());
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("agent-").map(str::parse::<u8>);
        if entry.file_type()?.is_dir() && (is_master_name(&name) || matches!(number, Some(Ok(_)))) {
            parts.push(entry.path());
        }
    }
    Ok(parts)
}

/// Temporary directories of clusters that were killed: their tasks may still run, and nobody else would
/// say so.
pub fn killed_before() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let is_dead = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let process = name.strip_prefix(TEMPORARY).and_then(|number| number.parse::<u32>().ok());
        process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
    };
    entries.map(|entry| entry.path()).filter(is_dead).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_cluster_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("agent-1"), "a file of that name").unwrap();
        std::fs::create_dir(dir.path().join("agent-x")).unwrap();
        let refused = remove(dir.path()).await.unwrap_err().to_string();
        assert!(refused.contains("holds no cluster"), "{refused}");
        assert!(dir.path().join("agent-x").is_dir());

        for name in ["master", "master-2", "master-x"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        remove(dir.path()).await.unwrap();
        assert!(!dir.path().join("master").exists() && !dir.path().join("master-2").exists());
        assert!(dir.path().join("master-x").is_dir(), "not the cluster's");
        assert!(dir.path().join("agent-x").is_dir(), "not the cluster's");
    }
}
