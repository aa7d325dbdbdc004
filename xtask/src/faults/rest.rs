//! What is asked of the masters, over REST, and what their answers mean.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::net::Node;
use super::site::{Role, Site};
use crate::history::{Call, Fields, Outcome};
use crate::http::{self, NoAnswer};

/// Longest wait for an answer; an operation that takes longer is unknown.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Null when it is no JSON.
    pub body: Value,
    /// A failure that says by `Retry-After` that nothing was done.
    pub undone: bool,
}

/// One request.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &Value) -> Result<Reply, NoAnswer> {
    ask_within(TIMEOUT, address, method, path, body)
}

/// One request of somebody who waits so long.
pub fn ask_within(
    patience: Duration,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Reply, NoAnswer> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = http::patient(address, patience, method, path, &bytes)?;
    let body = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
    Ok(Reply { status: answer.status, body, undone: answer.status >= 500 && answer.retry_after })
}

/// One request; status and body.
pub fn call(address: SocketAddr, method: &str, path: &str, body: &Value) -> Result<(u16, Value), NoAnswer> {
    ask(address, method, path, body).map(|reply| (reply.status, reply.body))
}

/// A GET that must succeed.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let (status, body) = call(address, "GET", path, &Value::Null)?;
    ensure!(status == 200, "{address} GET {path}: {status} {body}");
    Ok(body)
}

/// Who leads, as the first master says that knows.
pub fn leader(site: &Site) -> Option<Node> {
    let masters = site.members.iter().filter(|member| member.role == Role::Master);
    let said = |address: SocketAddr| {
        let bytes = http::patient(address, Duration::from_millis(500), "GET", "/v2/leader", &[]).ok()?;
        let answer: Value = serde_json::from_str(&bytes.body).ok()?;
        answer["leader"].as_str()?.parse::<SocketAddr>().ok()
    };
    let leader = masters.filter(|member| member.is_started()).find_map(|member| said(member.http()))?;
    site.members.iter().find(|member| member.http() == leader).map(|member| member.node)
}

/// The request of a call on an app: method, path and body.
pub fn request(id: &str, call: Call) -> (&'static str, String, Value) {
    let app = format!("/v2/apps{id}");
    let forced = format!("{app}?force=true");
    match call {
        Call::Read => ("GET", app, Value::Null),
        Call::Delete => ("DELETE", forced, Value::Null),
        Call::Set(0, value) => ("PATCH", forced, json!({"labels": {"v": value.to_string()}})),
        Call::Set(1, value) => ("PATCH", forced, json!({"env": {"W": value.to_string()}})),
        Call::Set(_, value) => ("PATCH", forced, json!({"instances": value})),
        Call::Create([label, variable, instances]) => {
            let body = json!({
                "id": id, "cmd": "exec sleep 1000000", "cpus": 0.01, "mem": 16, "instances": instances,
                "labels": {"v": label.to_string()}, "env": {"W": variable.to_string()},
                "backoffSeconds": 0, "backoffFactor": 1,
            });
            ("POST", "/v2/apps?force=true".to_owned(), body)
        }
    }
}

/// What an answer to a call means; the error is an answer that no client should ever get.
pub fn outcome(call: Call, reply: &Result<Reply, NoAnswer>) -> Result<Outcome, String> {
    let Reply { status, body, undone } = match reply {
        Err(NoAnswer::NotConnected(_)) => return Ok(Outcome::Failed),
        Err(NoAnswer::Broken(_)) => return Ok(Outcome::Unknown),
        Ok(reply) => reply,
    };
    match (call, *status) {
        (Call::Create(_), 201) | (Call::Set(..) | Call::Delete, 200) => Ok(Outcome::Done),
        (Call::Read, 200) => match fields(&body["app"]) {
            Some(fields) => Ok(Outcome::Found(fields)),
            None => Err(format!("{call}: 200 {body}")),
        },
        (Call::Create(_), 409) if is_locked(body) => Ok(Outcome::Failed),
        (Call::Create(_), 409) => Ok(Outcome::Exists),
        (Call::Set(..) | Call::Delete | Call::Read, 404) => Ok(Outcome::Absent),
        (Call::Set(..) | Call::Delete, 409) if is_locked(body) => Ok(Outcome::Failed),
        (_, 502..=504) if *undone => Ok(Outcome::Failed),
        (_, 502..=504) => Ok(Outcome::Unknown),
        _ => Err(format!("{call}: {status} {body}")),
    }
}

fn is_locked(body: &Value) -> bool {
    body["deployments"].is_array()
}

/// The fields of an app as the API shows it.
pub fn fields(app: &Value) -> Option<Fields> {
    let number = |value: &Value| value.as_str()?.parse().ok();
    Some([number(&app["labels"]["v"])?, number(&app["env"]["W"])?, app["instances"].as_u64()?])
}

/// The list of a listing.
pub fn list<'a>(listing: &'a Value, key: &str) -> anyhow::Result<&'a Vec<Value>> {
    listing[key].as_array().with_context(|| format!("no `{key}` in {listing}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_what_they_mean() {
        let app = json!({"app": {"labels": {"v": "4"}, "env": {"W": "5"}, "instances": 2}});
        let locked = json!({"message": "App is locked", "deployments": []});
        let none = Value::Null;
        let cases: [(Call, u16, &Value, Option<Outcome>); 13] = [
            (Call::Create([1, 2, 3]), 201, &none, Some(Outcome::Done)),
            (Call::Create([1, 2, 3]), 409, &none, Some(Outcome::Exists)),
            (Call::Create([1, 2, 3]), 409, &locked, Some(Outcome::Failed)),
            (Call::Set(0, 1), 200, &none, Some(Outcome::Done)),
            (Call::Set(0, 1), 404, &none, Some(Outcome::Absent)),
            (Call::Set(0, 1), 500, &none, None),
            (Call::Set(0, 1), 504, &none, Some(Outcome::Unknown)),
            (Call::Delete, 200, &none, Some(Outcome::Done)),
            (Call::Delete, 503, &none, Some(Outcome::Unknown)),
            (Call::Read, 200, &app, Some(Outcome::Found([4, 5, 2]))),
            (Call::Read, 200, &none, None),
            (Call::Read, 404, &none, Some(Outcome::Absent)),
            (Call::Create([1, 2, 3]), 422, &none, None),
        ];
        for (call, status, body, expected) in cases {
            let reply = Reply { status, body: body.clone(), undone: false };
            assert_eq!(outcome(call, &Ok(reply)).ok(), expected, "{call} {status} {body}");
        }
        let undone = Reply { status: 503, body: none, undone: true };
        assert_eq!(outcome(Call::Delete, &Ok(undone)), Ok(Outcome::Failed));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(outcome(Call::Delete, &Err(NoAnswer::NotConnected(refused))), Ok(Outcome::Failed));
        let reset = NoAnswer::Broken(anyhow::anyhow!("reset"));
        assert_eq!(outcome(Call::Delete, &Err(reset)), Ok(Outcome::Unknown));
    }
}
