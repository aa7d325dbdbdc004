//! Properties of reading app documents: no input panics, and what is accepted is stable: it can be shown,
//! stored, posted again and updated with nothing without changing.

use std::path::Path;
use std::sync::LazyLock;

use gantry_spec::app::{AppDocument, StoredApp, Update, create, update};
use gantry_spec::features::{Features, KNOWN};
use gantry_spec::{App, Violations};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Every document of the conformance suite, good and bad: the seeds of mutation.
static DOCUMENTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/marathon");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let documents = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
    documents.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
});

/// The names of all fields anywhere in the documents, so that random objects look like apps.
static FIELDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names = Vec::new();
    DOCUMENTS.iter().for_each(|document| collect_names(document, &mut names));
    names.sort();
    names.dedup();
    names
});

fn collect_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            names.push(name.clone());
            collect_names(field, names);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

fn features(role: &str) -> Features {
    Features {
        enabled: KNOWN.iter().map(|name| (*name).to_owned()).collect(),
        default_role: role.to_owned(),
        ..Features::default()
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..70_000u32).prop_map(Value::from),
        (-1.0e6..1.0e6f64).prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z0-9/.-]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "disabled",
            "DOCKER",
            "mesos",
            "HOST",
            "host",
            "container",
            "RW",
            "udp,tcp",
            "COMMAND",
            "MESOS_TCP",
            "csi",
            "dvdi",
            "UNIQUE",
            "like",
            "hostname",
            "(",
            "*",
            "/",
            "..",
            "unlimited",
            "v1",
        ])
        .prop_map(Value::from),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 48, 6, |inner| {
        let name = prop_oneof![8 => prop::sample::select(&**FIELDS), 1 => "\\PC{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..7)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// One change: walk down by `turns`, then put `with` in place of what is there.
fn mutate(value: &mut Value, turns: &[prop::sample::Index], with: Value) {
    let Some((turn, rest)) = turns.split_first() else {
        *value = with;
        return;
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            let n = turn.index(items.len());
            mutate(&mut items[n], rest, with);
        }
        Value::Object(fields) if !fields.is_empty() => {
            let n = turn.index(fields.len());
            let field = fields.values_mut().nth(n).expect("n is below the length");
            mutate(field, rest, with);
        }
        _ => *value = with,
    }
}

/// A document out of the suite with fields of another one laid over it, then changed at some places.
fn mutant() -> impl Strategy<Value = Value> {
    let document = || prop::sample::select(&**DOCUMENTS);
    let change = (prop::collection::vec(any::<prop::sample::Index>(), 1..5), json_value());
    let borrowed = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (document(), document(), borrowed, prop::collection::vec(change, 0..3)).prop_map(
        |(mut document, donor, borrowed, changes)| {
            let fields: Vec<(&String, &Value)> = donor.as_object().unwrap().iter().collect();
            for index in borrowed {
                let (name, field) = fields[index.index(fields.len())];
                document[name] = field.clone();
            }
            for (turns, with) in changes {
                mutate(&mut document, &turns, with);
            }
            document
        },
    )
}

fn assert_stable(app: &App, features: &Features) {
    let shown = serde_json::to_value(app).unwrap();
    assert_eq!(&serde_json::from_value::<App>(shown.clone()).unwrap(), app, "read back");
    let (document, stored) = (AppDocument(app.clone().into()), StoredApp(app.clone().into()));
    let bytes = postcard::to_stdvec(&stored).unwrap();
    assert_eq!(postcard::from_bytes::<StoredApp>(&bytes).unwrap(), stored, "stored");
    let bytes = postcard::to_stdvec(&document).unwrap();
    assert_eq!(postcard::from_bytes::<AppDocument>(&bytes).unwrap(), document, "sent");
    assert_eq!(postcard::from_bytes::<StoredApp>(&bytes).unwrap(), stored, "stored as JSON");
    let again = create(&shown, features).unwrap_or_else(|error| panic!("posting again: {error}\n{shown}"));
    assert_eq!(&again, app, "posted again");
    let kept = App { executor_resources: None, resource_limits: None, ..app.clone() };
    assert_eq!(update(app, &json!({}), features), Ok(Update::Define(Box::new(kept))), "nothing updated");
}

fn assert_told(violations: &Violations) {
    assert!(!violations.list.is_empty(), "refused without a reason");
    assert!(violations.list.iter().all(|violation| violation.path.starts_with('/')), "{violations}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_json_is_answered(document in json_value(), base in "[a-z/.]{0,8}") {
        let features = features("*");
        if let Err(violations) = create(&document, &features) {
            assert_told(&violations);
        }
        let _ = gantry_spec::app::create_in(&document, &base, &features);
        let app = create(&json!({"id": "/a", "cmd": "sleep 1"}), &features).unwrap();
        if let Err(violations) = update(&app, &document, &features) {
            assert_told(&violations);
        }
    }

    #[test]
    fn what_is_accepted_is_stable(document in mutant(), role in prop::sample::select(vec!["*", "prod"])) {
        let features = features(role);
        match create(&document, &features) {
            Ok(app) => assert_stable(&app, &features),
            Err(violations) => assert_told(&violations),
        }
    }

    #[test]
    fn updates_of_apps_end_in_stable_apps(first in mutant(), second in mutant()) {
        let features = features("prod");
        let Ok(app) = create(&first, &features) else { return Ok(()) };
        match update(&app, &second, &features) {
            Ok(Update::Define(updated)) => {
                prop_assert_eq!(&updated.id, &app.id);
                assert_stable(&updated, &features);
            }
            Ok(Update::Rollback(_)) => prop_assert!(second.get("version").is_some()),
            Err(violations) => assert_told(&violations),
        }
    }
}

/// The properties above mean something only if a good part of what they try is accepted.
#[test]
fn mutants_are_often_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let features = features("prod");
    let accepted = (0..500).filter(|_| {
        let document = mutant().new_tree(&mut runner).unwrap().current();
        create(&document, &features).is_ok()
    });
    let accepted = accepted.count();
    assert!((50..450).contains(&accepted), "{accepted} of 500");
}
