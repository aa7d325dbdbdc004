//! Marathon's own documents over REST against a master without agents: each gets the status, the path and
//! the message that Marathon gives, and what is accepted can be read back. Documents that need a start-up
//! option get a master with it: some are the same text, valid with a feature and invalid without.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use scheduler::cluster::Options;
use scheduler::master::{Master, Setup, Start};
use serde_json::Value;
use spec::features::Features;
use xtask::http;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/marathon")
}

/// Cases by what they require.
fn cases() -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let index =
        std::fs::read_to_string(folder().join("index.jsonl")).context("the index of the documents")?;
    let mut by_needs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in index.lines() {
        let case: Value = serde_json::from_str(line)?;
        if case["kind"] == "app" {
            by_needs.entry(case["requires"].to_string()).or_default().push(case);
        }
    }
    Ok(by_needs)
}

fn features(needs: &Value) -> Features {
    let text = |field: &str| needs[field].as_str().map(str::to_owned);
    let enabled = needs["enable_features"].as_array().into_iter().flatten();
    Features {
        enabled: enabled.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        default_role: text("mesos_role").unwrap_or_else(|| "*".to_owned()),
        default_network_name: text("default_network_name"),
        ..Features::default()
    }
}

fn setup(dir: &Path, needs: &Value) -> Setup {
    Setup {
        options: Options { features: features(needs), ..Options::on_free_ports("m1") },
        data_dir: dir.to_owned(),
        start: Start::Bootstrap,
        at_rest: || {},
    }
}

/// What is wrong with the answer, if anything.
fn judge(address: &str, case: &Value) -> anyhow::Result<Option<String>> {
    http::tcp(address, "DELETE", "/v2/groups?force=true", &[])?;
    let body = std::fs::read(folder().join(case["file"].as_str().context("a file")?))?;
    let answer = http::tcp(address, "POST", "/v2/apps", &body)?;
    let wrong = |what: String| Ok(Some(format!("{what}; the answer was {} {}", answer.status, answer.body)));
    if case["expect"] == "valid" {
        if answer.status != 201 {
            return wrong("wanted 201".to_owned());
        }
        let Some(id) = case["result_id"].as_str() else { return Ok(None) };
        let found = http::tcp(address, "GET", &format!("/v2/apps{id}"), &[])?;
        return if found.status == 200 {
            Ok(None)
        } else {
            wrong(format!("GET {id} answers {}", found.status))
        };
    }
    let status = case["http_status"].as_u64().unwrap_or(422);
    if u64::from(answer.status) != status {
        return wrong(format!("wanted {status}"));
    }
    if let Some(message) = case["expect_message"].as_str().filter(|message| !said(&answer.body, message)) {
        return wrong(format!("no message {message:?}"));
    }
    let details: Value = serde_json::from_str(&answer.body)?;
    let paths: Vec<&Value> =
        details["details"].as_array().into_iter().flatten().map(|one| &one["path"]).collect();
    match &case["expect_path"] {
        Value::Null => Ok(None),
        path if paths.contains(&path) => Ok(None),
        path => wrong(format!("no error at {path}")),
    }
}

fn said(body: &str, message: &str) -> bool {
    let details: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    let errors = details["details"].as_array().into_iter().flatten();
    errors
        .flat_map(|one| one["errors"].as_array().into_iter().flatten())
        .any(|error| error.as_str().is_some_and(|error| error.contains(message)))
        || body.contains(message)
}

#[tokio::test(flavor = "multi_thread")]
async fn marathon_documents_get_marathon_answers() -> anyhow::Result<()> {
    let mut failures = Vec::new();
    let mut passed = 0;
    for (needs, cases) in cases()? {
        let dir = tempfile::tempdir()?;
        let master = Master::start(setup(dir.path(), &serde_json::from_str(&needs)?)).await?;
        master.cluster().leadership().wait_for(|now| now.leading).await?;
        let address = master.cluster().options.http.to_string();
        let judged = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let mut wrong = Vec::new();
            for case in &cases {
                if let Some(why) = judge(&address, case)? {
                    wrong.push(format!("{} ({}): {why}", case["file"], case["why"]));
                }
            }
            Ok((cases.len(), wrong))
        });
        let (count, wrong) = judged.await??;
        passed += count - wrong.len();
        failures.extend(wrong);
        master.stop().await;
    }
    println!("{passed} documents passed, {} failed", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(passed, 178, "every document was tried");
    Ok(())
}
