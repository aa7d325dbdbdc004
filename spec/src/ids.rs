//! Ids, one type each; never a bare string.
//!
//! Formats are Marathon's (reference sections 2.2 and 4.3): an app id is an absolute path, an instance
//! id is `<safe path>.instance-<uuid>`, a task id adds the container and the incarnation.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is no id of the kind it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a path of lower-case segments.
    #[error("'{0}' is not a valid path: segments are lower-case letters, digits, inner hyphens and dots")]
    Path(String),
    /// The path has no segment.
    #[error("Path must contain at least one path element")]
    Root,
    /// Not a task id in any of Marathon's forms.
    #[error("Invalid task id '{0}'.")]
    Task(String),
    /// Not an instance id.
    #[error("Invalid instance id '{0}'.")]
    Instance(String),
}

/// The canonical grammar of one path segment (Marathon's `PathId`), `.` and `..` aside: names of lower-case
/// letters, digits and inner hyphens, with dots between them. By hand: every master reads every id of the log.
fn is_segment(segment: &str) -> bool {
    let inner = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let is_name = |name: &[u8]| {
        let ends = name.first().zip(name.last());
        ends.is_some_and(|(first, last)| *first != b'-' && *last != b'-') && name.iter().all(inner)
    };
    segment.as_bytes().split(|byte| *byte == b'.').all(is_name)
}

/// Is this what [`canonical_path`] makes of it?
fn is_canonical(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

/// An absolute, canonical path with at least one segment: `/shop/web`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

impl AppId {
    /// Reads a path relative to the root: empty segments and trailing slashes are dropped, `.` and `..`
    /// are resolved (`..` above the root stays at the root), a missing leading slash is added.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if is_canonical(text) {
            return Ok(Self(text.into()));
        }
        let path = canonical_path(text)?;
        if path == "/" { Err(IdError::Root) } else { Ok(Self(path.into())) }
    }

    /// `/shop/web`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `shop`, `web`.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/')
    }

    /// `shop_web`: unique, since segments hold no underscore.
    pub fn safe_path(&self) -> String {
        self.0[1..].replace('/', "_")
    }

    /// `web.shop`: the name that Marathon gave to Mesos.
    pub fn mesos_name(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// The groups that it is in, without the root: `/a` and `/a/b` of `/a/b/c`.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at]).filter(|group| !group.is_empty())
    }

    /// Is this app somewhere below the group `path` (canonical, `/` for the root)?
    pub fn is_below(&self, path: &str) -> bool {
        path == "/" || self.0.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Orders as its text does, so that it can be looked up by it.
impl Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Brings a path to its canonical form, relative to the root: `a//b/../c/` is `/a/c`; `/` for the root.
pub fn canonical_path(text: &str) -> Result<String, IdError> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ if is_segment(segment) => segments.push(segment),
            _ => return Err(IdError::Path(text.to_owned())),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AppId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

/// One instance of an app: it keeps its id when its task is started anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The app.
    pub app: AppId,
    /// Tells the instances of the app apart.
    pub uuid: Uuid,
}

/// One run of an instance. `incarnation` begins at 1 and counts the starts of the instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The instance.
    pub instance: InstanceId,
    /// Which start of the instance this is.
    pub incarnation: u32,
}

impl TaskId {
    /// The app this task belongs to.
    pub fn app(&self) -> &AppId {
        &self.instance.app
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.instance-{}", self.app.safe_path(), self.uuid)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}._app.{}", self.instance, self.incarnation)
    }
}

impl FromStr for InstanceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Instance(text.to_owned());
        let (safe, uuid) =
            text.rsplit_once(".instance-").or_else(|| text.rsplit_once(".marathon-")).ok_or_else(wrong)?;
        Ok(Self { app: app_of_safe_path(safe).ok_or_else(wrong)?, uuid: uuid.parse().map_err(|_| wrong())? })
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    /// Reads `<instance>._app.<n>` and the older forms `<safe>.<uuid>` and `<safe>.<uuid>.<n>`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Task(text.to_owned());
        if let Some((instance, incarnation)) = text.rsplit_once("._app.") {
            let instance = instance.parse().map_err(|_| wrong())?;
            return Ok(Self { instance, incarnation: incarnation.parse().map_err(|_| wrong())? });
        }
        if let Ok(instance) = text.parse() {
            return Ok(Self { instance, incarnation: 1 });
        }
        let (head, last) = text.rsplit_once('.').ok_or_else(wrong)?;
        let (safe, uuid, incarnation) = match last.parse::<u32>() {
            Ok(n) if last.len() < 10 => {
                let (safe, uuid) = head.rsplit_once('.').ok_or_else(wrong)?;
                (safe, uuid, n)
            }
            _ => (head, last, 1),
        };
        let instance = InstanceId {
            app: app_of_safe_path(safe).ok_or_else(wrong)?,
            uuid: uuid.parse().map_err(|_| wrong())?,
        };
        Ok(Self { instance, incarnation })
    }
}

