//! What holds of every plan, and that the index has no say in any.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use spec::ids::AgentId;

use super::super::crowds::Crowds;
use super::super::index::Slot;
use super::super::needs::{Needs, PortsAsked};
use super::*;
use crate::state::{Batch, Command};

fn any_constraint() -> impl Strategy<Value = serde_json::Value> {
    prop::sample::select(vec![
        json!(["hostname", "UNIQUE"]),
        json!(["rack", "UNIQUE"]),
        json!(["rack", "GROUP_BY"]),
        json!(["rack", "GROUP_BY", "2"]),
        json!(["hostname", "MAX_PER", "2"]),
        json!(["rack", "CLUSTER"]),
        json!(["rack", "LIKE", "r[01]"]),
        json!(["hostname", "GROUP_BY"]),
    ])
}

fn any_app() -> impl Strategy<Value = (serde_json::Value, u32)> {
    let ports = prop_oneof![
        (0usize..3).prop_map(|n| json!({"portDefinitions": dynamic_ports(n)})),
        Just(json!({"requirePorts": true, "portDefinitions": [{"port": 31_002, "protocol": "tcp"}]})),
    ];
    (1u32..3000, 1u32..500, prop::collection::vec(any_constraint(), 0..3), ports, 0u32..12).prop_map(
        |(cpus, mem, constraints, mut document, count)| {
            document["cpus"] = json!(f64::from(cpus) / 1000.0);
            document["mem"] = json!(mem);
            document["constraints"] = json!(constraints);
            document["instances"] = json!(count);
            (document, count)
        },
    )
}

