//! The rules of app definitions, in Marathon's words and with its paths (reference sections 2.2 to 2.12).
//! Judges, changes nothing; all violations of one stage are reported together.

mod checks;
mod container;
mod deprecated;
mod external;
mod network;
mod placement;
mod resources;
mod secrets;
mod strategies;
mod uri;
mod volume;

pub(super) use deprecated::{deprecated, update};

use super::raw::RawApp;
use crate::features::Features;
use crate::ids::canonical_path;
use crate::violation::Violation;

/// What the rules are applied to.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// A document with all its defaults and without deprecated fields.
    pub(super) app: &'a RawApp,
    /// What the cluster allows.
    pub(super) features: &'a Features,
    /// The role that the app already has, if it exists.
    pub(super) role: Option<&'a str>,
}

impl Subject<'_> {
    /// `Feature x is not enabled…`, with Marathon's stray parenthesis, when it is not.
    fn feature(&self, name: &str, path: &str, found: &mut Findings) {
        let message = format!("Feature {name} is not enabled. Enable with --enable_features {name})");
        found.need(self.features.has(name), path, message);
    }
}

/// More violations than this help nobody, and a small document must not make a huge answer.
const FINDINGS_MAX: usize = 1000;

/// The violations found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    /// A rule that must hold at `path`.
    fn need(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds && self.0.len() < FINDINGS_MAX {
            self.0.push(Violation::new(path, message));
        }
    }
}

/// All rules for a complete definition.
pub(super) fn complete(subject: Subject<'_>) -> Vec<Violation> {
    let mut found = Findings::default();
    identity(subject, &mut found);
    container::container(subject, &mut found);
    volume::volumes(subject, &mut found);
    network::networks(subject, &mut found);
    network::ports(subject, &mut found);
    checks::checks(subject, &mut found);
    secrets::secrets(subject, &mut found);
    resources::resources(subject, &mut found);
    placement::placement(subject, &mut found);
    strategies::strategies(subject, &mut found);
    found.0
}

const RESERVED: [&str; 3] = ["restart", "tasks", "versions"];
const SEGMENT: &str = concat!(
    r"^((([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*",
    r"([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.))$",
);

/// The id, what to run, what to download, and what to wait for (reference sections 2.2 and 2.3).
fn identity(subject: Subject<'_>, found: &mut Findings) {
    let app = subject.app;
    let id = app.id.as_deref().unwrap_or_default();
    path("/id", id, found);
    found.need(id != "/", "/id", "Path must contain at least one path element");
    found.need(id != "/", "/", "must not be root");
    let reserved = id.rsplit('/').next().is_some_and(|last| RESERVED.contains(&last));
    let message = "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..";
    found.need(!reserved, "/id", message);
    for (n, dependency) in app.dependencies.iter().flatten().enumerate() {
        path(&format!("/dependencies({n})"), dependency, found);
    }
    command(subject, found);
    for (n, artifact) in app.fetch.iter().flatten().enumerate() {
        let at = format!("/fetch({n})/uri");
        found.need(uri::is_valid(&artifact.uri), at, "URI has invalid syntax.");
    }
}

fn path(at: &str, id: &str, found: &mut Findings) {
    let message = format!("must fully match regular expression '{SEGMENT}'");
    found.need(canonical_path(id).is_ok(), at, message);
}

fn command(subject: Subject<'_>, found: &mut Findings) {
    let app = subject.app;
    let (cmd, args) = (app.cmd.is_some(), app.args.as_ref().is_some_and(|args| !args.is_empty()));
    let image = app.container.as_ref().is_some_and(|container| container.docker.is_some());
    let message = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    found.need((cmd != args) || (!cmd && !args && image), "/", message);
    // Marathon's test is for more than one character.
    let long = app.cmd.as_ref().is_none_or(|cmd| cmd.chars().nth(1).is_some());
    found.need(long, "/", "must not be an empty string");
}

/// Is every element different from the others? Elements that are `None` do not count.
fn all_differ<T: Ord>(elements: impl Iterator<Item = Option<T>>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    elements.flatten().all(|element| seen.insert(element))
}

/// A number as Marathon prints doubles: `256.0`.
fn double(number: f64) -> String {
    format!("{number:?}")
}
