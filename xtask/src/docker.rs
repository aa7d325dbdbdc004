//! The Docker Engine: is there one, can one be had, and images for it out of single static programs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::cargo::{must, scratch};
use crate::http;

/// Time for `dockerd` to come up.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The engine's socket, by `DOCKER_HOST` or the usual place.
pub fn socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"))
}

/// Does an engine answer? If not, why.
pub fn answers() -> Result<(), String> {
    match http::unix(&socket(), "GET", "/_ping", "text/plain", &[]) {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("{} answers {}", socket().display(), answer.status)),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Where `dockerd` and its `containerd` write down that they run.
const PID_FILES: [(&str, &str); 2] =
    [("/var/run/docker.pid", "dockerd"), ("/var/run/docker/containerd/containerd.pid", "containerd")];

/// An engine that was killed leaves its pid files behind, and the next one takes whatever process has got
/// that number since for its own. Removes a file that does not name `program`.
fn remove_if_stale(file: &Path, program: &str) {
    let Ok(pid) = std::fs::read_to_string(file) else { return };
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    if name.trim() != program {
        let _ = std::fs::remove_file(file);
    }
}

/// An engine that we started; ended when dropped.
pub struct Engine(Option<Child>);

impl Engine {
    /// Makes sure that an engine answers: uses the one that runs, or installs Debian's `docker.io` and starts
    /// `dockerd`, where that is possible.
    pub fn ensure() -> anyhow::Result<Self> {
        let Err(why) = answers() else { return Ok(Self(None)) };
        if !is_root() {
            bail!(
                "no Docker Engine answers ({why}). The tests need one: start it (`sudo systemctl start docker`) and \
                 join the group `docker`, or run this as root on Debian and it is installed and started for you"
            );
        }
        if which("dockerd").is_none() {
            install()?;
        }
        Self::start()
    }

    fn start() -> anyhow::Result<Self> {
        for (file, program) in PID_FILES {
            remove_if_stale(Path::new(file), program);
        }
        let log = scratch("dockerd")?.join("dockerd.log");
        eprintln!("starting dockerd (log: {})", log.display());
        let file = std::fs::File::create(&log)?;
        let child = Command::new("dockerd")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot run dockerd")?;
        let mut engine = Self(Some(child));
        let deadline = Instant::now() + START_TIMEOUT;
        while answers().is_err() {
            let ended = engine.0.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > deadline {
                bail!("dockerd does not come up; its log is {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(engine)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            crate::stop::signal(child.id(), libc::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// Debian's engine; without the recommended packages, which are not needed here.
fn install() -> anyhow::Result<()> {
    if which("apt-get").is_none() {
        bail!("there is no Docker and no apt-get to install it with: install Docker Engine 20.10 or later");
    }
    eprintln!("installing Docker from Debian's packages (docker.io)");
    must(Command::new("apt-get").args(["update", "-qq"]))?;
    let install = ["install", "-y", "-qq", "--no-install-recommends", "docker.io", "iptables"];
    must(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Are we root?
#[allow(unsafe_code, reason = "the standard library does not tell")]
pub fn is_root() -> bool {
    // SAFETY: takes nothing, touches nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A program on the path.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&path).chain(sbin).map(|dir: PathBuf| dir.join(program)).find(|file| file.is_file())
}

/// Makes an image `FROM scratch` that holds one static program and starts it.
pub fn image(name: &str, program: &Path) -> anyhow::Result<()> {
    let file = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    archive.append_data(&mut header, file, bytes.as_slice())?;
    // Docker writes /etc/resolv.conf and /etc/hosts itself, but not into a directory that is not there.
    directory(&mut archive, "etc/")?;
    directory(&mut archive, "tmp/")?;
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let change = format!("ENTRYPOINT%20[%22/{file}%22]");
    let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}&changes={change}");
    let answer = http::unix(&socket(), "POST", &path, "application/x-tar", &archive.into_inner()?)?;
    if answer.status != 200 || answer.body.contains("\"error\"") {
        bail!("the engine does not take the image {name}: {} {}", answer.status, answer.body.trim());
    }
    Ok(())
}

fn directory(archive: &mut tar::Builder<Vec<u8>>, path: &str) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_cksum();
    Ok(archive.append_data(&mut header, path, std::io::empty())?)
}

/// Removes an image; it is no harm if it is gone.
pub fn remove_image(name: &str) {
    let _ = http::unix(&socket(), "DELETE", &format!("/images/{name}?force=true"), "text/plain", &[]);
}
