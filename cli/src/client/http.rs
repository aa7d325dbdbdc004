//! Requests to the masters, and their refusals as one line a person can act on. Any master will do: the one
//! that answered last is asked first, `retry` says what follows a failure.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;

use super::retry::{self, Attempt, Next, Trouble};
use super::round::{Round, unknown};

/// Longest wait for an answer that is not a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for what another master can be asked as well: this one may hang.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for the first bytes of a stream: masters wait for agents before they send a log.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a sign of life while there are others to ask.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Masters that are kept in mind; far more than vote in any sane cluster.
const MASTERS_MAX: usize = 32;

/// The masters' REST API.
pub struct Master {
    /// Where they answer.
    bases: RefCell<Vec<String>>,
    /// The one to ask.
    current: Cell<usize>,
    /// Has any of them answered?
    answered: Cell<bool>,
    /// Was the user told that this may take a while?
    told: Cell<bool>,
    http: reqwest::Client,
}

/// A refusal, with what the master said.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// `message` of the body and its details, on one line.
    pub message: String,
}

/// A request.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    accept: &'a str,
    headers: &'a [(&'static str, String)],
    body: Option<&'a Value>,
    kind: Kind,
}

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A sign of life.
    Ping,
    /// An answer.
    Whole,
    /// A stream that may have no end.
    Stream,
}

impl Ask<'_> {
    /// Does asking twice do no harm?
    fn is_harmless(&self) -> bool {
        self.method == Method::GET
    }

    /// Longest wait; shorter when there are other masters to ask.
    fn patience(&self, others: bool) -> Duration {
        match self.kind {
            Kind::Stream => STREAM_TIMEOUT,
            Kind::Ping if others => PING_TIMEOUT,
            Kind::Whole if self.is_harmless() && others => READ_TIMEOUT,
            Kind::Ping | Kind::Whole => ANSWER_TIMEOUT,
        }
    }
}

/// An attempt without a good answer; without a `trouble` that is final.
struct Failed {
    trouble: Option<Trouble>,
    error: anyhow::Error,
}

