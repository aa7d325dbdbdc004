//! What is worked out for many agents or groups at once is what each of them says by itself.

use std::collections::BTreeSet;

use super::super::crowds::Crowds;
use super::super::ground::Ground;
use super::super::needs::Needs;
use super::*;

/// Agents of several blocks, in racks of ten; of each ten one is full, and one has much memory.
fn large() -> State {
    let mut state = State::default();
    let filler = put(&mut state, app("/filler", json!({"cpus": 3.5, "portDefinitions": dynamic_ports(9)})));
    for n in 0..300 {
        let mut info = info(&format!("h{n:03}"), &format!("rack=r{}", n / 10));
        info.capacity.mem_mib = if n % 10 == 3 { 8000 } else { 1000 };
        let id = join(&mut state, info);
        if n % 10 == 7 {
            run(&mut state, &filler, &id, &(0..9).map(|port| 31_000 + port).collect::<Vec<_>>());
        }
    }
    state
}

#[test]
fn reasons_counted_by_blocks_are_those_of_each_agent() {
    let state = large();
    let mut seen = BTreeSet::new();
    for changes in [
        json!({"cpus": 4.1}),
        json!({"cpus": 4.1, "mem": 9000, "gpus": 1}),
        json!({"cpus": 1, "mem": 9000}),
        json!({"cpus": 0.1, "mem": 9000}),
        json!({"cpus": 0.1, "disk": 10_001}),
        json!({"cpus": 0.1, "mem": 2000, "gpus": 1}),
        json!({"cpus": 0.1, "gpus": 1}),
        json!({"cpus": 0.1, "portDefinitions": dynamic_ports(11)}),
        json!({"cpus": 0.1, "mem": 2000, "portDefinitions": dynamic_ports(11)}),
        json!({"cpus": 4.1, "constraints": [["rack", "LIKE", "r[12]."]]}),
        json!({"cpus": 4.1, "constraints": [["hostname", "UNIQUE"]]}),
    ] {
        let app = Arc::new(app("/x", changes.clone()));
        let (needs, crowds) = (Needs::of(&app), Crowds::count(&state, &app));
        let mut expected = Rejects::default();
        for agent in state.agents.values() {
            expected.processed += 1;
            let reasons = needs.reasons(&Site::of(agent), &crowds, PortsAsked::Any).next();
            reasons.into_iter().for_each(|reason| expected.declined[reason as usize] += 1);
        }
        let look = plan(&state, &app, 1, 1).waiting.remove(0).1;
        assert_eq!(look.rejects, expected, "{changes}");
        seen.extend((0..10).filter(|reason| expected.declined[*reason] > 0));
    }
    assert_eq!(seen.len(), 6, "a constraint, each resource and ports");
}

#[test]
fn crowds_by_numbers_are_those_by_names() {
    for rules in [
        json!([["hostname", "GROUP_BY"]]),
        json!([["rack", "GROUP_BY"]]),
        json!([["rack", "GROUP_BY"], ["hostname", "GROUP_BY"]]),
    ] {
        let mut state = large();
        let app = put(&mut state, app("/x", json!({"constraints": rules})));
        for name in ["h000", "h001", "h005", "h155", "h299"] {
            run(&mut state, &app, &AgentId::new(name), &[]);
        }
        // Of an agent that is gone its tasks are still counted.
        let mut crowds = Crowds::count(&state, &app);
        crowds.add(&app, &info("a-first", "rack=a"));
        crowds.add(&app, &info("h1555", "rack=r155"));
        let mut index = Index::default();
        index.follow(&state.agents);
        let needs = Needs::of(&app);
        let ground = Ground::of(&needs, &mut index);
        let heads = index.keeper.heads(&app.id, &crowds, &ground.counted);
        let mut sum = 0;
        for (site, agent) in state.agents.values().enumerate() {
            for (position, column) in &ground.counted {
                let (field, number) = (needs.rules[*position].field(), column.number(site).unwrap());
                let value = field_value(&agent.info, field).unwrap();
                assert_eq!(column.value(number), value);
                assert_eq!(heads.of(*position, number), crowds.at(*position).of(&value), "{value}");
                sum += heads.of(*position, number);
            }
        }
        assert!(sum >= 5, "{sum}");
    }
}

#[test]
fn counts_that_are_kept_follow_the_state_and_what_a_plan_adds_is_taken_away() {
    let mut state = large();
    let rules = json!([["hostname", "MAX_PER", "9"]]);
    let app = put(&mut state, app("/x", json!({"constraints": rules, "cpus": 0.01, "mem": 1})));
    let mut index = Index::default();
    index.follow(&state.agents);
    let needs = Needs::of(&app);
    let ground = Ground::of(&needs, &mut index);
    let agents: Vec<_> = state.agents.keys().cloned().collect();
    let mut tasks = Vec::new();
    // Few, then so many that they are kept, then fewer and others.
    for (come, go) in [(0..10, 0), (5..150, 0), (100..300, 40), (0..0, 260), (20..90, 10)] {
        tasks.extend(come.map(|n: usize| run(&mut state, &app, &agents[n], &[])));
        tasks.drain(..go).for_each(|task| drop(state.leave(&task)));
        let crowds = Crowds::count(&state, &app);
        let mut heads = index.keeper.heads(&app.id, &crowds, &ground.counted);
        for (site, agent) in agents.iter().enumerate() {
            let count = crowds.at(0).of(agent.as_str());
            let number = ground.counted[0].1.number(site).unwrap();
            assert_eq!(heads.of(0, number), count, "{agent}");
            heads.add(0, number);
            assert_eq!(heads.of(0, number), count + 1, "{agent}");
        }
        index.keeper.keep(&app.id, heads);
    }
}

#[test]
fn a_group_is_ranked_part_by_part_until_nobody_in_it_is_left() {
    let mut state = State::default();
    for n in 0..150 {
        join(&mut state, info(&format!("h{n:03}"), &format!("rack=r{}", n % 2)));
    }
    let rules = json!([["rack", "GROUP_BY"], ["hostname", "UNIQUE"]]);
    for changes in [json!({"cpus": 4, "constraints": [["rack", "GROUP_BY"]]}), json!({"constraints": rules})]
    {
        let app = put(&mut state, app("/x", changes));
        for policy in [Policy::Spread, Policy::Pack, Policy::First] {
            let terms = Terms { policy, now: NOW, seed: 3 };
            let demand = Demand { app: app.clone(), count: 151 };
            let plan = place(&mut Index::default(), &state, &[demand], terms);
            let (used, waits) = (spread(&plan), plan.waiting.len());
            assert_eq!((used.len(), plan.placements.len(), waits), (150, 150, 1), "{policy:?}");
        }
    }
}
