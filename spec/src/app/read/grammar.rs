//! The elementary grammars of Marathon's RAML types: texts, numbers and names with their bounds.
//!
//! Patterns match whole texts, as play-json's do. Fractional minima are absent: Marathon's generator
//! truncates them (reference section 2.1, `cpus`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::node::{Node, Text};

static PATH_ID: LazyLock<Regex> = LazyLock::new(|| {
    let segment = r"(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])";
    whole(&format!(r"(/?((\.\.)|{segment})?($|/))+"))
});
static EXECUTOR: LazyLock<Regex> = LazyLock::new(|| whole("(//cmd)|(/?[^/]+(/[^/]+)*)|"));
static PORT_NAME: LazyLock<Regex> = LazyLock::new(|| whole("[a-z0-9]([-a-z0-9]*[a-z0-9])?"));
static NETWORK_NAME: LazyLock<Regex> = LazyLock::new(|| whole(NETWORK_NAME_PATTERN));
/// What names of container networks look like.
pub(in crate::app) const NETWORK_NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$";
const NETWORK_NAME_CHARS_MAX: usize = 63;
static READY_PORT_NAME: LazyLock<Regex> = LazyLock::new(|| whole("[a-z][-a-z0-9]*"));

fn whole(pattern: &str) -> Regex {
    Regex::new(&format!(r"\A(?:{pattern})\z")).expect("a constant")
}

const NON_EMPTY: Text = Text { min: 1, max: usize::MAX, pattern: None };
const SHORT: Text = Text { min: 1, max: 1024, pattern: None };

/// A text of at least one character.
pub(super) fn non_empty(node: Node<'_>) -> Option<String> {
    node.text_like(&NON_EMPTY)
}

/// A URI or path: 1 to 1024 characters.
pub(super) fn short(node: Node<'_>) -> Option<String> {
    node.text_like(&SHORT)
}

/// An app, pod or group id, absolute or relative.
pub(super) fn path_id(node: Node<'_>) -> Option<String> {
    node.text_like(&Text { min: 1, max: usize::MAX, pattern: Some(&PATH_ID) })
}

/// A command or a path to a custom executor.
pub(super) fn executor(node: Node<'_>) -> Option<String> {
    node.text_like(&Text { min: 0, max: usize::MAX, pattern: Some(&EXECUTOR) })
}

/// The name of a port.
pub(super) fn port_name(node: Node<'_>) -> Option<String> {
    node.text_like(&Text { min: 0, max: usize::MAX, pattern: Some(&PORT_NAME) })
}

/// The name of a container network.
pub(super) fn network_name(node: Node<'_>) -> Option<String> {
    let max = NETWORK_NAME_CHARS_MAX;
    node.text_like(&Text { min: 1, max, pattern: Some(&NETWORK_NAME) })
}

/// Would [`network_name`] read this text?
pub(in crate::app) fn is_network_name(text: &str) -> bool {
    text.chars().count() <= NETWORK_NAME_CHARS_MAX && NETWORK_NAME.is_match(text)
}

/// The name of a port that a readiness check asks.
pub(super) fn ready_port_name(node: Node<'_>) -> Option<String> {
    node.text_like(&Text { min: 1, max: usize::MAX, pattern: Some(&READY_PORT_NAME) })
}

/// A port number, 0 included.
pub(super) fn port(node: Node<'_>) -> Option<u16> {
    node.int(0, 65_535).and_then(|port| u16::try_from(port).ok())
}

/// A count or a number of seconds.
pub(super) fn count(node: Node<'_>) -> Option<u32> {
    node.int(0, u32::MAX)
}

/// An amount of a resource.
pub(super) fn amount(node: Node<'_>) -> Option<f64> {
    node.number(0.0, f64::MAX)
}

/// A fraction between nothing and all.
pub(super) fn fraction(node: Node<'_>) -> Option<f64> {
    node.number(0.0, 1.0)
}

/// Labels: texts by text.
pub(super) fn labels(node: Node<'_>) -> Option<BTreeMap<String, String>> {
    node.map(Node::text)
}

/// A list of texts.
pub(super) fn texts(node: Node<'_>) -> Option<Vec<String>> {
    node.list(Node::text)
}
