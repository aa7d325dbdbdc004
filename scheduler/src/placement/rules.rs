//! Constraints (reference section 2.10): what they say about an agent, given where the app's tasks are.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::Regex;
use spec::app::{App, Constraint, Operator};
use spec::protocol::AgentInfo;

use super::crowds::{self, Crowd, Evenness};

/// One constraint, ready to be tried on many agents.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    constraint: Constraint,
    test: Test,
    counts: bool,
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
    Like(Pattern),
    Unlike(Pattern),
    MaxPer(u32),
    Is(String),
}

/// An expression, read when it is first asked: it seldom is, the index keeps what it said of every agent.
#[derive(Clone, Debug)]
struct Pattern {
    text: Option<String>,
    regex: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn of(text: Option<&str>) -> Self {
        Self { text: text.map(str::to_owned), regex: OnceLock::new() }
    }

    /// `None`: the expression cannot be read, and nothing matches it or fails to.
    fn is_match(&self, value: &str) -> Option<bool> {
        let read = || self.text.as_deref().and_then(spec::app::pattern::compile);
        self.regex.get_or_init(read).as_ref().map(|regex| regex.is_match(value))
    }
}

/// What a rule says about one more task on an agent; the worse comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
            Operator::Like => Test::Like(Pattern::of(value)),
            Operator::Unlike => Test::Unlike(Pattern::of(value)),
            Operator::MaxPer => Test::MaxPer(number.unwrap_or(0)),
            Operator::Is => Test::Is(canonical(value.unwrap_or_default())),
        };
        Self { constraint: constraint.clone(), test, counts: crowds::counts(constraint) }
    }

    /// As the app says it, for people: `rack GROUP_BY 3`.
    pub(super) fn text(&self) -> String {
        let Constraint { field, operator, value } = &self.constraint;
        let words = [field.as_str(), operator.name()].into_iter().chain(value.as_deref());
        words.collect::<Vec<_>>().join(" ")
    }

    /// What it looks at.
    pub(super) fn field(&self) -> &str {
        &self.constraint.field
    }

    /// What two rules have in common that say the same of every agent, if they do not count.
    pub(super) fn key(&self) -> (String, Operator, Option<String>) {
        let Constraint { field, operator, value } = &self.constraint;
        (field.clone(), *operator, value.clone())
    }

    /// The agent's value of the rule's field.
    pub(super) fn value_on<'a>(&self, info: &'a AgentInfo) -> Option<Cow<'a, str>> {
        field_value(info, self.field())
    }

    /// Does the verdict depend on where other tasks are?
    pub(super) fn counts(&self) -> bool {
        self.counts
    }

    /// Does an agent with this value meet it, for a rule that does not count?
    pub(super) fn is_met_alone(&self, value: Option<&str>) -> bool {
        self.verdict(value, 0, &Evenness::default()) == Verdict::Yes
    }

    /// Does it want tasks spread evenly?
    pub(super) fn spreads(&self) -> bool {
        matches!(self.test, Test::Groups { .. } | Test::Spread)
    }

    /// One more task where the field has this value?
    pub(super) fn verdict_among(&self, value: Option<&str>, crowd: &Crowd) -> Verdict {
        self.verdict(value, value.map_or(0, |value| crowd.of(value)), crowd.evenness())
    }

    /// The same, with so many tasks there. An agent without the field fails, except UNLIKE.
    pub(super) fn verdict(&self, value: Option<&str>, count: u32, all: &Evenness) -> Verdict {
        let Some(value) = value else {
            return if matches!(self.test, Test::Unlike(_)) { Verdict::Yes } else { Verdict::Never };
        };
        let yes = match &self.test {
            Test::Unique => count == 0,
            Test::Cluster(Some(wanted)) | Test::Is(wanted) => value == wanted,
            Test::Cluster(None) => all.is_empty() || count > 0,
            Test::Groups { groups, instances } => admits_group(count, all, *groups, *instances),
            // A new group always, a used one when no used one has fewer.
            Test::Spread if count <= all.lowest() => true,
            Test::Spread => return Verdict::NotNow,
            Test::Like(pattern) => pattern.is_match(value) == Some(true),
            Test::Unlike(pattern) => pattern.is_match(value) == Some(false),
            Test::MaxPer(most) => count < *most,
        };
        if yes { Verdict::Yes } else { Verdict::Never }
    }
}

/// 1.11: `instances` over `groups`, the remainder one each.
fn admits_group(count: u32, all: &Evenness, groups: u32, instances: u32) -> bool {
    let (each, remainder) = (instances / groups, u64::from(instances % groups));
    match count {
        0 => all.used() < groups as usize,
        count if count < each => true,
        count if count == each => all.used_beyond(each) < remainder,
        _ => false,
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
    match is_plain.then(|| text.parse::<f64>()) {
        Some(Ok(number)) if number.abs() < 1e12 => {
            Cow::Owned(((number * 1000.0).round_ties_even() / 1000.0).to_string())
        }
        _ => Cow::Borrowed(text),
    }
}

fn canonical(text: &str) -> String {
    scalar(text).into_owned()
}
