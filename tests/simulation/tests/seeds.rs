//! Seeds as a normal test, and that a run can be repeated to the byte.

use std::sync::atomic::{AtomicU64, Ordering};

/// Few enough for every test run; `cargo xtask sim` runs as many as anybody likes.
const SEEDS: u64 = 200;
const THREADS: usize = 2;

#[test]
fn whole_clusters_keep_their_promises() {
    let next = AtomicU64::new(0);
    let run = || {
        let mut broken = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return broken;
            }
            let report = simulation::run(seed, false);
            broken.extend(
                report.failure.map(|failure| format!("cargo xtask sim --seed {seed} --trace: {failure:?}")),
            );
        }
    };
    let broken: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_seed_is_one_run() {
    let (first, second, other) =
        (simulation::run(7, false), simulation::run(7, true), simulation::run(8, false));
    assert_eq!(first.hash, second.hash);
    assert_eq!(second.figures.happenings, second.lines.len() as u64);
    assert_ne!(first.hash, other.hash);
}
