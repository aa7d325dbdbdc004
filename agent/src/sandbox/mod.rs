//! The directories of tasks: made before a task, filled with its artifacts, read for its logs, kept for a
//! while after it.

mod archive;
mod download;
pub mod fetch;
pub mod log;
pub mod rotate;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use spec::ids::TaskId;

pub use fetch::fetch;

use crate::runtime::key::task_key;
use crate::runtime::process::identity::Identity;

/// Others may pass through to a sandbox that they know, and may not list them.
const ROOT_MODE: u32 = 0o711;
/// Readable by all, as Mesos' sandboxes: a container's user is not one of this machine.
const SANDBOX_MODE: u32 = 0o755;

/// All sandboxes of one agent.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    root: PathBuf,
}

impl Sandboxes {
    /// The sandboxes below a data directory. It must let the users of tasks pass (mode `x`), if tasks have
    /// users of their own.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let root = data_dir.join("sandboxes");
        fs::DirBuilder::new().recursive(true).mode(ROOT_MODE).create(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(ROOT_MODE))?;
        Ok(Self { root: fs::canonicalize(root)? })
    }

    /// A task's directory, whether it exists or not.
    pub fn path(&self, task: &TaskId) -> PathBuf {
        self.root.join(task_key(task))
    }

    /// Makes a task's directory; an old one of the task is kept with what is in it. `user` is whom a process
    /// task runs as; users of containers are not of this machine, and none is given for them.
    pub fn create(&self, task: &TaskId, user: Option<&str>) -> io::Result<PathBuf> {
        let path = self.path(task);
        fs::DirBuilder::new().recursive(true).mode(SANDBOX_MODE).create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(SANDBOX_MODE))?;
        if let Some(owner) = owner(user)? {
            owner.own(&path)?;
        }
        Ok(path)
    }

    /// Removes a task's directory, if there is one.
    pub fn remove(&self, task: &TaskId) -> io::Result<()> {
        match fs::remove_dir_all(self.path(task)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The directories that exist, by name: each is the key of a task.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.root)?.flatten();
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

/// The user that files are given to; `None` when they are the agent's already.
pub(crate) fn owner(user: Option<&str>) -> io::Result<Option<Identity>> {
    let Some(user) = user else { return Ok(None) };
    let identity = Identity::of_user(user)?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{user}` on this machine"))
    })?;
    Ok(Some(identity).filter(|identity| !identity.is_current()))
}

/// Fails unless `path`, which exists, is really inside the sandbox: links on the way may lead out of it.
pub fn check_inside(sandbox: &Path, path: &Path) -> io::Result<()> {
    if fs::canonicalize(path)?.starts_with(fs::canonicalize(sandbox)?) {
        return Ok(());
    }
    let text = format!("{} leads out of the sandbox", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_removed_once() {
        let data = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::open(data.path()).unwrap();
        let task: TaskId = "a.instance-67e55044-10b1-11ea-9a9f-362b9e155667._app.1".parse().unwrap();
        let path = sandboxes.create(&task, None).unwrap();
        fs::write(path.join("stdout"), "x").unwrap();
        assert_eq!(sandboxes.create(&task, None).unwrap(), path);
        assert!(path.join("stdout").exists());
        assert_eq!(sandboxes.names().unwrap(), [task.to_string()]);
        sandboxes.remove(&task).unwrap();
        sandboxes.remove(&task).unwrap();
        assert_eq!(sandboxes.names().unwrap(), Vec::<String>::new());
        assert!(sandboxes.create(&task, Some("no-such-user")).is_err());
    }

    #[test]
    fn links_do_not_lead_out() {
        let data = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", data.path().join("way")).unwrap();
        fs::create_dir(data.path().join("in")).unwrap();
        assert!(check_inside(data.path(), &data.path().join("in")).is_ok());
        assert!(check_inside(data.path(), &data.path().join("way")).is_err());
        assert!(check_inside(data.path(), &data.path().join("absent")).is_err());
    }
}
