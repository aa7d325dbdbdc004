//! Commands of a step in pieces that an entry of the log holds. Pure.

use crate::state::{Command, Placement};

/// Placements in one command take no more in the log, where an entry is bounded.
const PLACE_BYTES_MAX: usize = 256 * 1024;
/// Placements in one command: applying it is not to hold up what else waits for the log.
const PLACEMENTS_MAX: usize = 500;

/// Very many placements, or some of tasks with very many ports, may be too much together; in order, as several
/// commands.
pub fn fitting(command: Command) -> Vec<Command> {
    match command {
        Command::Place(mut placements) if placements.len() > 1 && is_large(&placements) => {
            let rest = placements.split_off(placements.len() / 2);
            [placements, rest].into_iter().flat_map(|half| fitting(Command::Place(half))).collect()
        }
        other => vec![other],
    }
}

fn is_large(placements: &[Placement]) -> bool {
    placements.len() > PLACEMENTS_MAX
        || postcard::experimental::serialized_size(placements).is_ok_and(|bytes| bytes > PLACE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use spec::ids::{AgentId, AppId};
    use spec::time::Timestamp;

    use super::*;

    #[test]
    fn placements_are_split_until_they_fit() {
        let one = |ports| Placement {
            app: AppId::parse("/a").unwrap(),
            version: Timestamp::default(),
            agent: AgentId::new("c-S1"),
            host_ports: vec![31_000; ports],
        };
        for (count, ports, commands) in
            [(500, 1, 1), (1_000, 1, 2), (4_000, 1, 8), (1_000, 400, 8), (1, 500_000, 1)]
        {
            let split = fitting(Command::Place(vec![one(ports); count]));
            assert_eq!(split.len(), commands, "{count} with {ports} ports");
            let placed: usize =
                split.iter().map(|part| if let Command::Place(all) = part { all.len() } else { 0 }).sum();
            assert_eq!(placed, count);
        }
    }
}
