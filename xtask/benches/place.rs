//! Placement under criterion, in processor time of the one thread that places: other work on the machine counts only
//! by what it does to the caches. Shapes of work, and how they are given out, are in `xtask::bench::place`.
//!
//! Each shape is placed into an empty cluster and into one whose agents hold tasks already: what is there must not
//! count.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput};
use serde_json::json;
use xtask::bench::place::Place;
use xtask::bench::place::course::Course;
use xtask::bench::place::shapes::Shape;
use xtask::bench::place::world::{World, document};

/// What cargo says to a benchmark that it runs as one.
const RUN: &str = "--bench";
const SAMPLES: usize = 20;
const WARM_UP: Duration = Duration::from_millis(300);

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    place: Place,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == RUN) {
        return ExitCode::SUCCESS;
    }
    match measure(&Options::parse().place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Place) -> anyhow::Result<()> {
    let mut criterion = Criterion::default()
        .with_measurement(ThreadTime)
        .sample_size(SAMPLES)
        .warm_up_time(WARM_UP)
        .measurement_time(Duration::from_secs_f64(options.seconds));
    if let Some(name) = &options.save {
        criterion = criterion.save_baseline(name.clone());
    }
    if let Some(name) = &options.against {
        criterion = criterion.retain_baseline(name.clone(), false);
    }
    let shapes = if options.only.is_empty() { Shape::value_variants() } else { &options.only[..] };
    for agents in &options.agents {
        let empty = World::of(*agents);
        let mut held = empty.clone();
        let each = u16::try_from(options.held)?;
        held.fill(document("/held", options.held * agents, json!({})), each, |_| true)?;
        for shape in shapes {
            if shape.is_prepared() {
                of_shape(&mut criterion, "", *shape, shape.prepared(empty.clone())?, options)?;
                continue;
            }
            of_shape(&mut criterion, "/empty", *shape, empty.clone(), options)?;
            if options.held > 0 {
                of_shape(&mut criterion, "/held", *shape, held.clone(), options)?;
            }
        }
    }
    Ok(())
}

fn of_shape(
    criterion: &mut Criterion<ThreadTime>,
    kind: &str,
    shape: Shape,
    world: World,
    options: &Place,
) -> anyhow::Result<()> {
    let agents = world.state.agents.len();
    let mut course = Course::of(shape, world, options)?;
    let name = if options.apply { "apply" } else { "place" };
    let mut group = criterion.benchmark_group(format!("{name}/{agents}"));
    group.throughput(Throughput::Elements(course.tasks_each())).sampling_mode(SamplingMode::Flat);
    group.bench_function(format!("{}{kind}", shape.name()), |bencher| {
        bencher.iter_custom(|plans| {
            let took = (0..plans).map(|_| course.step(timed));
            took.map(|took| if options.apply { took.applying } else { took.placing }).sum()
        });
    });
    group.finish();
    Ok(())
}

/// What this thread spends on the work.
fn timed(work: &mut dyn FnMut()) -> Duration {
    let start = thread_time();
    work();
    thread_time().saturating_sub(start)
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the place it is given, and to nothing else.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "every Linux has this clock");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time of this thread, written like any other time.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_time().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
