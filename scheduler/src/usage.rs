//! What agents say they use. It comes from all of them every few seconds and is seldom asked for, so only what a
//! machine uses as a whole is read when it comes, and what each task uses when somebody wants to know. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::ids::TaskId;
use spec::protocol::{FRAME_BYTES_MAX, Measured, Usage};
use spec::time::Timestamp;

/// An empty list of tasks, as it is sent.
const NOTHING: [u8; 1] = [0];
/// More is not kept of an agent's tasks; one that speaks the protocol says everything anew before.
const TASKS_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// The last that an agent has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When measured.
    pub at: Timestamp,
    /// The whole machine.
    pub machine: Measured,
    /// Each task, as it was sent; changes come after what they change.
    tasks: Arc<[u8]>,
}

/// One thing that an agent says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// All of it.
    Everything(Told),
    /// The tasks of it that use something else than before.
    Changes(Told),
}

impl Told {
    /// From a [`Usage`] as it is written in a message.
    pub fn read(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let ((at, machine), tasks) = postcard::take_from_bytes(bytes)?;
        Ok(Self { at, machine, tasks: tasks.into() })
    }

    /// After what the agent says now. Changes of what is unknown, or of very much, tell of the machine alone.
    pub fn after(before: Option<&Self>, telling: Telling) -> Self {
        match (telling, before) {
            (Telling::Everything(told), _) => told,
            (Telling::Changes(told), None) => Self { tasks: Arc::default(), ..told },
            (Telling::Changes(told), Some(before)) => {
                Self { tasks: joined(&before.tasks, &told.tasks), ..told }
            }
        }
    }

    /// What each task uses, also of some that are gone; of none where what was sent cannot be read.
    pub fn tasks(&self) -> BTreeMap<TaskId, Measured> {
        let (mut tasks, mut left) = (BTreeMap::new(), &self.tasks[..]);
        while !left.is_empty() {
            let Ok((part, rest)) = postcard::take_from_bytes::<Vec<_>>(left) else { break };
            tasks.extend(part);
            left = rest;
        }
        tasks
    }
}

/// One part after the other.
fn joined(before: &Arc<[u8]>, more: &[u8]) -> Arc<[u8]> {
    match *more == NOTHING || before.len() + more.len() > TASKS_BYTES_MAX {
        true => before.clone(),
        false => [before, more].concat().into(),
    }
}

impl From<&Usage> for Told {
    fn from(usage: &Usage) -> Self {
        let tasks = postcard::to_allocvec(&usage.tasks).expect("ids and numbers");
        Self { at: usage.at, machine: usage.machine, tasks: tasks.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(number: u64) -> TaskId {
        format!("web.instance-11111111-2222-3333-4444-55555555550{number}._app.1").parse().unwrap()
    }

    fn measured(cpus_milli: u64) -> Measured {
        Measured { cpus_milli, mem_bytes: 7 }
    }

    fn usage(at: u64, machine: u64, tasks: &[(u64, u64)]) -> Usage {
        let tasks = tasks.iter().map(|(number, cpus_milli)| (task(*number), measured(*cpus_milli)));
        Usage { at: Timestamp::from_millis(at), machine: measured(machine), tasks: tasks.collect() }
    }

    fn tasks(usage: &Usage) -> BTreeMap<TaskId, Measured> {
        usage.tasks.iter().cloned().collect()
    }

    #[test]
    fn what_was_said_is_read_when_it_is_asked_for() {
        let usage = usage(5, 30, &[(1, 10), (2, 20)]);
        let told = Told::read(&postcard::to_allocvec(&usage).unwrap()).unwrap();
        assert_eq!((told.at, told.machine, told.tasks()), (usage.at, usage.machine, tasks(&usage)));
        assert_eq!(told, Told::from(&usage));
        let cut = Told::read(&postcard::to_allocvec(&usage).unwrap()[..20]).unwrap();
        assert_eq!((cut.machine, cut.tasks()), (usage.machine, BTreeMap::new()));
        assert!(Told::read(&[]).is_err());
    }

    #[test]
    fn changes_come_after_what_they_change() {
        let changes = |usage: &Usage| Telling::Changes(Told::from(usage));
        let first = Told::after(None, Telling::Everything(Told::from(&usage(5, 30, &[(1, 10), (2, 20)]))));
        let as_before = Told::after(Some(&first), changes(&usage(6, 31, &[])));
        assert_eq!((as_before.at, as_before.machine), (Timestamp::from_millis(6), measured(31)));
        assert_eq!((as_before.tasks(), as_before.tasks.len()), (first.tasks(), first.tasks.len()));
        let second = Told::after(Some(&as_before), changes(&usage(7, 32, &[(3, 1), (2, 21)])));
        assert_eq!(second.tasks(), tasks(&usage(7, 32, &[(1, 10), (2, 21), (3, 1)])));
        let anew = Told::after(Some(&second), Telling::Everything(Told::from(&usage(8, 33, &[(3, 2)]))));
        assert_eq!(anew, Told::from(&usage(8, 33, &[(3, 2)])));
        let unknown = Told::after(None, changes(&usage(9, 34, &[])));
        assert_eq!((unknown.machine, unknown.tasks()), (measured(34), BTreeMap::new()));
    }

    #[test]
    fn no_more_is_kept_than_an_agent_has_reason_to_say() {
        let much = Told { tasks: vec![0; TASKS_BYTES_MAX].into(), ..Told::from(&usage(5, 30, &[])) };
        let told = Told::after(Some(&much), Telling::Changes(Told::from(&usage(6, 31, &[(1, 1)]))));
        assert_eq!((told.machine, told.tasks.len()), (measured(31), TASKS_BYTES_MAX));
    }
}
