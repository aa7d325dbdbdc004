//! Tables for each rule of feasibility, and (in `properties`) what holds of every plan.

mod grain;
mod large;
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use spec::app::App;
use spec::ids::{AgentId, AppId};
use spec::time::Timestamp;

use super::fixture::*;
use super::*;
use crate::state::{Placement, Presence};

const NOW: Timestamp = Timestamp::from_millis(5_000);

fn planned(state: &State, demands: &[Demand], seed: u64) -> Plan {
    place(&mut Index::default(), state, demands, Terms { policy: Policy::default(), now: NOW, seed })
}

fn plan(state: &State, app: &Arc<App>, count: u32, seed: u64) -> Plan {
    planned(state, &[Demand { app: app.clone(), count }], seed)
}

/// Applies placements one by one, each having passed `check`.
fn apply_checked(state: &mut State, apps: &BTreeMap<AppId, Arc<App>>, placements: &[Placement]) {
    for placement in placements {
        let app = &apps[&placement.app];
        let agent = state.agents.get(&placement.agent).unwrap().clone();
        assert_eq!(check(state, app, &agent, &placement.host_ports), Ok(()), "{placement:?}");
        run(state, app, &placement.agent, &placement.host_ports);
    }
}

/// How many tasks of a plan go to each agent.
fn spread(plan: &Plan) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for placement in &plan.placements {
        *counts.entry(placement.agent.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn check_names_the_first_reason() {
    use Reason::*;
    let docker = json!({"type": "DOCKER", "docker":
        {"image": "x", "forcePullImage": false, "privileged": false}, "volumes": []});
    let rows = [
        (json!({}), Ok(())),
        (json!({"cpus": 4}), Ok(())),
        (json!({"cpus": 4.001}), Err(InsufficientCpus)),
        (json!({"mem": 1001}), Err(InsufficientMemory)),
        (json!({"cpus": 5, "mem": 1001}), Err(InsufficientCpus)),
        (json!({"disk": 10_001}), Err(InsufficientDisk)),
        (json!({"gpus": 1}), Err(InsufficientGpus)),
        (json!({"container": docker, "cpus": 5}), Err(UnfulfilledConstraint)),
        (json!({"acceptedResourceRoles": ["public"], "cpus": 5}), Err(UnfulfilledRole)),
        (json!({"acceptedResourceRoles": ["public", "*"]}), Ok(())),
        (json!({"portDefinitions": dynamic_ports(1)}), Err(InsufficientPorts)),
    ];
    let state = cluster(&[("a", "")]);
    let agent = state.agents.values().next().unwrap();
    for (changes, expected) in rows {
        assert_eq!(check(&state, &app("/x", changes.clone()), agent, &[]), expected, "{changes}");
    }
}

#[test]
fn lost_agents_take_nothing_and_hollow_ones_run_everything() {
    let mut state = cluster(&[("a", ""), ("b", "")]);
    let image = json!({"container": {"type": "DOCKER", "docker":
        {"image": "x", "forcePullImage": false, "privileged": false}, "volumes": []}});
    let mut agents: Vec<_> = state.agents.values().map(|agent| (**agent).clone()).collect();
    agents[0].presence = Presence::Lost;
    Arc::make_mut(&mut agents[1].info).runtimes.hollow = true;
    assert_eq!(check(&state, &app("/x", json!({})), &agents[0], &[]), Err(Reason::AgentMaintenance));
    assert_eq!(check(&state, &app("/x", image), &agents[1], &[]), Ok(()));
    let lost = agents.remove(0);
    state.agents.insert(lost.id.clone(), Arc::new(lost));
    let app = put(&mut state, app("/x", json!({})));
    assert_eq!(spread(&plan(&state, &app, 3, 1)), BTreeMap::from([("b", 3)]));
}

#[test]
fn given_ports_must_be_in_range_free_distinct_and_as_asked() {
    let mut state = cluster(&[("a", "")]);
    let other = put(&mut state, app("/other", json!({"portDefinitions": dynamic_ports(1)})));
    let id = state.agents.keys().next().unwrap().clone();
    run(&mut state, &other, &id, &[31_000]);
    let mixed = json!({"requirePorts": true,
        "portDefinitions": [{"port": 31_001, "protocol": "tcp"}, {"port": 0, "protocol": "tcp"}]});
    let rows: [(&[u16], bool); 8] = [
        (&[31_001, 31_014], true),
        (&[31_001], false),
        (&[31_001, 31_002, 31_003], false),
        (&[31_002, 31_001], false),
        (&[31_001, 31_001], false),
        (&[31_001, 31_000], false),
        (&[31_001, 31_005], false),
        (&[31_001, 80], false),
    ];
    for (ports, right) in rows {
        let expected = if right { Ok(()) } else { Err(Reason::InsufficientPorts) };
        let agent = state.agents.get(&id).unwrap();
        assert_eq!(check(&state, &app("/x", mixed.clone()), agent, ports), expected, "{ports:?}");
    }
}

#[test]
fn dynamic_ports_are_consecutive_from_a_seeded_start_and_wrap_round() {
    let mut state = cluster(&[("a", "")]);
    let app = put(&mut state, app("/x", json!({"portDefinitions": dynamic_ports(3), "cpus": 0.01})));
    let every: Vec<u16> = (31_000..=31_004).chain(31_010..=31_014).collect();
    let mut starts = BTreeSet::new();
    for seed in 0..50 {
        let ports = plan(&state, &app, 1, seed).placements.remove(0).host_ports;
        let start = every.iter().position(|port| *port == ports[0]).unwrap();
        let expected: Vec<u16> = every.iter().copied().cycle().skip(start).take(3).collect();
        assert_eq!(ports, expected);
        starts.insert(start);
    }
    assert!(starts.len() > 5, "starts differ by seed: {starts:?}");
    let full = plan(&state, &app, 5, 1);
    assert_eq!(full.placements.len(), 3, "ten ports are enough for three tasks of three");
    assert_eq!(full.waiting[0].1.rejects.declined[Reason::InsufficientPorts as usize], 1);
    assert_eq!(full.waiting[0].1.sample[0].detail, "needs 3 ports, 1 free");
}

#[test]
fn fixed_ports_go_once_to_each_agent() {
    let mut state = cluster(&[("a", ""), ("b", "")]);
    let fixed = json!({"requirePorts": true, "portDefinitions": [{"port": 31_003, "protocol": "tcp"}]});
    let app = put(&mut state, app("/x", fixed));
    let plan = plan(&state, &app, 3, 1);
    assert_eq!(spread(&plan), BTreeMap::from([("a", 1), ("b", 1)]));
    assert!(plan.placements.iter().all(|placement| placement.host_ports == [31_003]));
    assert_eq!(plan.waiting[0].1.sample[1].detail, "port 31003 is taken or not among the agent's");
}

/// Which agents accept the first task, under one constraint.
#[test]
fn constraints_that_look_at_the_agent_alone() {
    let state = cluster(&[("h1", "rack=r1 zone=z1 speed=1.50"), ("h2", "rack=r2 speed=2"), ("h3", "")]);
    let rows = [
        (json!(["rack", "CLUSTER", "r1"]), "h1"),
        (json!(["rack", "LIKE", "r[12]"]), "h1 h2"),
        (json!(["rack", "LIKE", "r"]), ""),
        (json!(["rack", "UNLIKE", "r1"]), "h2 h3"),
        (json!(["rack", "IS", "r2"]), "h2"),
        (json!(["speed", "IS", "1.5"]), "h1"),
        (json!(["speed", "IS", "2.0"]), "h2"),
        (json!(["speed", "LIKE", "1\\.5"]), "h1"),
        (json!(["hostname", "LIKE", "h[13]"]), "h1 h3"),
        (json!(["@hostname", "UNLIKE", "h1"]), "h2 h3"),
        (json!(["@zone", "IS", "z1"]), "h1"),
        (json!(["rack", "UNIQUE"]), "h1 h2"),
        (json!(["rack", "MAX_PER", "0"]), ""),
        (json!(["rack", "LIKE", "("]), ""),
        (json!(["rack", "UNLIKE", "("]), "h3"),
    ];
    for (constraint, expected) in rows {
        let app = app("/x", json!({"constraints": [constraint]}));
        let accepting = state.agents.values().filter(|agent| check(&state, &app, agent, &[]).is_ok());
        let names: Vec<_> = accepting.map(|agent| agent.id.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{constraint}");
    }
}

/// How many of twelve tasks go where, under constraints that count.
#[test]
fn constraints_that_count_tasks() {
    let agents = [("h1", "rack=r1"), ("h2", "rack=r1"), ("h3", "rack=r2"), ("h4", "rack=r3"), ("h5", "")];
    let rows = [
        (json!([["hostname", "UNIQUE"]]), 12, [1, 1, 1, 1, 1]),
        (json!([["rack", "UNIQUE"]]), 12, [1, 0, 1, 1, 0]),
        (json!([["rack", "MAX_PER", "2"]]), 12, [1, 1, 2, 2, 0]),
        (json!([["rack", "GROUP_BY"]]), 12, [2, 2, 4, 4, 0]),
        (json!([["rack", "GROUP_BY", "2"], ["hostname", "LIKE", "h[123]"]]), 12, [3, 3, 6, 0, 0]),
        (json!([["rack", "GROUP_BY", "3"], ["hostname", "UNIQUE"]]), 12, [1, 1, 1, 1, 0]),
        (json!([["rack", "GROUP_BY"], ["hostname", "MAX_PER", "1"]]), 3, [1, 0, 1, 1, 0]),
    ];
    for (constraints, count, expected) in rows {
        for seed in 0..5 {
            let mut state = cluster(&agents);
            let app = put(&mut state, app("/x", json!({"constraints": constraints, "instances": count})));
            let plan = plan(&state, &app, count, seed);
            apply_checked(&mut state, &BTreeMap::from([(app.id.clone(), app.clone())]), &plan.placements);
            let spread = spread(&plan);
            let mut counts = agents.map(|(name, _)| spread.get(name).copied().unwrap_or(0));
            if counts[0] < counts[1] {
                counts.swap(0, 1); // which of the two agents of rack r1 is left to chance
            }
            assert_eq!(counts, expected, "{constraints}");
        }
    }
}

#[test]
fn group_by_a_number_leaves_the_remainder_to_the_first_groups() {
    let mut state = cluster(&[("h1", "rack=r1"), ("h2", "rack=r2"), ("h3", "rack=r3")]);
    let five = json!({"constraints": [["rack", "GROUP_BY", "2"]], "instances": 5});
    let app = put(&mut state, app("/x", five));
    let mut counts: Vec<_> = spread(&plan(&state, &app, 9, 3)).into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 3], "two groups of three and two, nothing beyond five, nothing in a third group");
}

#[test]
fn an_agent_out_of_turn_for_now_has_its_turn_later() {
    let mut state = cluster(&[("a", "rack=r1 zone=z1"), ("b", "rack=r2 zone=z1"), ("c", "rack=r1 zone=z2")]);
    let both = json!({"constraints": [["rack", "GROUP_BY"], ["zone", "GROUP_BY"]]});
    let app = put(&mut state, app("/x", both));
    for agent in ["a", "a", "b"] {
        run(&mut state, &app, &AgentId::new(agent), &[]);
    }
    // c has the fewest tasks in its groups, but rack r1 is ahead of r2 until b has one more.
    assert_eq!(spread(&plan(&state, &app, 2, 1)), BTreeMap::from([("b", 1), ("c", 1)]));
}

#[test]
fn cluster_without_a_value_follows_the_first_task() {
    let mut state = cluster(&[("h1", "rack=r1"), ("h2", "rack=r2"), ("h3", "rack=r2")]);
    let app = put(&mut state, app("/x", json!({"constraints": [["rack", "CLUSTER"]]})));
    for seed in 0..8 {
        let plan = plan(&state, &app, 10, seed);
        let racks: BTreeSet<_> = plan.placements.iter().map(|p| p.agent.as_str() == "h1").collect();
        assert_eq!((racks.len(), plan.placements.len()), (1, 10));
    }
    run(&mut state, &app, &AgentId::new("h3"), &[]);
    assert!(!spread(&plan(&state, &app, 10, 1)).contains_key("h1"));
}

#[test]
fn only_tasks_of_the_same_or_a_newer_configuration_constrain() {
    let mut state = cluster(&[("h1", "")]);
    let unique = json!({"constraints": [["hostname", "UNIQUE"]]});
    let old = put(&mut state, app("/x", unique.clone()));
    run(&mut state, &old, &AgentId::new("h1"), &[]);
    let agent = state.agents.values().next().unwrap().clone();
    assert_eq!(check(&state, &old, &agent, &[]), Err(Reason::UnfulfilledConstraint));
    let mut new = app("/x", unique);
    new.version = old.version.plus_seconds(1);
    assert_eq!(check(&state, &new, &agent, &[]), Ok(()));
}

#[test]
fn equal_tasks_spread_and_siblings_keep_apart() {
    let mut state = cluster(&[("a", ""), ("b", ""), ("c", "")]);
    let app = put(&mut state, app("/x", json!({})));
    assert_eq!(spread(&plan(&state, &app, 9, 7)), BTreeMap::from([("a", 3), ("b", 3), ("c", 3)]));
    let other = put(&mut state, super::fixture::app("/heavy", json!({"cpus": 0.5})));
    run(&mut state, &other, &AgentId::new("a"), &[]);
    assert_eq!(spread(&plan(&state, &app, 3, 7)), BTreeMap::from([("a", 1), ("b", 1), ("c", 1)]));
}

#[test]
fn scores_avoid_stranded_resources_and_wasted_gpus() {
    let mut state = cluster(&[("a", ""), ("b", "")]);
    let mut with_gpu = info("g", "");
    with_gpu.capacity.gpus = 2;
    join(&mut state, with_gpu);
    // On a CPU is at 50 % and memory at 10 %, on b it is the other way round.
    let cpus = put(&mut state, app("/cpus", json!({"cpus": 2, "mem": 100})));
    let mem = put(&mut state, app("/mem", json!({"cpus": 0.4, "mem": 500})));
    run(&mut state, &cpus, &AgentId::new("a"), &[]);
    run(&mut state, &mem, &AgentId::new("b"), &[]);
    let hungry = put(&mut state, app("/x", json!({"cpus": 1, "mem": 10})));
    assert_eq!(spread(&plan(&state, &hungry, 1, 1)), BTreeMap::from([("b", 1)]));
    let wants_gpu = put(&mut state, app("/y", json!({"gpus": 1})));
    assert_eq!(spread(&plan(&state, &wants_gpu, 3, 1)), BTreeMap::from([("g", 2)]));
}

#[test]
fn policies_choose_the_least_used_the_fullest_or_the_first_with_room() {
    let mut state = cluster(&[("a", ""), ("b", ""), ("c", "")]);
    let filler = put(&mut state, app("/filler", json!({"cpus": 1, "mem": 250})));
    for agent in ["b", "b", "c"] {
        run(&mut state, &filler, &AgentId::new(agent), &[]);
    }
    let one = |app: &Arc<App>| [Demand { app: app.clone(), count: 1 }];
    let small = Arc::new(app("/x", json!({"cpus": 1, "mem": 250})));
    let large = Arc::new(app("/y", json!({"cpus": 3, "mem": 750})));
    for (policy, for_small, for_large) in
        [(Policy::Spread, "a", "a"), (Policy::Pack, "b", "c"), (Policy::First, "a", "a")]
    {
        for seed in 0..5 {
            let terms = Terms { policy, now: NOW, seed };
            let goes =
                |app| place(&mut Index::default(), &state, &one(app), terms).placements.remove(0).agent;
            assert_eq!(goes(&small).as_str(), for_small, "{policy:?}");
            assert_eq!(goes(&large).as_str(), for_large, "{policy:?}");
        }
    }
    assert_eq!("pack".parse(), Ok(Policy::Pack));
    assert!("best".parse::<Policy>().is_err());
}

#[test]
fn packing_puts_a_task_where_it_brings_processors_and_memory_into_balance() {
    let mut state = cluster(&[("a", ""), ("b", ""), ("c", "")]);
    for (agent, cpus, mem) in [("a", 3.0, 250), ("b", 1.0, 750), ("c", 2.4, 600)] {
        let filler = put(&mut state, app(&format!("/on-{agent}"), json!({"cpus": cpus, "mem": mem})));
        run(&mut state, &filler, &AgentId::new(agent), &[]);
    }
    let terms = Terms { policy: Policy::Pack, now: NOW, seed: 1 };
    for (cpus, mem, agent) in [(1.0, 50, "b"), (0.1, 250, "a"), (0.4, 100, "c")] {
        let app = Arc::new(app("/x", json!({"cpus": cpus, "mem": mem})));
        let plan = place(&mut Index::default(), &state, &[Demand { app, count: 1 }], terms);
        assert_eq!(plan.placements[0].agent.as_str(), agent, "{cpus} cpus, {mem} MiB");
    }
}

#[test]
fn gpus_are_packed_with_either_policy_and_the_largest_agents_stay_whole() {
    let mut state = State::default();
    for (name, gpus, cpus) in [("a", 8, 96_000), ("b", 2, 96_000), ("c", 2, 32_000), ("d", 8, 96_000)] {
        let mut info = info(name, "");
        (info.capacity.gpus, info.capacity.cpus_milli) = (gpus, cpus);
        join(&mut state, info);
    }
    let with_gpu = |count| Arc::new(app("/x", json!({"gpus": 1, "instances": count})));
    for policy in [Policy::Spread, Policy::Pack] {
        let terms = Terms { policy, now: NOW, seed: 1 };
        let plan = place(&mut Index::default(), &state, &[Demand { app: with_gpu(9), count: 9 }], terms);
        let order: String = plan.placements.iter().map(|placement| placement.agent.as_str()).collect();
        assert!(order.starts_with("ccbb"), "{policy:?}: {order}");
        let counts: BTreeSet<_> = spread(&plan).into_values().collect();
        assert_eq!(counts, BTreeSet::from([2, 5]), "one of the large ones stays whole: {order}");
    }
}

#[test]
fn what_waits_is_counted_by_first_reason_with_every_reason_in_words() {
    let mut state = cluster(&[("a", "rack=r1"), ("b", "rack=r2"), ("c", "rack=r1")]);
    let big = json!({"cpus": 3.5, "mem": 600, "constraints": [["rack", "IS", "r1"]]});
    let app = put(&mut state, app("/x", big));
    let look = plan(&state, &app, 5, 1).waiting.remove(0).1;
    assert_eq!((look.placed, look.rejects.processed, look.at), (2, 3, NOW));
    assert_eq!(look.rejects.declined, [0, 1, 0, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!(look.sample[0].reasons, [Reason::InsufficientCpus, Reason::InsufficientMemory]);
    assert_eq!(look.sample[0].detail, "needs 3.5 cpus, 0.5 free; needs 600 MiB memory, 400 free");
    assert_eq!(look.sample[1].detail, "constraint rack IS r1 against r2");

    let mut waiting = Waiting::begun(Timestamp::from_millis(1));
    waiting.absorb(&look);
    waiting.absorb(&look);
    assert_eq!((waiting.processed, waiting.unused, waiting.launch_attempt.declined[4]), (10, 6, 4));
    assert_eq!((waiting.last_used_at, waiting.last_agents), (Some(NOW), look.rejects));
}

#[test]
fn a_missing_runtime_says_so() {
    let mut state = cluster(&[("a", "")]);
    let image = json!({"container": {"type": "DOCKER", "docker":
        {"image": "x", "forcePullImage": false, "privileged": false}, "volumes": []}});
    let app = put(&mut state, app("/x", image));
    let look = plan(&state, &app, 1, 1).waiting.remove(0).1;
    assert_eq!(look.sample[0].detail, "no Docker on this agent: no daemon");
}

#[test]
fn a_small_app_in_a_large_cluster_still_finds_the_one_agent_with_room() {
    let names: Vec<_> = (0..1000).map(|n| format!("h{n:04}")).collect();
    let agents: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let mut state = cluster(&agents);
    let filler = put(&mut state, app("/filler", json!({"cpus": 4})));
    for name in names.iter().filter(|name| *name != "h0777") {
        run(&mut state, &filler, &AgentId::new(name.as_str()), &[]);
    }
    let app = put(&mut state, app("/x", json!({})));
    for seed in 0..5 {
        assert_eq!(spread(&plan(&state, &app, 1, seed)), BTreeMap::from([("h0777", 1)]));
    }
}