/// An agent in each of these racks.
fn in_racks(racks: &[u8]) -> State {
    let agents = racks.iter().enumerate().map(|(n, rack)| (format!("h{n:02}"), format!("rack=r{rack}")));
    let agents: Vec<_> = agents.collect();
    let named: Vec<_> = agents.iter().map(|(name, rack)| (name.as_str(), rack.as_str())).collect();
    cluster(&named)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is planned passes `check` one after the other (so nothing is overfilled and no port given
    /// twice), and what waits fits nowhere.
    #[test]
    fn plans_pass_check_and_leave_nothing_that_fits(
        racks in prop::collection::vec(0u8..3, 1..7),
        wanted in prop::collection::vec(any_app(), 1..5),
        seed: u64,
    ) {
        let mut state = in_racks(&racks);
        let demands: Vec<_> = wanted.into_iter().enumerate()
            .map(|(n, (document, count))| Demand { app: put(&mut state, app(&format!("/x{n}"), document)), count })
            .collect();
        let apps: BTreeMap<_, _> = demands.iter().map(|d| (d.app.id.clone(), d.app.clone())).collect();
        let plan = planned(&state, &demands, seed);
        prop_assert_eq!(&plan, &planned(&state, &demands, seed), "the same seed, the same plan");
        apply_checked(&mut state, &apps, &plan.placements);
        for agent in state.agents.values() {
            prop_assert!(agent.reserved.fits(&agent.info.capacity));
        }
        for demand in &demands {
            let placed = plan.placements.iter().filter(|p| p.app == demand.app.id).count();
            let waits = plan.waiting.iter().any(|(app, _)| *app == demand.app.id);
            prop_assert_eq!(placed == demand.count as usize, !waits);
            // Later apps took what they could, so what waited fits even less now.
            let again = planned(&state, &[Demand { app: demand.app.clone(), count: 1 }], seed);
            prop_assert!(!waits || again.placements.is_empty(), "{:?}", again);
        }
    }
}

/// Something that happens between two plans.
#[derive(Clone, Debug)]
enum News {
    /// That app wants so many tasks; what is found is applied.
    Wanted(usize, u32),
    /// A task ends.
    Ended(usize),
    /// An agent is given up, or comes back.
    Away(usize),
    /// An agent comes back with another rack, or one that has none so far comes.
    Moved(usize, u8),
}

fn any_news() -> impl Strategy<Value = News> {
    prop_oneof![
        4 => (0usize..4, 1u32..6).prop_map(|(app, count)| News::Wanted(app, count)),
        2 => any::<usize>().prop_map(News::Ended),
        1 => any::<usize>().prop_map(News::Away),
        1 => (0usize..80, 0u8..4).prop_map(|(agent, rack)| News::Moved(agent, rack)),
    ]
}

/// A cluster that changes under an index that is kept.
struct Story {
    state: State,
    apps: Vec<Arc<App>>,
    index: Index,
}

impl Story {
    fn apply(&mut self, command: Command) {
        let batch = Batch { at: NOW, seed: self.state.index, commands: vec![command] };
        self.state.apply(self.state.index + 1, batch);
    }

    fn agent(&self, number: usize) -> AgentId {
        self.state.agents.keys().nth(number % self.state.agents.len()).unwrap().clone()
    }

    fn hear(&mut self, news: &News) {
        match news {
            News::Wanted(app, count) => {
                let demand = Demand { app: self.apps[app % self.apps.len()].clone(), count: *count };
                let plan = self.plan(&[demand], u64::from(*count));
                self.apply(Command::Place(plan.placements));
            }
            News::Ended(number) => {
                let task = self.state.tasks.keys().nth(number % self.state.tasks.len().max(1)).cloned();
                task.and_then(|task| self.state.leave(&task));
            }
            News::Away(number) => self.apply(Command::LoseAgent { id: self.agent(*number) }),
            News::Moved(number, rack) => {
                let id = self.state.agents.keys().nth(*number).cloned();
                let (name, attributes) = (format!("h{number}"), format!("rack=r{rack}"));
                self.apply(Command::RegisterAgent { id, info: info(&name, &attributes) });
            }
        }
    }

    /// The plan of the index that has seen it all.
    fn plan(&mut self, demands: &[Demand], seed: u64) -> Plan {
        place(&mut self.index, &self.state, demands, Terms { policy: Policy::default(), now: NOW, seed })
    }

    /// The first reason against each agent that is there, agent by agent: the slow and obvious way.
    fn rejects(&self, app: &App) -> (Rejects, bool) {
        let (needs, crowds) = (Needs::of(app), Crowds::count(&self.state, app));
        let (mut rejects, mut is_room) = (Rejects::default(), false);
        for agent in self.state.agents.values().filter(|agent| agent.presence == Presence::Connected) {
            rejects.processed += 1;
            match needs.reasons(&Site::of(agent), &crowds, PortsAsked::Any).next() {
                Some(reason) => rejects.declined[reason as usize] += 1,
                None => is_room = true,
            }
        }
        (rejects, is_room)
    }

    /// How good the agents are that have nothing against a task of the app, those of its tasks counted that they have.
    fn scores(&self, app: &App) -> BTreeMap<AgentId, u64> {
        let (needs, crowds) = (Needs::of(app), Crowds::count(&self.state, app));
        let there = self.state.agents.values().filter(|agent| agent.presence == Presence::Connected);
        let open =
            there.filter(|agent| needs.reasons(&Site::of(agent), &crowds, PortsAsked::Any).next().is_none());
        let score = |agent: &Arc<Agent>| {
            let siblings = self.state.tasks_on(&agent.id).filter(|task| *task.id.app() == app.id).count();
            let siblings = u32::try_from(siblings).expect("few");
            (agent.id.clone(), Policy::default().score(&Slot::of(agent), &needs.resources, siblings))
        };
        open.map(score).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever has happened, a kept index plans what a new one plans; one more task finds a place exactly
    /// if some agent has nothing against it, the best of these where no group comes before another; and if none
    /// has, what is counted is what each of them has.
    #[test]
    fn the_index_says_what_the_agents_say(
        racks in prop::collection::vec(0u8..3, 1..80),
        wanted in prop::collection::vec(any_app(), 1..4),
        news in prop::collection::vec(any_news(), 1..30),
        seed: u64,
    ) {
        let mut state = in_racks(&racks);
        let apps = wanted.into_iter().enumerate()
            .map(|(n, (document, _))| put(&mut state, app(&format!("/x{n}"), document))).collect();
        let mut story = Story { state, apps, index: Index::default() };
        for news in &news {
            story.hear(news);
            for app in story.apps.clone() {
                let one = [Demand { app: app.clone(), count: 1 }];
                let plan = story.plan(&one, seed);
                prop_assert_eq!(&plan, &planned(&story.state, &one, seed));
                let (rejects, is_room) = story.rejects(&app);
                prop_assert_eq!(plan.placements.len(), usize::from(is_room));
                for placement in &plan.placements {
                    let agent = story.state.agents.get(&placement.agent).unwrap();
                    prop_assert_eq!(check(&story.state, &app, agent, &placement.host_ports), Ok(()));
                }
                let scores = story.scores(&app);
                let is_spread = Needs::of(&app).rules.iter().any(|rule| rule.spreads());
                for placement in plan.placements.iter().filter(|_| !is_spread) {
                    prop_assert_eq!(scores.get(&placement.agent), scores.values().min());
                }
                for (_, look) in &plan.waiting {
                    prop_assert_eq!(look.rejects, rejects);
                }
            }
        }
    }
}
