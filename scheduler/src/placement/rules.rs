//! Constraints (reference section 2.10): what they say about an agent, given where the app's tasks are.
//!
//! Only tasks of the same or a newer configuration constrain, so that in a rolling upgrade an old and a
//! new task may share what is UNIQUE. Unreachable tasks constrain until they are expunged.

use std::borrow::Cow;
use std::collections::BTreeMap;

use regex::Regex;
use spec::app::{App, Constraint, Operator};
use spec::protocol::AgentInfo;

use crate::state::{Agent, State};

/// One constraint, ready to be tried on many agents.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// As the app says it, for people: `rack GROUP_BY 3`.
    pub(super) text: String,
    field: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Unique,
    /// All on one value: this one, or the one where the first task is.
    Cluster(Option<String>),
    /// Evenly over so many groups (1.11).
    Groups {
        groups: u32,
        instances: u32,
    },
    /// Evenly over the groups there are (up to 1.10, and 1.11 divides by zero).
    Spread,
    /// `None`: the expression cannot be read, nothing matches.
    Like(Option<Regex>),
    Unlike(Option<Regex>),
    MaxPer(u32),
    Is(String),
}

/// What a rule says about one more task on an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// Perhaps when other tasks have been placed elsewhere.
    NotNow,
    /// Placing more tasks will not change it.
    Never,
}

impl Rule {
    /// The rules of an app.
    pub(super) fn all_of(app: &App) -> Vec<Self> {
        app.constraints.iter().map(|constraint| Self::of(constraint, app.instances)).collect()
    }

    fn of(constraint: &Constraint, instances: u32) -> Self {
        let value = constraint.value.as_deref();
        let number = value.and_then(|text| text.parse::<u32>().ok());
        let test = match constraint.operator {
            Operator::Unique => Test::Unique,
            Operator::Cluster => Test::Cluster(value.filter(|text| !text.is_empty()).map(canonical)),
            Operator::GroupBy => match number.filter(|groups| *groups > 0) {
                Some(groups) => Test::Groups { groups, instances },
                None => Test::Spread,
            },
            Operator::Like => Test::Like(value.and_then(spec::app::pattern::compile)),
            Operator::Unlike => Test::Unlike(value.and_then(spec::app::pattern::compile)),
            Operator::MaxPer => Test::MaxPer(number.unwrap_or(0)),
            Operator::Is => Test::Is(canonical(value.unwrap_or_default())),
        };
        let words = [constraint.field.as_str(), constraint.operator.name()].into_iter().chain(value);
        Self { text: words.collect::<Vec<_>>().join(" "), field: constraint.field.clone(), test }
    }

    /// The agent's value of the rule's field.
    pub(super) fn value_on<'a>(&self, info: &'a AgentInfo) -> Option<Cow<'a, str>> {
        field_value(info, &self.field)
    }

    /// Does the verdict depend on where other tasks are?
    pub(super) fn counts(&self) -> bool {
        matches!(
            self.test,
            Test::Unique | Test::Cluster(None) | Test::Groups { .. } | Test::Spread | Test::MaxPer(_)
        )
    }

    /// Does an agent meet it, for a rule that does not count?
    pub(super) fn is_met_alone(&self, info: &AgentInfo) -> bool {
        self.verdict(self.value_on(info).as_deref(), &Tally::default()) == Verdict::Yes
    }

    /// Does it want tasks spread evenly?
    pub(super) fn spreads(&self) -> bool {
        matches!(self.test, Test::Groups { .. } | Test::Spread)
    }

    /// One more task where the field has this value? An agent without the field fails, except UNLIKE.
    pub(super) fn verdict(&self, value: Option<&str>, tally: &Tally) -> Verdict {
        let Some(value) = value else {
            return if matches!(self.test, Test::Unlike(_)) { Verdict::Yes } else { Verdict::Never };
        };
        let matches = |expression: &Option<Regex>| expression.as_ref().map(|regex| regex.is_match(value));
        let yes = match &self.test {
            Test::Unique => tally.of(value) == 0,
            Test::Cluster(Some(wanted)) | Test::Is(wanted) => value == wanted,
            Test::Cluster(None) => tally.is_empty() || tally.of(value) > 0,
            Test::Groups { groups, instances } => tally.admits_group(value, *groups, *instances),
            Test::Spread if tally.admits_spread(value) => true,
            Test::Spread => return Verdict::NotNow,
            Test::Like(expression) => matches(expression) == Some(true),
            Test::Unlike(expression) => matches(expression) == Some(false),
            Test::MaxPer(most) => tally.of(value) < *most,
        };
        if yes { Verdict::Yes } else { Verdict::Never }
    }
}

/// Tasks of an app by the value of one field.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<String, u32>);

impl Tally {
    /// Tasks at this value.
    pub(super) fn of(&self, value: &str) -> u32 {
        self.0.get(value).copied().unwrap_or(0)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, value: &str) {
        match self.0.get_mut(value) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(value.to_owned(), 1)),
        }
    }

    /// Up to 1.10: a new group always, a used one when no used one has fewer.
    fn admits_spread(&self, value: &str) -> bool {
        let count = self.of(value);
        count == 0 || self.0.values().all(|other| count <= *other)
    }

    /// 1.11: `instances` over `groups`, the remainder one each.
    fn admits_group(&self, value: &str, groups: u32, instances: u32) -> bool {
        let (each, remainder) = (instances / groups, (instances % groups) as usize);
        match self.of(value) {
            0 => self.0.len() < groups as usize,
            count if count < each => true,
            count if count == each => self.0.values().filter(|other| **other > each).count() < remainder,
            _ => false,
        }
    }
}

/// A [`Tally`] for each rule that counts; the others' stay empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies(Vec<Tally>);

impl Tallies {
    /// Counts the tasks that constrain one more task of `app`.
    pub(super) fn count(state: &State, app: &App, rules: &[Rule]) -> Self {
        let mut tallies = Self(vec![Tally::default(); rules.len()]);
        if rules.iter().any(Rule::counts) {
            let constraining = state.tasks_of(&app.id).filter(|task| !task.is_outdated(app));
            for agent in constraining.filter_map(|task| state.agents.get(&task.agent)) {
                tallies.add(agent, rules);
            }
        }
        tallies
    }

    /// One more task on `agent`.
    pub(super) fn add(&mut self, agent: &Agent, rules: &[Rule]) {
        for (rule, tally) in rules.iter().zip(&mut self.0).filter(|(rule, _)| rule.counts()) {
            if let Some(value) = rule.value_on(&agent.info) {
                tally.add(&value);
            }
        }
    }

    /// The tally of the rule at this position.
    pub(super) fn at(&self, index: usize) -> &Tally {
        &self.0[index]
    }
}

/// What an agent says of a constraint's field: its host name, its region and zone (the attributes of
/// those names), or an attribute.
pub(crate) fn field_value<'a>(info: &'a AgentInfo, field: &str) -> Option<Cow<'a, str>> {
    match field {
        "hostname" | "@hostname" => Some(Cow::Borrowed(&info.hostname)),
        _ => info.attributes.get(field.strip_prefix('@').unwrap_or(field)).map(|text| scalar(text)),
    }
}

/// Scalars are compared as Mesos writes them: rounded half to even to three decimals, without trailing
/// zeros. Other text stays as it is.
fn scalar(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    match text.parse::<f64>() {
        Ok(number) if is_plain && number.abs() < 1e12 => {
            Cow::Owned(((number * 1000.0).round_ties_even() / 1000.0).to_string())
        }
        _ => Cow::Borrowed(text),
    }
}

fn canonical(text: &str) -> String {
    scalar(text).into_owned()
}
