//! The verbs that talk to a master: one file a verb or a family of them. `http` is the way there, `retry`
//! what follows when a master does not answer, `table` the way to the terminal, `wait` the progress display of everything that starts a deployment.

mod apps;
mod backup;
mod changes;
mod cluster;
mod deploy;
mod events;
mod http;
mod logs;
mod masters;
mod outcome;
mod place;
mod progress;
mod retry;
mod round;
mod table;
mod tasks;
mod wait;
mod why;

use std::process::ExitCode;

use crate::args::{ClientArgs, Output, Verb};
use http::Master;

/// Runs one verb to its end.
pub fn run(args: ClientArgs, verb: Verb) -> anyhow::Result<ExitCode> {
    reset_sigpipe();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let master = Master::new(&args.master)?;
        tokio::select! {
            done = verbs(&master, args.output, verb) => done,
            _ = tokio::signal::ctrl_c() => {
                anstream::eprintln!("interrupted; what was accepted goes on");
                Ok(ExitCode::from(130))
            }
        }
    })
}

async fn verbs(master: &Master, output: Output, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Deploy(args) => return deploy::run(master, output, args).await,
        Verb::Scale { app, instances, wait } => {
            return changes::scale(master, output, &app, instances, &wait).await;
        }
        Verb::Restart { app, wait } => return changes::restart(master, output, &app, &wait).await,
        Verb::Remove { app, wait } => return changes::remove(master, output, &app, &wait).await,
        Verb::Apps => apps::run(master, output).await?,
        Verb::Tasks { app } => tasks::list(master, output, app.as_deref()).await?,
        Verb::Kill { task, scale } => tasks::kill(master, output, &task, scale).await?,
        Verb::Agents => cluster::agents(master, output).await?,
        Verb::Deployments(args) => cluster::deployments(master, output, args).await?,
        Verb::Queue => cluster::queue(master, output).await?,
        Verb::Logs(args) => logs::run(master, output, args).await?,
        Verb::Events { types } => events::run(master, output, &types).await?,
        Verb::Masters { verb } => masters::run(master, output, verb).await?,
        Verb::Backup(args) => backup::run(master, output, args).await?,
        Verb::Dev(_)
        | Verb::Master(_)
        | Verb::Agent(_)
        | Verb::Restore(_)
        | Verb::Recover(_)
        | Verb::Completions { .. }
        | Verb::Shim(_) => anyhow::bail!("this verb does not talk to a master"),
    }
    Ok(ExitCode::SUCCESS)
}

/// `clusterctl apps | head` must end quietly: Rust ignores SIGPIPE by default and would report an error.
#[allow(unsafe_code, reason = "the standard library has no stable way to reset a signal")]
fn reset_sigpipe() {
    // SAFETY: called before any other thread exists, with a constant disposition.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
