//! What agents say of themselves, by field: columns of values, the agents that meet a rule as bits, and
//! the agents put together by equal values. Worked out when first asked for, and kept until any agent says
//! something else of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::app::Operator;

use super::field_value;
use super::index::BLOCK;
use super::rules::Rule;
use crate::state::Agent;

/// More of a kind than this are not kept: they are few, unless somebody makes them up.
const KEPT_MAX: usize = 256;

/// One field: its values have numbers, and each agent has that of its own.
#[derive(Debug)]
pub(super) struct Column {
    /// All there are, in order; their positions are their numbers.
    values: Vec<Arc<str>>,
    /// By the position of the agent.
    numbers: Vec<Option<Number>>,
}

/// The number of a value of a field.
pub(super) type Number = u32;

impl Column {
    fn of(field: &str, agents: &[Arc<Agent>]) -> Self {
        let on = |agent: &Arc<Agent>| field_value(&agent.info, field).map(Arc::<str>::from);
        let mut sites: Vec<_> =
            agents.iter().enumerate().filter_map(|(site, agent)| Some((on(agent)?, site))).collect();
        sites.sort();
        let (mut values, mut numbers) = (Vec::new(), vec![None; agents.len()]);
        for (value, site) in sites {
            if values.last() != Some(&value) {
                values.push(value);
            }
            numbers[site] = Number::try_from(values.len() - 1).ok();
        }
        Self { values, numbers }
    }

    /// The number of the agent's value, if it has one.
    pub(super) fn number(&self, site: usize) -> Option<Number> {
        self.numbers[site]
    }

    /// The value of that number.
    pub(super) fn value(&self, number: Number) -> &str {
        &self.values[number as usize]
    }

    /// All values; their positions are their numbers.
    pub(super) fn values(&self) -> &[Arc<str>] {
        &self.values
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    columns: BTreeMap<String, Arc<Column>>,
    met: BTreeMap<(String, Operator, Option<String>), Arc<[u64]>>,
    groupings: BTreeMap<Vec<String>, Arc<[Group]>>,
}

/// Agents with equal values in some fields, each of which they have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Group {
    /// The numbers of the values, in order of the fields.
    pub(super) values: Vec<Number>,
    /// Blocks, and in each of them the agents.
    pub(super) members: Vec<(usize, u64)>,
}

impl Fields {
    /// Agents have changed what they say.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The values of a field.
    pub(super) fn column(&mut self, field: &str, agents: &[Arc<Agent>]) -> Arc<Column> {
        keep(&mut self.columns, field.to_owned(), || Arc::new(Column::of(field, agents)))
    }

    /// The agents that meet a rule that does not count, a word for each block.
    pub(super) fn met(&mut self, rule: &Rule, agents: &[Arc<Agent>]) -> Arc<[u64]> {
        let column = self.column(rule.field(), agents);
        keep(&mut self.met, rule.key(), || {
            // Regular expressions are dear and many agents say the same.
            let known: Vec<_> = column.values.iter().map(|value| rule.is_met_alone(Some(value))).collect();
            let without = rule.is_met_alone(None);
            let mut words = vec![0; agents.len().div_ceil(BLOCK)];
            for (site, number) in column.numbers.iter().enumerate() {
                let is_met = number.map_or(without, |number| known[number as usize]);
                words[site / BLOCK] |= u64::from(is_met) << (site % BLOCK);
            }
            words.into()
        })
    }

    /// The agents by their values in these fields; those that lack one are in no group. Without fields all
    /// are in one. In order of the values.
    pub(super) fn groups(&mut self, fields: &[&str], agents: &[Arc<Agent>]) -> Arc<[Group]> {
        let columns: Vec<_> = fields.iter().map(|field| self.column(field, agents)).collect();
        let key = fields.iter().map(|field| (*field).to_owned()).collect();
        keep(&mut self.groupings, key, || grouped(&columns, agents.len()))
    }
}

fn grouped(columns: &[Arc<Column>], agents_count: usize) -> Arc<[Group]> {
    let mut groups: BTreeMap<Vec<Number>, Vec<(usize, u64)>> = BTreeMap::new();
    for site in 0..agents_count {
        let Some(values) = columns.iter().map(|column| column.number(site)).collect() else {
            continue;
        };
        let members = groups.entry(values).or_default();
        match members.last_mut().filter(|(block, _)| *block == site / BLOCK) {
            Some((_, word)) => *word |= 1 << (site % BLOCK),
            None => members.push((site / BLOCK, 1 << (site % BLOCK))),
        }
    }
    groups.into_iter().map(|(values, members)| Group { values, members }).collect()
}

fn keep<K: Ord, V: Clone>(kept: &mut BTreeMap<K, V>, key: K, make: impl FnOnce() -> V) -> V {
    if let Some(known) = kept.get(&key) {
        return known.clone();
    }
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    let made = make();
    kept.insert(key, made.clone());
    made
}
