//! `clusterctl restore`: a backup into the directory of a new cluster's first master. Nothing runs.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

use anyhow::Context;
use scheduler::offline;
use serde_json::json;

use crate::args::{Output, RestoreArgs, YELLOW};

/// Makes the directory and says what to do next.
pub fn run(output: Output, args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let (file, name, dir) = (args.file.display(), &args.name, args.data_dir.display());
    let open = File::open(&args.file).with_context(|| format!("cannot open {file}"))?;
    let restored = offline::restore(BufReader::new(open), &args.data_dir, name, args.epoch);
    let (head, begun) = restored.with_context(|| format!("nothing was restored from {file}"))?;
    let warning = format!(
        "{}Warning:{} this is the cluster as of {}; what was changed later is gone. Tasks that were started \
         later are ended when their agents come back. Every old master must be stopped before this one is \
         started, and none of them may be started again.",
        YELLOW.render(),
        YELLOW.render_reset(),
        head.at
    );
    anstream::eprintln!("{warning}");
    if output == Output::Json {
        let text = json!({
            "clusterId": begun.cluster_id, "at": head.at.to_string(), "dataDir": args.data_dir,
            "master": {"name": name, "id": begun.master}, "epoch": begun.epoch, "index": begun.index,
            "apps": begun.apps, "tasks": begun.tasks, "agents": begun.agents,
        });
        println!("{}", serde_json::to_string_pretty(&text)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{dir}: cluster {} as of {} with {} apps, {} tasks and {} agents, in epoch {}\n\nNext:\n  clusterctl \
         master --name {name} --data-dir {dir}\nThen further masters, each in an empty directory:\n  clusterctl \
         master --name m2 --data-dir DIR --join IP:PORT of the --rpc of {name}\nAgents that know one of the \
         addresses come by themselves.",
        begun.cluster_id, head.at, begun.apps, begun.tasks, begun.agents, begun.epoch
    );
    Ok(ExitCode::SUCCESS)
}
