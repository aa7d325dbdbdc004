//! How the values of fields are written: a module a way, each with `put` and `take`, which takes from the front
//! of what is left. Knows no tags.

use std::collections::BTreeMap;

use postcard::Error;
use serde::{Deserialize, Serialize};

use crate::app::model::*;

/// As `postcard` writes it: for types of which serde leaves nothing out and guesses nothing.
pub(super) mod plain {
    use super::*;

    pub(in crate::app::stored) fn put(
        value: &(impl Serialize + ?Sized),
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        *out = postcard::to_extend(value, std::mem::take(out))?;
        Ok(())
    }

    pub(in crate::app::stored) fn take<'de, T: Deserialize<'de>>(rest: &mut &'de [u8]) -> Result<T, Error> {
        let (value, left) = postcard::take_from_bytes(rest)?;
        *rest = left;
        Ok(value)
    }
}

/// As in documents.
pub(super) mod json {
    use super::*;

    pub(in crate::app::stored) fn put(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Error> {
        plain::put(&*serde_json::to_vec(value).map_err(|_| Error::SerdeSerCustom)?, out)
    }

    pub(in crate::app::stored) fn take<T: serde::de::DeserializeOwned>(rest: &mut &[u8]) -> Result<T, Error> {
        serde_json::from_slice(plain::take(rest)?).map_err(|_| Error::SerdeDeCustom)
    }
}

/// Names, each with its text and whether that names a secret.
pub(super) mod env {
    use super::*;

    pub(in crate::app::stored) fn put(
        env: &BTreeMap<String, EnvValue>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let env = env.iter().map(|(name, given)| match given {
            EnvValue::Plain(text) => (name, (text, false)),
            EnvValue::Secret { secret } => (name, (secret, true)),
        });
        plain::put(&env.collect::<Vec<_>>(), out)
    }

    pub(in crate::app::stored) fn take(rest: &mut &[u8]) -> Result<BTreeMap<String, EnvValue>, Error> {
        let env: Vec<(String, (String, bool))> = plain::take(rest)?;
        let value =
            |(text, secret)| if secret { EnvValue::Secret { secret: text } } else { EnvValue::Plain(text) };
        Ok(env.into_iter().map(|(name, given)| (name, value(given))).collect())
    }
}

/// Labels, name, number, protocol.
pub(super) mod ports {
    use super::*;

    type Parts = (BTreeMap<String, String>, Option<String>, u16, Protocol);

    pub(in crate::app::stored) fn put(
        ports: &Option<Vec<PortDefinition>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let parts = ports.iter().flatten().map(|port| (&port.labels, &port.name, port.port, port.protocol));
        plain::put(&ports.as_ref().map(|_| parts.collect::<Vec<_>>()), out)
    }

    pub(in crate::app::stored) fn take(rest: &mut &[u8]) -> Result<Option<Vec<PortDefinition>>, Error> {
        let ports: Option<Vec<Parts>> = plain::take(rest)?;
        let port = |(labels, name, port, protocol)| PortDefinition { labels, name, port, protocol };
        Ok(ports.map(|ports| ports.into_iter().map(port).collect()))
    }
}

/// Mode, name, labels.
pub(super) mod networks {
    use super::*;

    type Parts = (NetworkMode, Option<String>, BTreeMap<String, String>);

    pub(in crate::app::stored) fn put(networks: &[Network], out: &mut Vec<u8>) -> Result<(), Error> {
        let parts = networks.iter().map(|network| (network.mode, &network.name, &network.labels));
        plain::put(&parts.collect::<Vec<_>>(), out)
    }

    pub(in crate::app::stored) fn take(rest: &mut &[u8]) -> Result<Vec<Network>, Error> {
        let networks: Vec<Parts> = plain::take(rest)?;
        Ok(networks.into_iter().map(|(mode, name, labels)| Network { mode, name, labels }).collect())
    }
}

/// Surplus, then health.
pub(super) mod upgrade {
    use super::*;

    pub(in crate::app::stored) fn put(upgrade: &UpgradeStrategy, out: &mut Vec<u8>) -> Result<(), Error> {
        plain::put(&(upgrade.maximum_over_capacity, upgrade.minimum_health_capacity), out)
    }

    pub(in crate::app::stored) fn take(rest: &mut &[u8]) -> Result<UpgradeStrategy, Error> {
        let (maximum_over_capacity, minimum_health_capacity) = plain::take(rest)?;
        Ok(UpgradeStrategy { maximum_over_capacity, minimum_health_capacity })
    }
}

/// Inactive, then expunged; nothing when disabled.
pub(super) mod unreachable {
    use super::*;

    pub(in crate::app::stored) fn put(
        strategy: &UnreachableStrategy,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let seconds = match *strategy {
            UnreachableStrategy::Disabled => None,
            UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds } => {
                Some((inactive_after_seconds, expunge_after_seconds))
            }
        };
        plain::put(&seconds, out)
    }

    pub(in crate::app::stored) fn take(rest: &mut &[u8]) -> Result<UnreachableStrategy, Error> {
        let seconds: Option<(u64, u64)> = plain::take(rest)?;
        Ok(seconds.map_or(
            UnreachableStrategy::Disabled,
            |(inactive_after_seconds, expunge_after_seconds)| UnreachableStrategy::Enabled {
                inactive_after_seconds,
                expunge_after_seconds,
            },
        ))
    }
}
