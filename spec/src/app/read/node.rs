//! Taking JSON apart value by value: where we are, what is there, and everything that is wrong with its
//! shape, in the error codes of play-json (reference section 3). Knows nothing of apps.
//!
//! A reader answers `None` for what it could not read, after it has noted the fault; so a caller reads
//! on and every bad field of a document is reported at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::violation::Violation;

/// More faults than this help nobody, and a small document must not make a huge answer.
const FAULTS_MAX: usize = 1000;
/// The text for a missing field echoes the object it is missing from; this many bytes of it at most.
const ECHO_BYTES_MAX: usize = 4096;

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<Violation>>);

impl Faults {
    /// Notes one more, unless there are too many already.
    pub(super) fn push(&self, violation: Violation) {
        let mut list = self.0.borrow_mut();
        if list.len() < FAULTS_MAX {
            list.push(violation);
        }
    }

    /// All of them, in the order of the document.
    pub(super) fn into_list(self) -> Vec<Violation> {
        self.0.into_inner()
    }
}

/// One value of the document and the place it has there.
#[derive(Clone)]
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
    faults: &'a Faults,
}

/// A JSON object of the document.
pub(super) struct Object<'a> {
    node: Node<'a>,
    fields: &'a Map<String, Value>,
}

/// What a text may be.
pub(super) struct Text {
    /// Characters, at least.
    pub(super) min: usize,
    /// Characters, at most.
    pub(super) max: usize,
    /// Must match as a whole.
    pub(super) pattern: Option<&'static LazyLock<Regex>>,
}

impl<'a> Node<'a> {
    /// The whole document.
    pub(super) fn root(value: &'a Value, faults: &'a Faults) -> Self {
        Self { path: String::new(), value, faults }
    }

