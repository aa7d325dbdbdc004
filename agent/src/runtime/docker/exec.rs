//! Commands inside a running container (COMMAND health checks).

use std::time::Duration;

use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::errors;
use crate::runtime::RuntimeError;

/// Runs a shell command and returns its exit code. When the future is dropped, the command is killed:
/// the Engine itself would let it run for ever.
pub(super) async fn run(api: &bollard::Docker, container: &str, command: &str) -> Result<i32, RuntimeError> {
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(["/bin/sh", "-c", command].map(str::to_owned).to_vec()),
        ..ExecConfig::default()
    };
    let exec = api.create_exec(container, config).await.map_err(errors::of_container)?;
    let mut guard = KillOnDrop { api: api.clone(), exec: Some(exec.id.clone()) };
    let started = api.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(errors::of_container)?;
    if let StartExecResults::Attached { mut output, .. } = started {
        // The output ends with the command; nobody reads what it says.
        while output.next().await.is_some() {}
    }
    guard.exec = None;
    let end = api.inspect_exec(&exec.id).await.map_err(errors::of_container)?;
    let code =
        end.exit_code.ok_or_else(|| RuntimeError::Failed("the command's status is not known".to_owned()))?;
    i32::try_from(code).map_err(|_| RuntimeError::Failed(format!("the command's status is {code}")))
}

struct KillOnDrop {
    api: bollard::Docker,
    exec: Option<String>,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let (Some(exec), Ok(runtime)) = (self.exec.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let api = self.api.clone();
        runtime.spawn(async move { end(&api, &exec).await });
    }
}

/// How often an abandoned command is looked at: it may have been abandoned while the Engine was starting it,
/// and then it runs only later.
const LOOKS: u32 = 50;
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Kills a command that nobody waits for, as soon as it runs.
async fn end(api: &bollard::Docker, exec: &str) {
    for _ in 0..LOOKS {
        let Ok(state) = api.inspect_exec(exec).await else { return };
        let pid = state.pid.unwrap_or_default();
        let over = match state.running {
            Some(true) => kill(pid, state.container_id.as_deref().unwrap_or_default()),
            _ => pid != 0,
        };
        if over {
            return;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// The pid is one of the Engine's pid namespace. Where that is not ours (an agent that is a container),
/// it is another process, or none: so only one whose cgroup is the container's is killed. True when it was.
fn kill(pid: i64, container_id: &str) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let cgroups =
        std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap_or_default();
    !container_id.is_empty()
        && cgroups.contains(container_id)
        && pidfd_send_signal(handle, Signal::KILL).is_ok()
}