impl Master {
    /// At `bases`, for example `http://127.0.0.1:8080`; the first is asked first.
    pub fn new(bases: &[String]) -> anyhow::Result<Self> {
        let bases: Vec<String> =
            bases.iter().filter(|base| !base.is_empty()).map(|base| absolute(base)).collect();
        anyhow::ensure!(!bases.is_empty(), "--master names no master");
        // No proxy: a cluster's masters are reached directly, whatever the environment says for the web.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self {
            bases: RefCell::new(bases),
            current: Cell::default(),
            answered: Cell::default(),
            told: Cell::default(),
            http,
        })
    }

    /// Asks for JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for JSON that may not be there.
    pub async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == StatusCode::NOT_FOUND => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Sends JSON (or nothing) and reads the JSON answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let ask = Ask { method, path, accept: "application/json", headers: &[], body, kind: Kind::Whole };
        if !ask.is_harmless() && !self.answered.get() {
            // A change is not asked for twice, so whom to ask is found out first.
            self.find_awake().await?;
        }
        let text = self.send(&ask, Response::text).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{} did not answer in JSON", self.base()))
    }

    /// Opens a stream that may go on for ever.
    pub async fn stream(&self, path: &str, accept: &str) -> anyhow::Result<Response> {
        self.stream_with(path, accept, &[]).await
    }

    /// The same with further headers.
    pub async fn stream_with(
        &self,
        path: &str,
        accept: &str,
        headers: &[(&'static str, String)],
    ) -> anyhow::Result<Response> {
        let ask = Ask { method: Method::GET, path, accept, headers, body: None, kind: Kind::Stream };
        self.send(&ask, async |answer| Ok(answer)).await
    }

    /// Does a master answer there at all?
    pub async fn answers(base: &str) -> bool {
        let Ok(http) = reqwest::Client::builder().no_proxy().timeout(PING_TIMEOUT).build() else {
            return false;
        };
        http.get(format!("{}/ping", absolute(base))).send().await.is_ok()
    }

    /// Learns where the other masters are, for what takes long; those that were named are asked first.
    pub async fn learn(&self) {
        let request = self.http.get(format!("{}/v2/masters?stale=true", self.base())).timeout(READ_TIMEOUT);
        let Ok(answer) = request.send().await else { return };
        let Ok(masters) = answer.json::<Value>().await else { return };
        let mut bases = self.bases.borrow_mut();
        for master in masters["masters"].as_array().into_iter().flatten() {
            let Some(http) = master["http"].as_str().filter(|http| !http.is_empty()) else { continue };
            let base = absolute(http);
            if !bases.contains(&base) && bases.len() < MASTERS_MAX {
                bases.push(base);
            }
        }
    }

    /// What was begun with the current master broke off: another one is asked next, one that answers.
    pub async fn move_on(&self) -> anyhow::Result<()> {
        self.turn(self.current.get());
        self.find_awake().await
    }

    /// Passes over masters that are silent.
    async fn find_awake(&self) -> anyhow::Result<()> {
        if self.bases.borrow().len() == 1 {
            return Ok(());
        }
        let (accept, kind) = ("*/*", Kind::Ping);
        let ping = Ask { method: Method::GET, path: "/ping", accept, headers: &[], body: None, kind };
        match self.send(&ping, Response::text).await {
            // A refusal is a sign of life, too.
            Err(error) if error.downcast_ref::<Refused>().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// The master that is asked next.
    pub fn base(&self) -> String {
        self.bases.borrow()[self.current.get()].clone()
    }

    fn turn(&self, from: usize) {
        // Another request may have turned already.
        if self.current.get() == from {
            self.current.set((from + 1) % self.bases.borrow().len());
        }
    }

    /// Asks until there is an answer or there will be none.
    async fn send<T>(
        &self,
        ask: &Ask<'_>,
        read: impl AsyncFn(Response) -> reqwest::Result<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let mut untried = self.bases.borrow().len();
        let mut round = Round::default();
        loop {
            let asked = self.current.get();
            untried = untried.saturating_sub(1);
            let failed = match self.attempt(ask, untried > 0, &read).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Some(trouble) = failed.trouble else { return Err(failed.error) };
            round.note(self.base(), trouble, &failed.error);
            let (harmless, answered, elapsed) = (ask.is_harmless(), self.answered.get(), started.elapsed());
            match retry::next(Attempt { trouble, harmless, untried, answered, elapsed }) {
                Next::Another => {}
                Next::After(pause) => {
                    self.tell(&round);
                    tokio::time::sleep(pause).await;
                    untried = self.bases.borrow().len();
                }
                Next::GiveUp if matches!(trouble, Trouble::NoAnswer | Trouble::Unclear) && !harmless => {
                    return Err(unknown(&failed.error));
                }
                Next::GiveUp => return Err(round.verdict()),
            }
            self.turn(asked);
        }
    }

    async fn attempt<T>(
        &self,
        ask: &Ask<'_>,
        others: bool,
        read: &impl AsyncFn(Response) -> reqwest::Result<T>,
    ) -> Result<T, Failed> {
        let base = self.base();
        let request = self.http.request(ask.method.clone(), format!("{base}{}", ask.path));
        let mut request = request.header(header::ACCEPT, ask.accept);
        for (name, value) in ask.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = ask.body {
            request = request.json(body);
        }
        let hung = || Failed { trouble: Some(Trouble::NoAnswer), error: silence(&base) };
        let within = tokio::time::Instant::now() + ask.patience(others);
        let sent = tokio::time::timeout_at(within, request.send()).await.map_err(|_| hung())?;
        let answer = sent.map_err(|error| unreachable(&base, &error))?;
        self.answered.set(true);
        if !answer.status().is_success() {
            return Err(self.refused(answer).await);
        }
        let read = tokio::time::timeout_at(within, read(answer)).await.map_err(|_| hung())?;
        read.map_err(|error| unreachable(&base, &error))
    }

    async fn refused(&self, answer: Response) -> Failed {
        let status = answer.status();
        let later =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let unavailable = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        // Masters say when to come back only after doing nothing.
        let not_now = later.map(|seconds| Trouble::NotNow(Duration::from_secs(seconds)));
        let trouble = unavailable.then(|| not_now.unwrap_or(Trouble::Unclear));
        let text = tokio::time::timeout(READ_TIMEOUT, answer.text()).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        Failed { trouble, error: Refused { status, message: refusal(status, &text) }.into() }
    }

    /// Says once in a run why it takes so long.
    fn tell(&self, round: &Round) {
        if !self.told.replace(true) {
            let (most, why) = (retry::PATIENCE.as_secs(), round.reason());
            anstream::eprintln!("waiting for a leader, up to {most} s ({why})");
        }
    }
}

fn unreachable(base: &str, error: &reqwest::Error) -> Failed {
    let trouble = if error.is_connect() { Trouble::NoConnection } else { Trouble::NoAnswer };
    Failed { trouble: Some(trouble), error: silence(base) }
}

fn silence(base: &str) -> anyhow::Error {
    anyhow!("the master at {base} was asked and did not answer")
}

/// A base as `http://host:port`, without a slash at its end.
fn absolute(base: &str) -> String {
    let base = base.trim().trim_end_matches('/');
    if base.contains("://") { base.to_owned() } else { format!("http://{base}") }
}

/// The message of an error body and its details: `Object is not valid: /id: must not be root`.
fn refusal(status: StatusCode, text: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return format!("the master answered {status}");
    };
    let mut line = body["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    match &body["details"] {
        Value::String(detail) => line = format!("{line}: {detail}"),
        Value::Array(details) => {
            for detail in details {
                for error in detail["errors"].as_array().into_iter().flatten() {
                    let (path, error) =
                        (detail["path"].as_str().unwrap_or("/"), error.as_str().unwrap_or(""));
                    line = format!("{line}; {path}: {error}");
                }
            }
        }
        _ => {}
    }
    let locked: Vec<&str> =
        body["deployments"].as_array().into_iter().flatten().filter_map(|held| held["id"].as_str()).collect();
    if !locked.is_empty() {
        line = format!("{line} (deployment {}; --force cancels it)", locked.join(", "));
    }
    line
}

/// The path of an app below `prefix`: ids are written with their leading slash.
pub fn app_path(id: &str) -> String {
    format!("/v2/apps/{}", id.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_one_line() {
        let body =
            r#"{"message":"Object is not valid","details":[{"path":"/id","errors":["must not be root"]}]}"#;
        assert_eq!(
            refusal(StatusCode::UNPROCESSABLE_ENTITY, body),
            "Object is not valid; /id: must not be root"
        );
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, "<html>"), "the master answered 502 Bad Gateway");
        let locked = r#"{"message":"App is locked.","deployments":[{"id":"d1"}]}"#;
        assert_eq!(
            refusal(StatusCode::CONFLICT, locked),
            "App is locked. (deployment d1; --force cancels it)"
        );
    }
}
