//! Tasks that have ended, for a while: a message that crossed the ending must not start them anew. By their numbers
//! alone, since there are many: an instance has its number to itself, whatever its app.

use std::collections::{BTreeSet, VecDeque};

use spec::ids::TaskId;
use uuid::Uuid;

/// How many are remembered.
const REMEMBERED_MAX: usize = 4096;

type Number = (Uuid, u32);

/// The last that have ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    numbers: BTreeSet<Number>,
    order: VecDeque<Number>,
}

impl Ended {
    /// Is it one of them?
    pub(super) fn contains(&self, task: &TaskId) -> bool {
        self.numbers.contains(&number(task))
    }

    /// It has ended; the one that ended first is forgotten for it.
    pub(super) fn remember(&mut self, task: &TaskId) {
        if !self.numbers.insert(number(task)) {
            return;
        }
        self.order.push_back(number(task));
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }
}

fn number(task: &TaskId) -> Number {
    (task.instance.uuid, task.incarnation)
}

#[cfg(test)]
mod tests {
    use spec::ids::{AppId, InstanceId};

    use super::*;

    #[test]
    fn the_last_are_remembered_and_the_first_forgotten() {
        let task = |incarnation| {
            let instance = InstanceId { app: AppId::parse("/a").unwrap(), uuid: Uuid::from_u128(7) };
            TaskId { instance, incarnation }
        };
        let (mut ended, most) = (Ended::default(), REMEMBERED_MAX as u32);
        (0..most).for_each(|number| ended.remember(&task(number)));
        // One that is known takes nobody's place.
        ended.remember(&task(3));
        assert!(ended.contains(&task(0)));
        ended.remember(&task(most));
        let remembered = |number| ended.contains(&task(number));
        assert_eq!([0, 1, most, most + 1].map(remembered), [false, true, true, false]);
    }
}
