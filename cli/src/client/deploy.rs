//! `clusterctl deploy`: a document to the master, then the deployment it started.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;

use super::http::{Master, app_path};
use super::wait::{Change, wait};
use crate::args::{DeployArgs, Output};

/// Larger documents are refused by masters too.
const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;

/// Deploys a document and waits for it.
pub async fn run(master: &Master, output: Output, args: DeployArgs) -> anyhow::Result<ExitCode> {
    let document = parse(&read(&args.file)?, &args.file)?;
    let force = args.wait.force;
    let (path, apps) = match &document {
        Value::Array(list) => {
            let apps = list.iter().map(id).collect::<anyhow::Result<Vec<_>>>()?;
            (format!("/v2/apps?force={force}&partialUpdate=false"), apps)
        }
        app => {
            let id = id(app)?;
            (format!("{}?force={force}&partialUpdate=false", app_path(&id)), vec![id])
        }
    };
    let answer = master.call(Method::PUT, &path, Some(&document)).await?;
    let change = Change::to(&answer, apps.iter().map(String::as_str));
    wait(master, output, change, &args.wait, args.max_failures).await
}

fn read(file: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin()
            .lock()
            .take(DOCUMENT_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .context("standard input")?;
    } else {
        let open = std::fs::File::open(file).with_context(|| format!("cannot open {file}"))?;
        open.take(DOCUMENT_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {file}"))?;
    }
    if text.len() as u64 > DOCUMENT_BYTES_MAX {
        bail!("{file} is larger than a document may be (1 MiB)");
    }
    Ok(text)
}

fn parse(text: &str, file: &str) -> anyhow::Result<Value> {
    let document: Value = serde_json::from_str(text).with_context(|| format!("{file} is not JSON"))?;
    match &document {
        Value::Object(fields) if fields.contains_key("apps") || fields.contains_key("groups") => {
            bail!("{file} is a group: deploy its apps as an array instead (groups are not supported yet)")
        }
        Value::Object(fields) if fields.contains_key("containers") => {
            bail!("{file} is a pod: pods are not supported yet")
        }
        Value::Object(_) => Ok(document),
        Value::Array(list) if !list.is_empty() => Ok(document),
        _ => bail!("{file} holds neither an app nor an array of apps"),
    }
}

fn id(app: &Value) -> anyhow::Result<String> {
    app["id"].as_str().map(str::to_owned).context("every app needs an `id`, a text such as \"/shop/web\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart() {
        assert!(parse(r#"{"id":"/a","cmd":"x"}"#, "f").is_ok());
        assert!(parse(r#"[{"id":"/a"}]"#, "f").is_ok());
        for wrong in ["", "3", "[]", r#"{"id":"/g","apps":[]}"#, r#"{"id":"/p","containers":[]}"#] {
            assert!(parse(wrong, "f").is_err(), "{wrong}");
        }
        assert!(id(&serde_json::json!({"id": 3})).is_err());
    }
}
