//! Commands of a step in pieces that an entry of the log holds. Pure.

use crate::state::{Command, Placement};

/// Placements in one command take no more in the log, where an entry is bounded.
const PLACE_BYTES_MAX: usize = 256 * 1024;
/// Placements in one command: applying it is not to hold up what else waits for the log.
const PLACEMENTS_MAX: usize = 1_000;

/// Very many placements, or some of tasks with very many ports, may be too much together: they become several commands.
/// Those on one agent stay together, since each command that is applied is a message to every agent in it.
pub fn fitting(command: Command) -> Vec<Command> {
    match command {
        Command::Place(mut placements) if is_large(&placements) => {
            placements.sort_by(|one, other| one.agent.cmp(&other.agent));
            halved(placements).into_iter().map(Command::Place).collect()
        }
        other => vec![other],
    }
}

fn halved(mut placements: Vec<Placement>) -> Vec<Vec<Placement>> {
    if placements.len() < 2 || !is_large(&placements) {
        return vec![placements];
    }
    let rest = placements.split_off(placements.len() / 2);
    [placements, rest].into_iter().flat_map(halved).collect()
}

fn is_large(placements: &[Placement]) -> bool {
    placements.len() > PLACEMENTS_MAX
        || postcard::experimental::serialized_size(placements).is_ok_and(|bytes| bytes > PLACE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use spec::ids::{AgentId, AppId};
    use spec::time::Timestamp;

    use super::*;

    fn one(agent: usize, ports: usize) -> Placement {
        Placement {
            app: AppId::parse("/a").unwrap(),
            version: Timestamp::default(),
            agent: AgentId::new(format!("c-S{agent}")),
            host_ports: vec![31_000; ports],
        }
    }

    fn split(placements: Vec<Placement>) -> Vec<Vec<Placement>> {
        let of = |command| if let Command::Place(all) = command { all } else { panic!("{command:?}") };
        fitting(Command::Place(placements)).into_iter().map(of).collect()
    }

    #[test]
    fn placements_are_split_until_they_fit() {
        for (count, ports, commands) in
            [(1_000, 1, 1), (1_001, 1, 2), (4_000, 1, 4), (1_000, 400, 8), (1, 500_000, 1)]
        {
            let split = split(vec![one(1, ports); count]);
            assert_eq!(split.len(), commands, "{count} with {ports} ports");
            assert_eq!(split.iter().map(Vec::len).sum::<usize>(), count);
        }
    }

    #[test]
    fn what_is_placed_on_one_agent_stays_together() {
        let split = split((0..4_000).map(|task| one(task % 500, 0)).collect());
        let agents = |placements: &Vec<Placement>| {
            placements.iter().map(|it| it.agent.clone()).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(split.iter().map(agents).collect::<Vec<_>>(), [125; 4]);
    }
}
