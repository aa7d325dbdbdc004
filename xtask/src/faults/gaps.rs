//! When no write was accepted for long, and what went on meanwhile: what the script did, and what became of the
//! operations of that time. Pure: from the history and the script.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::script::Step;
use crate::history::{Operation, Outcome};

/// Shorter ones are what an election costs, and a client that waits for one.
const LONG: Duration = Duration::from_secs(3);

/// From one accepted write to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    from: Duration,
    to: Duration,
    faults: Vec<Step>,
    /// By how they ended, those that ended in it: how many, and the longest.
    operations: BTreeMap<&'static str, (usize, Duration)>,
}

/// All that are long, in their order.
pub fn long(history: &[Operation], script: &[Step]) -> Vec<Gap> {
    let writes = history.iter().filter(|operation| operation.outcome == Outcome::Done);
    let mut ends: Vec<u64> = writes.map(|operation| operation.returned).collect();
    ends.sort_unstable();
    let pairs = ends.windows(2).map(|two| (Duration::from_micros(two[0]), Duration::from_micros(two[1])));
    pairs.filter(|(from, to)| *to - *from > LONG).map(|(from, to)| gap(history, script, from, to)).collect()
}

fn gap(history: &[Operation], script: &[Step], from: Duration, to: Duration) -> Gap {
    let faults = script.iter().filter(|step| step.at < to && step.at + step.lasts > from);
    let mut operations: BTreeMap<&'static str, (usize, Duration)> = BTreeMap::new();
    let ends = |operation: &&Operation| {
        let end = Duration::from_micros(operation.returned);
        end > from && end < to
    };
    for operation in history.iter().filter(ends) {
        let (count, longest) = operations.entry(word(operation.outcome)).or_default();
        *count += 1;
        *longest = (*longest).max(Duration::from_micros(operation.returned - operation.invoked));
    }
    Gap { from, to, faults: faults.copied().collect(), operations }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failed => "surely not taken",
        Outcome::Unknown => "unknown",
        _ => "answered",
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
        let length = self.to - self.from;
        write!(f, "no accepted write for {:.2} s, from {} s", length.as_secs_f64(), seconds(self.from))?;
        for Step { at, lasts, fault } in &self.faults {
            write!(f, "; {fault} ({} to {} s)", seconds(*at), seconds(*at + *lasts))?;
        }
        for (word, (count, longest)) in &self.operations {
            write!(f, "; {count} {word}, the longest {} s", seconds(*longest))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::script::{Fault, Pick};
    use crate::history::Call;

    #[test]
    fn what_went_on_while_nothing_was_accepted() {
        let operation = |call, outcome, invoked: u64, returned: u64| Operation {
            client: 1,
            key: "/a".to_owned(),
            call,
            outcome,
            invoked: invoked * 1000,
            returned: returned * 1000,
        };
        let write = |at| operation(Call::Set(0, 1), Outcome::Done, at - 1, at);
        let history = [
            write(9_000),
            operation(Call::Delete, Outcome::Unknown, 1_500, 6_500),
            write(1_000),
            write(4_000),
            operation(Call::Read, Outcome::Absent, 5_000, 5_100),
            operation(Call::Read, Outcome::Failed, 2_000, 2_100),
        ];
        let step = |at, lasts, fault| Step {
            at: Duration::from_millis(at),
            lasts: Duration::from_millis(lasts),
            fault,
        };
        let script = [
            step(0, 3_900, Fault::KillAllMasters),
            step(3_900, 2_000, Fault::StopMaster(Pick::Leader)),
            step(9_000, 2_000, Fault::KillAllMasters),
        ];
        let found: Vec<String> = long(&history, &script).iter().map(ToString::to_string).collect();
        let expected = "no accepted write for 5.00 s, from 4.0 s; stop the leader (3.9 to 5.9 s); \
                        1 answered, the longest 0.1 s; 1 unknown, the longest 5.0 s";
        assert_eq!(found, [expected]);
    }
}
