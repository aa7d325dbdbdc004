//! `clusterctl agents`, `clusterctl deployments` and `clusterctl queue`.

use reqwest::Method;
use serde_json::Value;

use super::http::Master;
use super::table::{age, json, number, paint, print, table, text};
use super::why;
use crate::args::{DeploymentsArgs, GREEN, Output, RED, YELLOW};

/// Lists agents with what they have, what is reserved, and what is in use.
pub async fn agents(master: &Master, output: Output) -> anyhow::Result<()> {
    let answer = master.get("/v2/agents").await?;
    if output == Output::Json {
        return json(&answer["agents"]);
    }
    let mut rows = table(&[
        "AGENT",
        "HOST",
        "PRESENCE",
        "TASKS",
        "CPUS RESERVED",
        "USED",
        "MEM RESERVED",
        "USED",
        "ATTRIBUTES",
    ]);
    for agent in answer["agents"].as_array().into_iter().flatten() {
        let of =
            |what: &str| format!("{}/{}", number(&agent["reserved"][what]), number(&agent["capacity"][what]));
        rows.add_row([
            text(&agent["id"]),
            text(&agent["hostname"]),
            presence(agent),
            number(&agent["taskCount"]),
            of("cpus"),
            number(&agent["used"]["cpus"]),
            of("mem"),
            mebibytes(&agent["used"]["memBytes"]),
            attributes(agent),
        ]);
    }
    print(rows, &[3, 4, 5, 6, 7], "no agents; `clusterctl agent` runs one");
    Ok(())
}

fn mebibytes(bytes: &Value) -> String {
    bytes.as_u64().map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string())
}

fn presence(agent: &Value) -> String {
    let presence = text(&agent["presence"]);
    paint(if presence == "connected" { GREEN } else { RED }, &presence)
}

fn attributes(agent: &Value) -> String {
    let pairs: Vec<String> = agent["attributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}:{}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(";") }
}

/// Ends a deployment.
async fn cancel(master: &Master, output: Output, id: &str, force: bool) -> anyhow::Result<()> {
    let answer = master.call(Method::DELETE, &format!("/v2/deployments/{id}?force={force}"), None).await?;
    if output == Output::Json {
        return json(&answer);
    }
    match answer["deploymentId"].as_str() {
        Some(revert) => println!("{id} is being undone by deployment {revert}"),
        None => println!("{id} is stopped where it stood"),
    }
    Ok(())
}

/// Lists running deployments, or ends one.
pub async fn deployments(master: &Master, output: Output, args: DeploymentsArgs) -> anyhow::Result<()> {
    if let Some(id) = args.cancel {
        return cancel(master, output, &id, args.force).await;
    }
    let answer = master.get("/v2/deployments").await?;
    if output == Output::Json {
        return json(&answer);
    }
    let now = jiff::Timestamp::now();
    let mut rows = table(&["DEPLOYMENT", "AGE", "STEP", "NOW", "APPS"]);
    for deployment in answer.as_array().into_iter().flatten() {
        let actions: Vec<String> = deployment["currentActions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|action| format!("{} {}", text(&action["action"]), text(&action["app"])))
            .collect();
        let apps: Vec<String> =
            deployment["affectedApps"].as_array().into_iter().flatten().map(text).collect();
        rows.add_row([
            text(&deployment["id"]),
            age(&deployment["version"], now),
            format!("{}/{}", number(&deployment["currentStep"]), number(&deployment["totalSteps"])),
            actions.join(", "),
            apps.join(", "),
        ]);
    }
    print(rows, &[1, 2], "no deployments are running");
    Ok(())
}

/// Lists apps whose tasks wait, and why.
pub async fn queue(master: &Master, output: Output) -> anyhow::Result<()> {
    let items = why::queue(master).await?;
    if output == Output::Json {
        return json(&Value::Array(items));
    }
    let agents = why::Agents::of(master, &items).await?;
    let now = jiff::Timestamp::now();
    let mut rows = table(&["APP", "WAITING", "SINCE", "BACK-OFF", "WHY"]);
    for item in &items {
        let delay = match item["delay"]["timeLeftSeconds"].as_u64() {
            None | Some(0) => "-".to_owned(),
            Some(left) => format!("{left}s"),
        };
        rows.add_row([
            text(&item["app"]["id"]),
            paint(YELLOW, &number(&item["count"])),
            age(&item["since"], now),
            delay,
            agents.why(item).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    print(rows, &[1, 2, 3], "nothing waits");
    Ok(())
}
