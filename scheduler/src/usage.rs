//! What agents say they use. It comes from all of them every few seconds and is seldom asked for, so only what a
//! machine uses as a whole is read when it comes, and what each task uses when somebody wants to know. Pure.

use spec::ids::TaskId;
use spec::protocol::{Measured, Usage};
use spec::time::Timestamp;

/// The last that an agent has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When measured.
    pub at: Timestamp,
    /// The whole machine.
    pub machine: Measured,
    /// Each task, as it was sent.
    tasks: Box<[u8]>,
}

impl Told {
    /// From a [`Usage`] as it is written in a message.
    pub fn read(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let ((at, machine), tasks) = postcard::take_from_bytes(bytes)?;
        Ok(Self { at, machine, tasks: tasks.into() })
    }

    /// What each running task uses; of none where what was sent cannot be read.
    pub fn tasks(&self) -> Vec<(TaskId, Measured)> {
        postcard::from_bytes(&self.tasks).unwrap_or_default()
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

    #[test]
    fn what_was_said_is_read_when_it_is_asked_for() {
        let task = |n| format!("web.instance-11111111-2222-3333-4444-55555555550{n}._app.1").parse().unwrap();
        let measured = |cpus_milli| Measured { cpus_milli, mem_bytes: 7 };
        let usage = Usage {
            at: Timestamp::from_millis(5),
            machine: measured(30),
            tasks: vec![(task(1), measured(10)), (task(2), measured(20))],
        };
        let told = Told::read(&postcard::to_allocvec(&usage).unwrap()).unwrap();
        assert_eq!((told.at, told.machine, told.tasks()), (usage.at, usage.machine, usage.tasks.clone()));
        assert_eq!(told, Told::from(&usage));
        let cut = Told::read(&postcard::to_allocvec(&usage).unwrap()[..20]).unwrap();
        assert_eq!((cut.machine, cut.tasks()), (usage.machine, Vec::new()));
        assert!(Told::read(&[]).is_err());
    }
}
