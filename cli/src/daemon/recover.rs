//! `clusterctl recover`: the last master that survived becomes a cluster of its own. Nothing runs.

use std::process::ExitCode;

use anyhow::Context;
use scheduler::offline;
use serde_json::json;

use crate::args::{Output, RED, RecoverArgs, YELLOW};

/// Recovers if it was meant, and says what to do next.
pub fn run(output: Output, args: RecoverArgs) -> anyhow::Result<ExitCode> {
    let (name, dir) = (&args.name, args.data_dir.display());
    if !args.yes {
        anstream::eprintln!(
            "{}Warning:{} this makes {name} a cluster of its own with what its log in {dir} holds.\n  - Changes \
             that only the other masters knew are lost, acknowledged ones among them. Tasks that were started \
             by them are ended.\n  - While a majority of the masters can be started, start it instead.\n  - If \
             several masters survive, recover the one that was up last; the others join it with empty \
             directories.\n  - None of the other masters may be started again with its old directory.\nIf that \
             is what you want:\n  clusterctl recover --name {name} --data-dir {dir} --yes",
            YELLOW.render(),
            YELLOW.render_reset()
        );
        anstream::eprintln!("{}nothing was changed{}: --yes is missing", RED.render(), RED.render_reset());
        return Ok(ExitCode::FAILURE);
    }
    let recovered = offline::recover(&args.data_dir, name, args.epoch);
    let begun = recovered.with_context(|| format!("nothing was recovered in {dir}"))?;
    if output == Output::Json {
        let text = json!({
            "clusterId": begun.cluster_id, "dataDir": args.data_dir,
            "master": {"name": name, "id": begun.master}, "epoch": begun.epoch, "index": begun.index,
            "apps": begun.apps, "tasks": begun.tasks, "agents": begun.agents, "lost": begun.lost,
        });
        println!("{}", serde_json::to_string_pretty(&text)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{dir}: {name} is the only master of cluster {} now, with {} apps, {} tasks and {} agents, in epoch \
         {}; {} other masters are left behind. Its old log is kept in the directory.\n\nNext:\n  clusterctl \
         master --name {name} --data-dir {dir}\nThen further masters, each in an empty directory:\n  clusterctl \
         master --name m2 --data-dir DIR --join IP:PORT of the --rpc of {name}\nTake the others out of --masters \
         of the agents and out of CLUSTERCTL_MASTER; `clusterctl masters` shows who is left.",
        begun.cluster_id,
        begun.apps,
        begun.tasks,
        begun.agents,
        begun.epoch,
        begun.lost.len()
    );
    Ok(ExitCode::SUCCESS)
}
