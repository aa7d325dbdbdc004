//! `cargo xtask bench place`: placement alone, on one core, beside how much `apply` adds, in clusters of several
//! sizes and with several shapes of work. Every plan is applied before the next one, so the cluster fills up as it
//! would, and what is placed already would show in the last tenth if it cost anything. Times are processor time of
//! the thread that places: other work on the machine does not count.

mod clock;
mod shapes;
pub mod world;

use std::process::ExitCode;
use std::time::Duration;

use clock::Stopwatch;
use scheduler::placement::{self, Demand, Index, Policy, Terms};
use serde_json::Value;
use shapes::Shape;
use world::World;

/// Options.
#[derive(clap::Args)]
pub struct Place {
    /// Sizes of clusters.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000,50000")]
    agents: Vec<usize>,
    /// Only these shapes of work.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Tasks an agent gets in the end, where the shape leaves that open.
    #[arg(long, default_value_t = 20)]
    tasks: usize,
    /// Most tasks in one plan; the control loop asks for 1,000.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// Which agents are good ones: spread, pack or first.
    #[arg(long, default_value = "spread")]
    policy: Policy,
}

/// Most apps in one plan, as in the control loop.
const DEMANDS_MAX: usize = 128;

/// Runs the benchmark.
pub fn run(options: &Place) -> anyhow::Result<ExitCode> {
    println!(
        "agents  shape            asked   placed  placements/s    us each   first tenth   last tenth   apply us"
    );
    for agents in &options.agents {
        for shape in Shape::ALL {
            if options.only.is_empty() || options.only.iter().any(|name| name == shape.name()) {
                measure(shape, *agents, options)?.print(shape, *agents);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Figures of one run.
#[derive(Default)]
struct Run {
    asked: usize,
    placed: usize,
    /// Each plan: tasks asked for, and the time it took.
    plans: Vec<(usize, Duration)>,
    apply: Duration,
}

impl Run {
    fn print(&self, shape: Shape, agents: usize) {
        let micros = |plans: &[(usize, Duration)]| {
            let (tasks, time) =
                plans.iter().fold((0, Duration::ZERO), |(n, t), plan| (n + plan.0, t + plan.1));
            time.as_secs_f64() * 1e6 / tasks.max(1) as f64
        };
        let tenth = self.plans.len().div_ceil(10);
        let each = micros(&self.plans);
        println!(
            "{agents:6}  {:14} {:7}  {:7}  {:12.0}  {each:9.2}  {:12.2} {:12.2} {:10.2}",
            shape.name(),
            self.asked,
            self.placed,
            1e6 / each,
            micros(&self.plans[..tenth]),
            micros(&self.plans[self.plans.len() - tenth..]),
            self.apply.as_secs_f64() * 1e6 / self.placed.max(1) as f64,
        );
    }
}

fn measure(shape: Shape, agents: usize, options: &Place) -> anyhow::Result<Run> {
    let mut world = World::of(agents);
    shape.prepare(&mut world)?;
    let mut run = Run::default();
    let mut index = Index::default();
    let mut queue = Queue { apps: shape.apps(agents, options.tasks), open: None };
    for seed in 0.. {
        let demands = queue.next(&mut world, options.batch)?;
        let asked: usize = demands.iter().map(|demand| demand.count as usize).sum();
        if asked == 0 {
            break;
        }
        let terms = Terms { policy: options.policy, now: world.now(), seed };
        let watch = Stopwatch::start();
        let plan = placement::place(&mut index, &world.state, &demands, terms);
        run.plans.push((asked, watch.elapsed()));
        run.asked += asked;
        run.placed += plan.placements.len();
        let watch = Stopwatch::start();
        world.place(plan.placements);
        run.apply += watch.elapsed();
    }
    Ok(run)
}

/// Work that waits, given out as the control loop does: so many tasks and apps at a time.
struct Queue {
    apps: Box<dyn Iterator<Item = Value>>,
    /// An app that is not done.
    open: Option<Demand>,
}

impl Queue {
    fn next(&mut self, world: &mut World, batch: usize) -> anyhow::Result<Vec<Demand>> {
        let mut demands = Vec::new();
        let mut room = u32::try_from(batch).unwrap_or(u32::MAX);
        while room > 0 && demands.len() < DEMANDS_MAX {
            let open = match self.open.take() {
                Some(demand) => Some(demand),
                None => self.apps.next().map(|document| world.demand(document)).transpose()?,
            };
            let Some(Demand { app, count }) = open else {
                break;
            };
            let now = room.min(count);
            room -= now;
            self.open = (count > now).then(|| Demand { app: app.clone(), count: count - now });
            demands.push(Demand { app, count: now });
        }
        Ok(demands)
    }
}
