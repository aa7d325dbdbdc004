//! Commands inside a running container (COMMAND health checks).

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
        runtime.spawn(async move {
            if let Ok(state) = api.inspect_exec(&exec).await
                && state.running == Some(true)
            {
                kill(state.pid.unwrap_or_default(), state.container_id.as_deref().unwrap_or_default());
            }
        });
    }
}

/// The pid is one of the Engine's pid namespace. Where that is not ours (an agent that is a container),
/// it is another process, or none: so only one whose cgroup is the container's is killed.
fn kill(pid: i64, container_id: &str) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let cgroups =
        std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap_or_default();
    if !container_id.is_empty() && cgroups.contains(container_id) {
        let _ended_already = pidfd_send_signal(handle, Signal::KILL);
    }
}