    /// The same value, with its faults going elsewhere: for one of several readings that may fail.
    pub(super) fn trial<'b>(&self, faults: &'b Faults) -> Node<'b>
    where
        'a: 'b,
    {
        Node { path: self.path.clone(), value: self.value, faults }
    }

    /// Takes over what a trial found.
    pub(super) fn blame(&self, fault: Violation) {
        self.faults.push(fault);
    }

    /// The value itself.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// Notes a fault here; `None`, so that readers can end with it.
    pub(super) fn fault<T>(&self, code: &str) -> Option<T> {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        self.faults.push(Violation::new(path, code));
        None
    }

    fn child(&self, value: &'a Value, step: [&str; 2]) -> Node<'a> {
        let [kind, name] = step;
        Node { path: [&self.path, kind, name].concat(), value, faults: self.faults }
    }

    /// An object.
    pub(super) fn object(self) -> Option<Object<'a>> {
        match self.value {
            Value::Object(fields) => Some(Object { node: self, fields }),
            _ => self.fault("error.expected.jsobject"),
        }
    }

    /// A list; elements that cannot be read are left out (their faults are noted).
    pub(super) fn list<T>(self, read: impl Fn(Node<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(items) = self.value else {
            return self.fault("error.expected.jsarray");
        };
        let nodes = items.iter().enumerate().map(|(n, item)| self.child(item, ["", &format!("({n})")]));
        Some(nodes.filter_map(read).collect())
    }

    /// A list that stands for a set: of equal elements the first stays.
    pub(super) fn set<T: Ord>(self, read: impl Fn(Node<'a>) -> Option<T>) -> Option<Vec<T>> {
        self.list(read).map(distinct)
    }

    /// An object of free keys; entries that are null are absent.
    pub(super) fn map<T>(self, read: impl Fn(Node<'a>) -> Option<T>) -> Option<BTreeMap<String, T>> {
        let object = self.object()?;
        let given = object.fields.iter().filter(|(_, value)| !value.is_null());
        let entries = given.filter_map(|(key, value)| {
            let node = object.node.child(value, ["/", key]);
            read(node).map(|value| (key.clone(), value))
        });
        Some(entries.collect())
    }

    /// Any text.
    pub(super) fn text(self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            _ => self.fault("error.expected.jsstring"),
        }
    }

    /// A text within bounds; every bound broken is reported.
    pub(super) fn text_like(self, rule: &Text) -> Option<String> {
        let text = self.clone().text()?;
        let length = text.chars().count();
        let mismatch = rule.pattern.is_some_and(|pattern| !pattern.is_match(&text));
        let faults = [
            (length < rule.min, "error.minLength"),
            (length > rule.max, "error.maxLength"),
            (mismatch, "error.pattern"),
        ];
        for (_, code) in faults.iter().filter(|(broken, _)| *broken) {
            self.fault::<()>(code);
        }
        faults.iter().all(|(broken, _)| !broken).then_some(text)
    }

    /// `true` or `false`.
    pub(super) fn flag(self) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            _ => self.fault("error.expected.jsboolean"),
        }
    }

    /// A decimal number between the bounds.
    pub(super) fn number(self, min: f64, max: f64) -> Option<f64> {
        match self.value.as_f64().filter(|_| self.value.is_number()) {
            None => self.fault("error.expected.jsnumber"),
            Some(number) if number < min => self.fault("error.min"),
            Some(number) if number > max => self.fault("error.max"),
            Some(number) => Some(number),
        }
    }

    /// A whole number of 32 bits between the bounds. `3.000000` is one: Python clients send it.
    pub(super) fn int(self, min: u32, max: u32) -> Option<u32> {
        let number = self.whole(i64::from(i32::MIN), i64::from(i32::MAX), "error.expected.int")?;
        match number {
            _ if number < i64::from(min) => self.fault("error.min"),
            _ if number > i64::from(max) => self.fault("error.max"),
            _ => u32::try_from(number).ok(),
        }
    }

    /// A whole number of 64 bits, not negative.
    pub(super) fn long(self) -> Option<u64> {
        let number = self.whole(i64::MIN, i64::MAX, "error.expected.long")?;
        u64::try_from(number).ok().or_else(|| self.fault("error.min"))
    }

    fn whole(&self, min: i64, max: i64, code: &str) -> Option<i64> {
        let Value::Number(number) = self.value else {
            return self.fault("error.expected.jsnumber");
        };
        let rounded = || number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 9e15);
        let whole = number.as_i64().or_else(|| rounded().map(|value| value as i64));
        whole.filter(|value| (min..=max).contains(value)).or_else(|| self.fault(code))
    }

    /// One of a list of names, in any case (reference section 0).
    pub(super) fn choice<T: Copy>(self, names: &[(&str, T)]) -> Option<T> {
        let text = self.value.as_str();
        let found = text.and_then(|text| names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)));
        found.map(|(_, value)| *value).or_else(|| self.fault("error.unknown.enum.literal"))
    }
}

impl<'a> Object<'a> {
    /// The field, unless it is absent or null, which is the same (reference section 0).
    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        let value = self.fields.get(name).filter(|value| !value.is_null())?;
        Some(self.node.child(value, ["/", name]))
    }

    /// Reads the field if it is there.
    pub(super) fn optional<T>(&self, name: &str, read: impl FnOnce(Node<'a>) -> Option<T>) -> Option<T> {
        self.get(name).and_then(read)
    }

    /// Reads the field; it is a fault when it is not there.
    pub(super) fn required<T>(&self, name: &str, read: impl FnOnce(Node<'a>) -> Option<T>) -> Option<T> {
        match self.get(name) {
            Some(node) => read(node),
            None => {
                let whole = self.node.value.to_string();
                let end = whole.floor_char_boundary(ECHO_BYTES_MAX);
                let text = format!("'{name}' is undefined on object: {}", &whole[..end]);
                self.node.child(self.node.value, ["/", name]).fault(&text)
            }
        }
    }
}

/// Drops what equals an earlier element, in less than quadratic time.
pub(in crate::app) fn distinct<T: Ord>(list: Vec<T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let first: Vec<bool> = list.iter().map(|item| seen.insert(item)).collect();
    let pairs = list.into_iter().zip(first);
    pairs.filter_map(|(item, first)| first.then_some(item)).collect()
}
