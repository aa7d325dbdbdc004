//! I11: names are those of the tasks that run, at every index, on every master.

use dns::Zone;
use scheduler::names;
use scheduler::state::{Condition, State};

use super::Checks;
use crate::queue::Millis;

/// Zones are compared record by record this often.
const WHOLE_EVERY: u64 = 32;

impl Checks {
    /// A master has carried an entry into its zone.
    pub fn answers_for(&mut self, now: Millis, master: u64, zone: &Zone, after: &State) {
        let running = after.tasks.values().filter(|task| task.condition == Condition::Running).count();
        self.claim(zone.len() == running, now, "I11", || {
            format!("m{master} answers for {} tasks at index {}, {running} run", zone.len(), after.index)
        });
        let equal = !after.index.is_multiple_of(WHOLE_EVERY) || is_whole(zone, after);
        self.claim(equal, now, "I11", || {
            format!("m{master} answers for other tasks at index {} than run", after.index)
        });
    }
}

/// Is it what the state as a whole would make it?
pub(super) fn is_whole(zone: &Zone, state: &State) -> bool {
    let (mut zone, mut whole) = (zone.clone(), names::whole(&Zone::new(dns::Settings::default()), state));
    zone.set_serial(0);
    whole.set_serial(0);
    zone == whole
}
