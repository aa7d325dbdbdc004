//! Commands in few words, for the trace.

use scheduler::state::Command;

/// Commands in few words.
pub struct Short<'a>(pub &'a [Command]);

impl std::fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        for command in self.0 {
            match command {
                Command::Deploy(deploy) => {
                    let put: Vec<_> =
                        deploy.put.iter().map(|put| (put.app.0.id.as_str(), put.app.0.instances)).collect();
                    let (remove, restart) = (&deploy.remove, &deploy.restart);
                    list.entry(&format_args!(
                        "Deploy {put:?} -{remove:?} ~{restart:?} force {}",
                        deploy.force
                    ))
                }
                Command::Place(placements) => list.entry(&format_args!(
                    "Place {:?}",
                    placements
                        .iter()
                        .map(|p| (p.app.as_str(), p.agent.as_str(), &p.host_ports))
                        .collect::<Vec<_>>()
                )),
                Command::Report { agent, complete, reports } => list.entry(&format_args!(
                    "Report {agent} complete {complete} {:?}",
                    reports.iter().map(|r| (r.task.to_string(), r.seq, r.state)).collect::<Vec<_>>()
                )),
                Command::RegisterAgent { id, info } => {
                    list.entry(&format_args!("Register {id:?} {}", info.hostname))
                }
                other => list.entry(other),
            };
        }
        list.finish()
    }
}
