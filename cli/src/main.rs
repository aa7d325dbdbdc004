//! `clusterctl`: every part of Gantry is a verb of this one binary.
//!
//! [`args`] is the command line, `daemon` the verbs that stay up or work on their directories, `client` the
//! verbs that talk to a master. Errors end here, as one line a person can act on and an exit code: 0 what was
//! asked for happened, 1 it did not, 2 the command line was wrong.

mod args;
mod client;
mod daemon;
mod memory;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Verb};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("{}error:{} {}", args::RED.render(), args::RED.render_reset(), chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Shim(shim) => Ok(agent::shim::run(["--spec".into(), shim.spec.into()].into_iter())),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "clusterctl", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Dev(dev) => daemon::block_on(daemon::USUAL_LOG, daemon::dev::run(dev)),
        Verb::Master(master) => daemon::block_on(daemon::USUAL_LOG, daemon::master::run(master)),
        Verb::Agent(agent) => daemon::block_on(daemon::agent::usual_log(&agent), daemon::agent::run(agent)),
        Verb::Restore(restore) => daemon::restore::run(cli.client.output, restore),
        Verb::Recover(recover) => daemon::recover::run(cli.client.output, recover),
        verb => client::run(cli.client, verb),
    }
}

/// An error and its causes on one line, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !line.contains(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
    }
    line
}
