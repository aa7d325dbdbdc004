//! What a plan of very many tasks does with agents, and what one of few does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use spec::app::App;
use spec::ids::AgentId;

use super::super::fixture::*;
use super::super::*;
use super::{planned, spread};
use crate::state::State;

/// Agents of 4 cores each.
fn agents(count: usize) -> State {
    let names: Vec<_> = (0..count).map(|n| format!("h{n:04}")).collect();
    cluster(&names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>())
}

fn apps(state: &mut State, from: usize, count: usize, cpus: f64, instances: u32) -> Vec<Demand> {
    let mut one = |n: usize| -> Arc<App> {
        put(state, app(&format!("/app{n}"), json!({"cpus": cpus, "mem": 1, "instances": instances})))
    };
    (from..from + count).map(|n| Demand { app: one(n), count: instances }).collect()
}

#[test]
fn agents_get_several_tasks_of_a_plan_when_it_is_large_and_they_are_small() {
    // Agents, apps, tasks of each, cores of a task; agents that get tasks, at least and at most, and tasks of one.
    for (hosts, count, instances, cpus, used, most) in [
        // Few tasks: each on an agent of its own, as long as there are any.
        (6, 3, 2, 0.03, 6..=6, 1),
        (600, 5, 100, 0.03, 400..=500, 3),
        // Many.
        (600, 6, 100, 0.03, 120..=240, 5),
        (2_000, 4, 500, 0.03, 500..=1_000, 4),
        (2_000, 100, 20, 0.03, 380..=1_000, 6),
        // Many, but each is a large part of an agent: each counts.
        (600, 6, 100, 1.0, 450..=600, 3),
    ] {
        for seed in 0..3 {
            let mut state = agents(hosts);
            let demands = apps(&mut state, 0, count, cpus, instances);
            let plan = planned(&state, &demands, seed);
            let what = format!("{count} apps of {instances} on {hosts}, seed {seed}");
            let counts = spread(&plan);
            assert_eq!(plan.placements.len(), count * instances as usize, "{what}");
            assert!(used.contains(&counts.len()), "{what}: {}", counts.len());
            assert!(counts.values().all(|count| *count <= most), "{what}: {:?}", counts.values().max());
            // None of two tasks of one app share an agent.
            let pairs: BTreeSet<_> = plan.placements.iter().map(|p| (&p.app, &p.agent)).collect();
            assert_eq!(pairs.len(), plan.placements.len(), "{what}");
        }
    }
}

#[test]
fn what_one_large_plan_leaves_uneven_the_next_ones_even_out() {
    let mut state = agents(500);
    let mut counts: BTreeMap<AgentId, usize> = state.agents.keys().map(|agent| (agent.clone(), 0)).collect();
    for round in 0..16 {
        let demands = apps(&mut state, 10 * round, 10, 0.03, 60);
        let plan = planned(&state, &demands, round as u64);
        for placement in &plan.placements {
            let entry = demands.iter().find(|demand| demand.app.id == placement.app);
            run(&mut state, &entry.unwrap().app, &placement.agent, &[]);
            *counts.get_mut(&placement.agent).unwrap() += 1;
        }
    }
    let (least, most) = (*counts.values().min().unwrap(), *counts.values().max().unwrap());
    // On average 19.2.
    assert!(least >= 14 && most <= 25, "from {least} to {most}");
}
