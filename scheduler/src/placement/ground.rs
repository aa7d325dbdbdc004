//! Where one app's tasks may go as far as its constraints and its runtime are concerned: what is known
//! before any agent is looked at by itself.

use std::sync::Arc;

use super::fields::{Column, Group, Number};
use super::heads::Heads;
use super::index::Index;
use super::needs::Needs;
use super::rules::Verdict;

/// See the module.
pub(super) struct Ground {
    is_nowhere: bool,
    /// For each rule that does not count: the agents that meet it.
    met: Vec<Arc<[u64]>>,
    /// Each rule that counts, by position, and its field's values.
    pub(super) counted: Vec<(usize, Arc<Column>)>,
    /// Positions of the rules that want tasks spread evenly.
    spreading: Vec<usize>,
    /// Agents by their values for these.
    pub(super) groups: Arc<[Group]>,
}

impl Ground {
    /// For the tasks of one app.
    pub(super) fn of(needs: &Needs, index: &mut Index) -> Self {
        let (fields, agents) = index.fields();
        let numbered = || needs.rules.iter().enumerate();
        let spreading: Vec<_> = numbered().filter(|(_, rule)| rule.spreads()).collect();
        let spread_fields: Vec<_> = spreading.iter().map(|(_, rule)| rule.field()).collect();
        Self {
            is_nowhere: needs.are_impossible(),
            met: needs
                .rules
                .iter()
                .filter(|rule| !rule.counts())
                .map(|rule| fields.met(rule, agents))
                .collect(),
            counted: numbered()
                .filter(|(_, rule)| rule.counts())
                .map(|(index, rule)| (index, fields.column(rule.field(), agents)))
                .collect(),
            groups: fields.groups(&spread_fields, agents),
            spreading: spreading.into_iter().map(|(index, _)| index).collect(),
        }
    }

    /// The agents of a block that nothing known here keeps out.
    pub(super) fn open(&self, needs: &Needs, index: &Index, block: usize) -> u64 {
        if self.is_nowhere {
            return 0;
        }
        self.met.iter().fold(needs.runnable(index.block(block)), |open, met| open & met[block])
    }

    /// Is there a rule that counts?
    pub(super) fn counts(&self) -> bool {
        !self.counted.is_empty()
    }

    /// Do the rules that count admit a task on this agent now?
    pub(super) fn admits(&self, needs: &Needs, heads: &Heads, site: usize) -> bool {
        self.counted.iter().all(|counted| is_met(counted, needs, heads, site))
    }

    /// The same of an agent whose group is admitted: [`Self::verdict`] has said what the rules that spread say.
    pub(super) fn admits_in_group(&self, needs: &Needs, heads: &Heads, site: usize) -> bool {
        let mut others = self.counted.iter().filter(|(index, _)| !self.spreading.contains(index));
        others.all(|counted| is_met(counted, needs, heads, site))
    }

    /// A task was put there.
    pub(super) fn count(&self, heads: &mut Heads, site: usize) {
        for (index, column) in &self.counted {
            if let Some(number) = column.number(site) {
                heads.add(*index, number);
            }
        }
    }

    /// Tasks in the group's places: the smallest group comes first.
    pub(super) fn crowd(&self, heads: &Heads, group: usize) -> u32 {
        self.spread(group).map(|(index, value)| heads.of(index, value)).sum()
    }

    /// What the rules that spread say of a group.
    pub(super) fn verdict(&self, needs: &Needs, heads: &Heads, group: usize) -> Verdict {
        let verdicts = self.spread(group).map(|(index, value)| heads.verdict(needs, index, Some(value)));
        verdicts.fold(Verdict::Yes, Verdict::max)
    }

    fn spread(&self, group: usize) -> impl Iterator<Item = (usize, Number)> {
        self.spreading.iter().copied().zip(self.groups[group].values.iter().copied())
    }
}

/// Does a rule that counts admit a task on this agent now?
fn is_met((index, column): &(usize, Arc<Column>), needs: &Needs, heads: &Heads, site: usize) -> bool {
    heads.verdict(needs, *index, column.number(site)) == Verdict::Yes
}

/// The positions of the bits of a word that are set.
pub(super) fn bits(word: u64) -> impl Iterator<Item = usize> {
    let rest = |word: &u64| Some(word & (word - 1)).filter(|rest| *rest != 0);
    std::iter::successors(Some(word).filter(|word| *word != 0), rest)
        .map(|word| word.trailing_zeros() as usize)
}
