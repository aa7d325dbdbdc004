//! Every deliberate bug is noticed.

use simulation::mutants::{ALL, hunt};

#[test]
fn every_mutant_is_caught() {
    let halves = ALL.split_at(ALL.len() / 2);
    let missed: Vec<_> = std::thread::scope(|scope| {
        let hunts = [halves.0, halves.1].map(|bugs| {
            let missed =
                move || bugs.iter().filter(|(bug, seeds)| hunt(*bug, *seeds).is_none()).collect::<Vec<_>>();
            scope.spawn(missed)
        });
        hunts.into_iter().flat_map(|hunt| hunt.join().expect("it does not panic")).collect()
    });
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
