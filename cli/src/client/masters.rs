//! `clusterctl masters`: who leads and who follows, taking a master out, handing over.

use anyhow::{Context, bail};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json as value};

use super::http::Master;
use super::table::{json, number, paint, print, table, text};
use crate::args::{GREEN, MastersVerb, Output, RED, YELLOW};

/// Runs one of them.
pub async fn run(master: &Master, output: Output, verb: Option<MastersVerb>) -> anyhow::Result<()> {
    match verb {
        None | Some(MastersVerb::List) => list(master, output).await,
        Some(MastersVerb::Remove { name }) => remove(master, output, &name).await,
        Some(MastersVerb::Transfer { to }) => transfer(master, output, to.as_deref()).await,
    }
}

async fn list(master: &Master, output: Output) -> anyhow::Result<()> {
    match master.get("/v2/masters").await {
        Ok(answer) => show(output, &answer),
        Err(error) => {
            // Without a leader it is what a person wants to know: who is up?
            if let Ok(mut known) = master.get("/v2/masters?stale=true").await {
                ping(&mut known).await;
                show(output, &known)?;
            }
            Err(error)
        }
    }
}

/// Followers do not know who can be reached: asks each master itself.
async fn ping(listed: &mut Value) {
    let Some(masters) = listed["masters"].as_array_mut() else { return };
    let pings = masters.iter().map(|one| Master::answers(one["http"].as_str().unwrap_or_default()));
    for (answers, one) in join_all(pings).await.into_iter().zip(masters) {
        one["reachable"] = answers.into();
    }
}

fn show(output: Output, answer: &Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return json(answer);
    }
    let mut rows = table(&["MASTER", "ID", "ROLE", "LEADS", "REACHABLE", "BEHIND", "HTTP", "VERSION"]);
    let mut masters: Vec<&Value> = answer["masters"].as_array().into_iter().flatten().collect();
    masters.sort_by_key(|one| (text(&one["name"]), one["id"].as_u64()));
    for one in masters {
        rows.add_row([
            text(&one["name"]),
            number(&one["id"]),
            role(one),
            if one["leader"] == true { paint(GREEN, "yes") } else { "-".to_owned() },
            reachable(one),
            number(&one["behind"]),
            text(&one["http"]),
            text(&one["version"]),
        ]);
    }
    print(rows, &[1, 5], "no masters");
    Ok(())
}

fn role(one: &Value) -> String {
    let role = text(&one["role"]);
    paint(if role == "voter" { GREEN } else { YELLOW }, &role)
}

fn reachable(one: &Value) -> String {
    match one["reachable"].as_bool() {
        Some(true) => paint(GREEN, "yes"),
        Some(false) => paint(RED, "no"),
        None => "-".to_owned(),
    }
}

async fn remove(master: &Master, output: Output, name: &str) -> anyhow::Result<()> {
    let answer = master.call(Method::DELETE, &format!("/v2/masters/{}", segment(name)?), None).await?;
    if output == Output::Json {
        return json(&answer);
    }
    println!("master {name} is taken out; end its process if it still runs");
    Ok(())
}

async fn transfer(master: &Master, output: Output, to: Option<&str>) -> anyhow::Result<()> {
    let path = match to {
        None => "/v2/leader".to_owned(),
        Some(to) => format!("/v2/leader?to={}", segment(to)?),
    };
    let answer = master.call(Method::DELETE, &path, None).await?;
    // Who leads now is the answer that counts; it is asked of whoever knows.
    let masters = master.get("/v2/masters").await?;
    let leader = masters["masters"].as_array().into_iter().flatten().find(|one| one["leader"] == true);
    let leader = leader.context("nobody leads yet; `clusterctl masters` shows who does")?;
    if output == Output::Json {
        return json(&value!({"leader": leader["name"], "message": answer["message"]}));
    }
    println!("{} leads now", text(&leader["name"]));
    Ok(())
}

/// A name or a number as a part of a path.
fn segment(name: &str) -> anyhow::Result<&str> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(good) {
        bail!("`{name}` is no name of a master; `clusterctl masters` lists them");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_paths() {
        for good in ["m1", "3", "master-a.example_1"] {
            assert!(segment(good).is_ok(), "{good}");
        }
        for wrong in ["", "a/b", "a?b", "a b", "%2e"] {
            assert!(segment(wrong).is_err(), "{wrong}");
        }
    }
}
