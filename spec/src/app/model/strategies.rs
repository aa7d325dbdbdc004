//! Limits, upgrades, kills and absences: how an app is run, as canonical data (reference section 2.1).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{is_default, whole_as_integer};

/// Limits above the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimits {
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpus: Option<Limit>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub mem: Option<Limit>,
}

/// A number or `"unlimited"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    Amount(f64),
    Unlimited,
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Amount(amount) => whole_as_integer(amount, serializer),
            Self::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match (value.as_f64(), value.as_str()) {
            (Some(amount), _) => Ok(Self::Amount(amount)),
            (_, Some("unlimited")) => Ok(Self::Unlimited),
            _ => Err(serde::de::Error::custom("a limit is a number or \"unlimited\"")),
        }
    }
}

/// Resources of a custom executor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutorResources {
    #[serde(serialize_with = "whole_as_integer")]
    pub cpus: f64,
    #[serde(serialize_with = "whole_as_integer")]
    pub mem: f64,
    #[serde(serialize_with = "whole_as_integer")]
    pub disk: f64,
}

/// Deprecated; no effect beyond validation, as in Marathon since 1.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    pub relaunch_escalation_timeout_seconds: u64,
    pub task_lost_behavior: TaskLostBehavior,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskLostBehavior {
    WaitForever,
    RelaunchAfterTimeout,
}

/// Who goes first when an app shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    YoungestFirst,
    OldestFirst,
}

/// How many may be missing and how many may be surplus during an upgrade, as fractions of `instances`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    #[serde(serialize_with = "whole_as_integer")]
    pub maximum_over_capacity: f64,
    #[serde(serialize_with = "whole_as_integer")]
    pub minimum_health_capacity: f64,
}

/// What happens to tasks of an agent that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    Disabled,
    Enabled { inactive_after_seconds: u64, expunge_after_seconds: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum UnreachableForm {
    Disabled(String),
    #[serde(rename_all = "camelCase")]
    Enabled {
        inactive_after_seconds: u64,
        expunge_after_seconds: u64,
    },
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Disabled => UnreachableForm::Disabled("disabled".to_owned()),
            Self::Enabled { inactive_after_seconds, expunge_after_seconds } => {
                UnreachableForm::Enabled { inactive_after_seconds, expunge_after_seconds }
            }
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UnreachableStrategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match UnreachableForm::deserialize(deserializer)? {
            UnreachableForm::Disabled(_) => Self::Disabled,
            UnreachableForm::Enabled { inactive_after_seconds, expunge_after_seconds } => {
                Self::Enabled { inactive_after_seconds, expunge_after_seconds }
            }
        })
    }
}
