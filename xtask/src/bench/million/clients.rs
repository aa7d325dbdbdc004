//! Clients that create and remove apps, as a user's program would: one request after another, and again after a
//! while when the masters say that too much is under way.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use super::mix::Shape;
use super::{Million, check_interrupted};
use crate::bench::masters::Rest;

/// Pause after a request that was refused because too many deployments run.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Pause of a probe.
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// Time for a probe's answer.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// All clients.
pub(super) struct Clients {
    options: Million,
    leader: SocketAddr,
}

/// What they met.
pub(super) struct Met {
    pub(super) refused: usize,
    /// Requests without a clear answer, said again: the leader changed.
    pub(super) repeated: usize,
}

/// What became of a request.
enum Sent {
    Done,
    /// Too many deployments run.
    Refused,
    /// Nobody knows.
    Unclear,
}

/// The name of an app.
pub(super) fn app_id(number: usize) -> String {
    format!("/bench/app-{number:05}")
}

impl Clients {
    pub(super) fn of(options: &Million, leader: SocketAddr) -> Self {
        Self { options: options.clone(), leader }
    }

    /// Creates every app.
    pub(super) async fn create(self) -> anyhow::Result<Met> {
        let options = self.options.clone();
        self.each(move |number| {
            let document = Shape::of(number, &options).document(&app_id(number), &options);
            (Method::POST, "/v2/apps".to_owned(), document)
        })
        .await
    }

    /// Removes every app.
    pub(super) async fn remove(self) -> anyhow::Result<Met> {
        self.each(|number| (Method::DELETE, format!("/v2/apps{}", app_id(number)), String::new())).await
    }

    /// One request an app; each client takes the next app.
    async fn each(
        self,
        request: impl Fn(usize) -> (Method, String, String) + Clone + 'static,
    ) -> anyhow::Result<Met> {
        let (next, refused) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let repeated = Rc::new(Cell::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..self.options.clients {
            let (next, refused, request) = (next.clone(), refused.clone(), request.clone());
            let repeated = repeated.clone();
            let (apps, leader) = (self.options.apps, self.leader);
            clients.spawn_local(async move {
                let mut rest = Rest::open(leader).await?;
                while next.get() < apps {
                    let (method, path, body) = request(next.replace(next.get() + 1));
                    loop {
                        let count = match sent(&mut rest, &method, &path, &body).await? {
                            Sent::Done => break,
                            Sent::Refused => &refused,
                            Sent::Unclear => {
                                rest = Rest::open(leader).await?;
                                &repeated
                            }
                        };
                        count.set(count.get() + 1);
                        tokio::time::sleep(REFUSED_PAUSE).await;
                        check_interrupted()?;
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        Ok(Met { refused: refused.get(), repeated: repeated.get() })
    }
}

/// What is there already, or gone already, was done by an earlier attempt.
async fn sent(rest: &mut Rest, method: &Method, path: &str, body: &str) -> anyhow::Result<Sent> {
    let Ok((status, answer)) = rest.send(method.clone(), path, body.to_owned()).await else {
        return Ok(Sent::Unclear);
    };
    match status {
        StatusCode::FORBIDDEN => Ok(Sent::Refused),
        StatusCode::CONFLICT if *method == Method::POST => Ok(Sent::Done),
        StatusCode::NOT_FOUND if *method == Method::DELETE => Ok(Sent::Done),
        // The app is still being deployed.
        StatusCode::CONFLICT => Ok(Sent::Refused),
        status if status.is_server_error() => Ok(Sent::Unclear),
        status if status.is_success() => Ok(Sent::Done),
        status => bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer)),
    }
}

/// Writes a small change to one master after the other until one accepts it.
pub(super) async fn probe(masters: &[SocketAddr], patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    for (number, master) in masters.iter().cycle().enumerate() {
        let body = json!({"id": "/probe", "cmd": "true", "instances": 0,
            "labels": {"attempt": number.to_string()}});
        let attempt = async {
            let mut rest = Rest::open(*master).await?;
            let (status, _) = rest.send(Method::PUT, "/v2/apps/probe", body.to_string()).await?;
            anyhow::Ok(status.is_success())
        };
        if let Ok(Ok(true)) = tokio::time::timeout(PROBE_PATIENCE, attempt).await {
            return Ok(());
        }
        check_interrupted()?;
        if Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    None.context("no master accepts a write")
}
