//! Rules about where an app may run: constraints and roles (reference sections 2.10, 2.12 and 2c.4).

use std::sync::LazyLock;

use regex::Regex;

use super::{Findings, Subject};
use crate::app::model::Operator;
use crate::app::pattern;

static IS_VALUE: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-zA-Z0-9_/.-]*$").expect("a constant"));

/// Compiling patterns takes time, so there is an end to them; Marathon has none.
const CONSTRAINTS_MAX: usize = 32;

pub(super) fn placement(subject: Subject<'_>, found: &mut Findings) {
    role(subject, found);
    accepted_roles(subject, found);
    if subject.app.constraints.as_ref().is_some_and(|list| list.len() > CONSTRAINTS_MAX) {
        let message = format!("at most {CONSTRAINTS_MAX} constraints are supported");
        found.need(false, "/constraints", message);
        return;
    }
    for (n, parts) in subject.app.constraints.iter().flatten().enumerate() {
        if let Err(message) = constraint(parts) {
            found.need(false, format!("/constraints({n})"), message);
        }
    }
}

/// Judges `[field, OPERATOR]` or `[field, OPERATOR, value]`.
fn constraint(parts: &[String]) -> Result<(), &'static str> {
    let (field, operator, value) = match parts {
        [field, operator] => (field, operator, None),
        [field, operator, value] => (field, operator, Some(value.as_str())),
        _ => return Err("Each constraint must have either 2 or 3 fields"),
    };
    if field.is_empty() {
        return Err("illegal constraint specification");
    }
    let operator = Operator::from_name(&operator.to_uppercase()).ok_or(
        "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
    )?;
    match operator_value(operator, value) {
        Some(message) => Err(message),
        None => Ok(()),
    }
}

fn operator_value(operator: Operator, value: Option<&str>) -> Option<&'static str> {
    let is_int = |value: &str| value.parse::<i32>().is_ok();
    let (holds, message) = match operator {
        Operator::Unique => (value.is_none(), "UNIQUE does not accept a value"),
        Operator::Cluster => (true, ""),
        Operator::GroupBy => {
            (value.is_none_or(is_int), "GROUP BY must define an integer value or else no value at all")
        }
        Operator::MaxPer => (value.is_some_and(is_int), "MAX_PER requires an integer value"),
        Operator::Like | Operator::Unlike if value.is_none() => {
            (false, "LIKE and UNLIKE require a non-empty, regular expression value")
        }
        Operator::Like | Operator::Unlike => {
            (value.is_some_and(|text| pattern::compile(text).is_some()), "is not a valid regular expression")
        }
        Operator::Is => (
            IS_VALUE.is_match(value.unwrap_or_default()),
            "IS only supports Mesos text and float values (see \
             http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
    };
    (!holds).then_some(message)
}

/// Directly under the root only the default role; below a top-level group that group's name too.
fn role(subject: Subject<'_>, found: &mut Findings) {
    let role = subject.app.role.as_deref().unwrap_or_default();
    let id = subject.app.id.as_deref().unwrap_or_default();
    let group = id.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(group, _)| group);
    let mut allowed = vec![subject.features.default_role.as_str()];
    for other in group.into_iter().chain(subject.role) {
        if !allowed.contains(&other) {
            allowed.push(other);
        }
    }
    let message = format!("got {role}, expected one of: [{}]", allowed.join(", "));
    found.need(allowed.contains(&role), "/role", message);
    let resident = subject.app.residency.is_some();
    found.need(!resident || role != "*", "/role", "Resident apps cannot have the role *");
}

fn accepted_roles(subject: Subject<'_>, found: &mut Findings) {
    let Some(roles) = &subject.app.accepted_resource_roles else {
        return;
    };
    let at = "/acceptedResourceRoles";
    found.need(!roles.is_empty(), at, "must not be empty");
    for (n, role) in roles.iter().enumerate() {
        for message in role_name(role) {
            found.need(false, format!("{at}({n})"), message);
        }
    }
    let own = subject.app.role.as_deref().unwrap_or_default();
    let message = match own {
        "*" => "acceptedResourceRoles can only contain *".to_owned(),
        _ => format!("acceptedResourceRoles can only contain * and {own}"),
    };
    found.need(roles.iter().all(|role| role == "*" || role == own), at, message);
    let unreserved = roles.len() == 1 && roles[0] == "*";
    let message = "A resident app must have `acceptedResourceRoles = [\"*\"]`.";
    found.need(subject.app.residency.is_none() || unreserved, at, message);
}

/// What is wrong with a role name.
fn role_name(role: &str) -> Vec<String> {
    const CHARACTERS: [(char, &str); 8] = [
        ('\u{9}', r"horizontal tab (\x09)"),
        ('\u{a}', r"line feed (\x0a)"),
        ('\u{b}', r"vertical tab (\x0b)"),
        ('\u{c}', r"form feed (\x0c)"),
        ('\u{d}', r"carriage return (\x0d)"),
        (' ', r"space (\x20)"),
        ('/', r"slash (\x2f)"),
        ('\u{7f}', r"backspace (\x7f)"),
    ];
    if matches!(role, "" | "." | "..") {
        return vec![format!("A role name must not be \"{role}\".")];
    }
    let dash = role.starts_with('-').then(|| "A role name must not start with a '-'.".to_owned());
    let bad = CHARACTERS.iter().filter(|(character, _)| role.contains(*character));
    let bad = bad.map(|(_, name)| format!("A role name must not include a {name} character."));
    dash.into_iter().chain(bad).collect()
}