fn app_of_safe_path(safe: &str) -> Option<AppId> {
    AppId::parse(&safe.replace('_', "/")).ok()
}

/// An agent, named by the leader at its first registration and kept by the agent on disk:
/// `<cluster uuid>-S<n>`, as Mesos does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// Takes the text as it is.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A master: its number in the replicated group, given once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MasterId(pub u64);

impl fmt::Display for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeploymentId(pub Uuid);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeploymentId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl Serialize for AppId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AppId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AppIdText)
    }
}

/// Reads an id where its text lies.
struct AppIdText;

impl serde::de::Visitor<'_> for AppIdText {
    type Value = AppId;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the id of an app")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AppId, E> {
        AppId::parse(text).map_err(E::custom)
    }
}

/// As text in JSON, as its three parts in binary formats.
macro_rules! serde_as_text_or_parts {
    ($type:ty, $parts:ty, $id:ident => $to:expr, $from:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    let $id = self;
                    $to.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    let from: fn($parts) -> $type = $from;
                    <$parts>::deserialize(deserializer).map(from)
                }
            }
        }
    };
}

serde_as_text_or_parts!(InstanceId, (AppId, Uuid), id => (&id.app, id.uuid), |(app, uuid)| {
    InstanceId { app, uuid }
});
serde_as_text_or_parts!(
    TaskId,
    (AppId, Uuid, u32),
    id => (&id.instance.app, id.instance.uuid, id.incarnation),
    |(app, uuid, incarnation)| TaskId { instance: InstanceId { app, uuid }, incarnation }
);

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "67e55044-10b1-11ea-9a9f-362b9e155667";

    #[test]
    fn app_ids_are_canonical() {
        for (text, canonical) in
            [("a", "/a"), ("/a//b/", "/a/b"), ("/a/../b", "/b"), ("../../x", "/x"), ("/a.b/c-d", "/a.b/c-d")]
        {
            assert_eq!(AppId::parse(text).unwrap().as_str(), canonical);
        }
        assert_eq!(AppId::parse("/"), Err(IdError::Root));
        for wrong in ["/A", "/a_b", "/-a", "/a-", "a b", "/a..b", "/..."] {
            assert!(AppId::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn segments_are_those_of_the_grammar() {
        let name = "([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])";
        let grammar = regex::Regex::new(&format!("^({name}\\.)*{name}$")).unwrap();
        let alphabet = ['a', '9', '-', '.', 'B', 'é'];
        let longer = |text: &String| alphabet.map(|letter| format!("{text}{letter}"));
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            for text in &texts {
                assert_eq!(is_segment(text), grammar.is_match(text), "{text}");
            }
            texts = texts.iter().flat_map(longer).collect();
        }
    }

    #[test]
    fn names_of_an_app() {
        let id = AppId::parse("/shop/prod/api").unwrap();
        assert_eq!(id.safe_path(), "shop_prod_api");
        assert_eq!(id.mesos_name(), "api.prod.shop");
        assert!(
            id.is_below("/shop")
                && id.is_below("/")
                && !id.is_below("/sho")
                && !id.is_below("/shop/prod/api")
        );
    }

    #[test]
    fn task_ids_round_trip_and_old_forms_are_read() {
        let text = format!("shop_api.instance-{UUID}._app.3");
        let id: TaskId = text.parse().unwrap();
        assert_eq!((id.app().as_str(), id.incarnation, id.to_string()), ("/shop/api", 3, text));
        for old in
            [format!("shop_api.{UUID}"), format!("shop_api.marathon-{UUID}"), format!("shop_api.{UUID}.2")]
        {
            assert_eq!(old.parse::<TaskId>().unwrap().app().as_str(), "/shop/api", "{old}");
        }
        for wrong in ["", "x", "a.b", "a.instance-x._app.1", &format!("A.instance-{UUID}._app.1")] {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
    }
}
