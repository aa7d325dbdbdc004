//! Tasks at rest are counted and not looked at. What is decided must be what a look at every single task would say: the
//! same decisions with nothing taken to be at rest.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::json;

use super::*;
use crate::control::decide;
use crate::control::subject::{Resting, Subject};
use crate::control::work::Todo;
use crate::placement::Policy;
use crate::placement::fixture::*;
use crate::state::tests::histories::{moves, states};

/// How often what was looked at made a difference.
#[derive(Debug, Default)]
struct Reach {
    resting: usize,
    resting_outdated: usize,
    ended: usize,
    ended_at_rest: usize,
    due: usize,
    done: usize,
}

/// Every app there is, and every one that a deployment is at although it is gone.
pub(super) fn assert_left_alone(state: &State, now: Timestamp) {
    assert_same(state, now, &mut Reach::default());
}

fn assert_same(state: &State, now: Timestamp, reach: &mut Reach) {
    let mut memory = Memory::default();
    memory.read_locks(state);
    let actions = state.deployments.values().flat_map(|deployment| deployment.current_actions());
    let apps: BTreeSet<_> = state.apps.keys().chain(actions.map(|action| &action.app)).collect();
    for app in apps {
        let subject = || Subject::of(state, app, memory.duty_of(state, app), now, &SETTINGS);
        let all = state.tasks_of(app).collect();
        let todo = decide(&subject());
        let of_all = decide(&Subject { watched: all, resting: Resting::default(), ..subject() });
        assert_eq!(todo, of_all, "{app}");
        reach.note(state, &subject(), &todo);
    }
}

const SETTINGS: Settings = Settings { launch_timeout_millis: 100_000, placement: Policy::Spread };

impl Reach {
    fn note(&mut self, state: &State, subject: &Subject<'_>, todo: &Todo) {
        self.resting += subject.resting.count;
        self.resting_outdated += subject.resting.outdated;
        self.ended += todo.end.len();
        self.ended_at_rest += todo.end.iter().filter(|(id, _)| state.tasks[id].is_at_rest()).count();
        self.due += usize::from(todo.due.is_some());
        self.done += usize::from(todo.is_done);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// In any state, at any time: the histories do not wait for what the loop decides.
    #[test]
    fn what_rests_has_no_say(steps in prop::collection::vec(moves(), 1..120), later in 0..400_000u64) {
        for state in states(&steps) {
            for millis in [0, later] {
                assert_left_alone(&state, state.now.plus_millis(millis));
            }
        }
    }
}

/// The histories must get to where it matters; else the property says little.
#[test]
fn histories_reach_tasks_at_rest() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reach = Reach::default();
    for _ in 0..100 {
        let steps = prop::collection::vec(moves(), 120).new_tree(&mut runner).unwrap().current();
        states(&steps).iter().for_each(|state| assert_same(state, state.now, &mut reach));
    }
    let Reach { resting, resting_outdated, ended, ended_at_rest, due, done } = reach;
    let reached = [resting, resting_outdated, ended, ended_at_rest, due, done];
    assert!(reached.iter().all(|count| *count > 100), "{reached:?}");
}

/// An app of many tasks of which few are not at rest is searched, one of few is walked along: the same either way.
#[test]
fn those_not_at_rest_are_found_among_few_and_among_many() {
    for (count, odd) in [(1, 0), (1, 1), (40, 0), (40, 2), (40, 3), (40, 40)] {
        let mut state = cluster(&[("a", "")]);
        let agent = state.agents.keys().next().expect("an agent").clone();
        let [app, beside] = ["/x", "/y"].map(|id| put(&mut state, app(id, json!({}))));
        let ids: Vec<_> = (0..count).map(|_| run(&mut state, &app, &agent, &[])).collect();
        let neighbour = run(&mut state, &beside, &agent, &[]);
        change(&mut state, &neighbour, |task| task.condition = Condition::Staging);
        let restless: BTreeSet<_> = ids.iter().take(odd).cloned().collect();
        for id in &restless {
            change(&mut state, id, |task| task.condition = Condition::Staging);
        }
        let found = state.restless_of(&app.id).into_iter().map(|task| &task.id);
        assert!(found.eq(&restless), "{odd} of {count}");
        restless.iter().for_each(|id| change(&mut state, id, |task| task.condition = Condition::Running));
        assert!(state.restless_of(&app.id).is_empty());
    }
}
