//! The definition as bytes inside log entries and snapshots, where every master reads every change: a form
//! number, then the fields that differ from the usual, each a tag and its value. No tree is built and no name
//! compared, so it is read several times faster than JSON, and it is a fraction as long.
//!
//! What is written stays readable: a tag keeps its meaning, [`USUAL`] its values and the enums of the model
//! their order for ever. A new field gets a new tag and is usual where it is absent; what is rare or deeply
//! nested stays JSON within its field, and can grow there as it does in documents. Whoever adds a tag raises
//! the formats of log entries and snapshots too: an older master must refuse what it would lose.

mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use postcard::Error;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::values::{env, json, networks, plain, ports, unreachable, upgrade};
use super::model::*;
use crate::ids::AppId;
use crate::time::Timestamp;

/// First byte of this form. Before it there was JSON, which begins with a brace and is still read.
const FORM: u8 = 1;
/// What most definitions take.
const BYTES_USUAL: usize = 256;

/// An app inside log entries and snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredApp(pub Arc<App>);

impl Serialize for StoredApp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(BYTES_USUAL);
        bytes.push(FORM);
        write(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for StoredApp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Reads a definition where its bytes lie.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = StoredApp;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the bytes of an app")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<StoredApp, E> {
        let app = match bytes {
            [FORM, fields @ ..] => read(fields).map_err(E::custom),
            [b'{', ..] => serde_json::from_slice(bytes).map_err(E::custom),
            _ => Err(E::custom("an app of an unknown form")),
        };
        app.map(|app| StoredApp(Arc::new(app)))
    }
}

/// What is not written because nearly every app has it. Part of the format.
static USUAL: LazyLock<App> = LazyLock::new(|| App {
    id: AppId::parse("/app").expect("a constant"),
    accepted_resource_roles: None,
    args: Vec::new(),
    backoff_factor: 1.15,
    backoff_seconds: 1,
    check: None,
    cmd: None,
    constraints: Vec::new(),
    container: None,
    cpus: 1.0,
    dependencies: Vec::new(),
    disk: 0.0,
    env: BTreeMap::new(),
    executor: String::new(),
    executor_resources: None,
    fetch: Vec::new(),
    gpus: 0,
    health_checks: Vec::new(),
    instances: 1,
    kill_selection: KillSelection::YoungestFirst,
    labels: BTreeMap::new(),
    max_launch_delay_seconds: 300,
    mem: 128.0,
    networks: vec![Network { mode: NetworkMode::Host, name: None, labels: BTreeMap::new() }],
    port_definitions: None,
    readiness_checks: Vec::new(),
    require_ports: false,
    residency: None,
    resource_limits: None,
    role: "*".to_owned(),
    secrets: BTreeMap::new(),
    task_kill_grace_period_seconds: None,
    tty: None,
    unreachable_strategy: UnreachableStrategy::Enabled {
        inactive_after_seconds: 0,
        expunge_after_seconds: 0,
    },
    upgrade_strategy: UpgradeStrategy { maximum_over_capacity: 1.0, minimum_health_capacity: 1.0 },
    user: None,
    version: Timestamp::from_millis(0),
    version_info: None,
});

/// The table of fields: tag, name, and how the value is written. A field of [`App`] that is missing here does
/// not compile.
macro_rules! fields {
    ($($tag:literal $field:ident $form:ident;)*) => {
        fn write(app: &App, out: &mut Vec<u8>) -> Result<(), Error> {
            let App { $($field),* } = app;
            $(if *$field != USUAL.$field {
                out.push($tag);
                $form::put($field, out)?;
            })*
            Ok(())
        }

        fn read_field(tag: u8, app: &mut App, rest: &mut &[u8]) -> Result<(), Error> {
            match tag {
                $($tag => app.$field = $form::take(rest)?,)*
                _ => return Err(Error::DeserializeBadEncoding),
            }
            Ok(())
        }
    };
}

fields! {
    1 id plain;
    2 cmd plain;
    3 args plain;
    4 instances plain;
    5 cpus plain;
    6 mem plain;
    7 disk plain;
    8 gpus plain;
    9 env env;
    10 labels plain;
    11 port_definitions ports;
    12 networks networks;
    13 container json;
    14 health_checks json;
    15 constraints json;
    16 fetch json;
    17 dependencies plain;
    18 upgrade_strategy upgrade;
    19 unreachable_strategy unreachable;
    20 backoff_factor plain;
    21 backoff_seconds plain;
    22 max_launch_delay_seconds plain;
    23 task_kill_grace_period_seconds plain;
    24 kill_selection plain;
    25 require_ports plain;
    26 role plain;
    27 user plain;
    28 version plain;
    29 version_info plain;
    30 accepted_resource_roles plain;
    31 executor plain;
    32 executor_resources json;
    33 readiness_checks json;
    34 check json;
    35 residency json;
    36 resource_limits json;
    37 secrets json;
    38 tty plain;
}

/// Fields are in the order of their tags: there is one way to write a definition.
fn read(mut fields: &[u8]) -> Result<App, Error> {
    let mut app = USUAL.clone();
    let mut before = 0;
    while let Some((&tag, rest)) = fields.split_first() {
        if tag <= before {
            return Err(Error::DeserializeBadEncoding);
        }
        (before, fields) = (tag, rest);
        read_field(tag, &mut app, &mut fields)?;
    }
    Ok(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(app: App) -> Vec<u8> {
        let bytes = postcard::to_stdvec(&StoredApp(Arc::new(app))).unwrap();
        postcard::from_bytes::<&[u8]>(&bytes).unwrap().to_vec()
    }

    fn back(bytes: &[u8]) -> Result<App, Error> {
        let framed = postcard::to_stdvec(bytes).unwrap();
        postcard::from_bytes::<StoredApp>(&framed).map(|app| App::clone(&app.0))
    }

    #[test]
    fn what_is_usual_takes_no_room_and_what_differs_comes_back() {
        assert_eq!(stored(USUAL.clone()), [FORM]);
        assert_eq!(back(&[FORM]).as_ref(), Ok(&*USUAL));
        let app = App { cmd: Some("x".to_owned()), instances: 300, tty: Some(true), ..USUAL.clone() };
        let bytes = stored(app.clone());
        assert_eq!(bytes, [FORM, 2, 1, 1, b'x', 4, 0xac, 2, 38, 1, 1]);
        assert_eq!(back(&bytes), Ok(app));
    }

    #[test]
    fn json_is_read_too() {
        assert_eq!(back(&serde_json::to_vec(&*USUAL).unwrap()).as_ref(), Ok(&*USUAL));
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        // Nothing, an unknown form, an unknown field, no field, one said twice, one out of order, one cut short,
        // and one that is no app's.
        for wrong in [
            &[][..],
            &[2],
            &[FORM, 200, 1],
            &[FORM, 0],
            &[FORM, 8, 1, 8, 1],
            &[FORM, 8, 1, 4, 1],
            &[FORM, 2, 1],
            b"{}",
        ] {
            assert!(back(wrong).is_err(), "{wrong:?}");
        }
    }
}
