//! The definitions that an app has had, oldest first. A new one costs a look at the latest few alone: a change
//! of an app is applied on every master, and the state before it lives on in whoever reads it.

use std::sync::Arc;

use spec::app::App;
use spec::time::Timestamp;

/// So many versions are set aside together.
const LATEST_MAX: usize = 16;

/// Definitions by version. What it holds is one ascending list in three pieces; where it is cut shows nowhere.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    /// Those that would have been dropped long ago, but for the tasks that run them.
    run: Vec<Arc<App>>,
    /// Most of them, shared with the states before; those in front of `first` are dropped already.
    aside: Arc<[Arc<App>]>,
    first: usize,
    /// At most [`LATEST_MAX`].
    latest: Vec<Arc<App>>,
}

impl Versions {
    /// From a list in ascending order; `None` if it is not.
    pub fn new(list: Vec<Arc<App>>) -> Option<Self> {
        let ascends = list.is_sorted_by(|a, b| a.version < b.version);
        ascends.then(|| Self { aside: list.into(), ..Self::default() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.run.len() + self.aside.len() - self.first + self.latest.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<App>> {
        self.run.iter().chain(&self.aside[self.first..]).chain(&self.latest)
    }

    /// The definition of that version.
    pub fn get(&self, version: Timestamp) -> Option<&Arc<App>> {
        let find = |list: &[Arc<App>]| list.binary_search_by_key(&version, |app| app.version).ok();
        let aside = &self.aside[self.first..];
        let latest = find(&self.latest).map(|at| &self.latest[at]);
        latest
            .or_else(|| find(aside).map(|at| &aside[at]))
            .or_else(|| find(&self.run).map(|at| &self.run[at]))
    }

    /// Adds one that is later than all before.
    pub fn push(&mut self, app: Arc<App>) {
        debug_assert!(self.iter().next_back().is_none_or(|last| last.version < app.version));
        if self.latest.len() == LATEST_MAX {
            self.aside = self.aside[self.first..].iter().chain(&self.latest).cloned().collect();
            self.first = 0;
            self.latest.clear();
        }
        self.latest.push(app);
    }

    /// Drops the oldest so many, except those of which `is_run` is true.
    pub fn drop_oldest(&mut self, count: usize, is_run: impl Fn(Timestamp) -> bool) {
        let left = count.saturating_sub(self.run.len());
        let mut at = 0;
        self.run.retain(|app| {
            at += 1;
            at > count || is_run(app.version)
        });
        let aside = left.min(self.aside.len() - self.first);
        let latest = (left - aside).min(self.latest.len());
        let doomed = self.aside[self.first..self.first + aside].iter().cloned();
        let doomed = doomed.chain(self.latest.drain(..latest));
        self.run.extend(doomed.filter(|app| is_run(app.version)));
        self.first += aside;
    }
}

impl PartialEq for Versions {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spec::features::Features;

    use super::*;

    fn app(version: u64) -> Arc<App> {
        let app = spec::app::create(&json!({"id": "/a", "cmd": "true"}), &Features::default()).unwrap();
        Arc::new(App { version: Timestamp::from_millis(version), ..app })
    }

    fn numbers(versions: &Versions) -> Vec<u64> {
        versions.iter().map(|app| app.version.millis()).collect()
    }

    #[test]
    fn it_is_one_list_wherever_it_is_cut() {
        let is_run = |version: Timestamp| version.millis().is_multiple_of(7);
        let (mut versions, mut plain) = (Versions::default(), Vec::new());
        for number in 1..=150 {
            versions.push(app(number));
            plain.push(number);
            // Now and then many go at once, those at the end included.
            let keep = if number.is_multiple_of(40) { number as usize % 3 } else { 20 };
            let doomed = plain.len().saturating_sub(keep);
            versions.drop_oldest(doomed, is_run);
            let mut at = 0;
            plain.retain(|number| {
                at += 1;
                at > doomed || number % 7 == 0
            });
            assert_eq!((numbers(&versions), versions.len()), (plain.clone(), plain.len()), "{number}");
            let found = (0..=151).filter(|number| versions.get(Timestamp::from_millis(*number)).is_some());
            assert_eq!(found.collect::<Vec<_>>(), plain);
            assert_eq!(Versions::new(versions.iter().cloned().collect()).as_ref(), Some(&versions));
        }
        assert!(versions != Versions::default() && Versions::default().is_empty());
    }

    #[test]
    fn a_list_out_of_order_is_refused() {
        assert_eq!(Versions::new(vec![app(2), app(1)]), None);
        assert_eq!(Versions::new(vec![app(1), app(1)]), None);
    }
}
