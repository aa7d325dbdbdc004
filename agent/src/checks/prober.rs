//! Does the probing: one task per check, results to the node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use spec::ids::TaskId;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::plan::{HttpProbe, Plan, Probe};
use super::{CheckKey, Probed, Response};
use crate::runtime::Runtime;

/// Probes under way at once on one agent (Marathon's limit for its leader).
pub const PROBES_MAX: usize = 256;
/// No more of a response's body is read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Probes one check until dropped, or until it has passed for good. `result` says whether to go on.
pub async fn run<F>(
    plan: Plan,
    task: TaskId,
    runtime: Arc<dyn Runtime>,
    limit: Arc<Semaphore>,
    mut result: impl FnMut(CheckKey, Probed) -> F,
) where
    F: Future<Output = bool>,
{
    tokio::time::sleep(plan.first).await;
    loop {
        let Ok(permit) = limit.acquire().await else {
            return;
        };
        let probed = probe(&plan, &task, &*runtime).await;
        drop(permit);
        let done = matches!((&plan.key, &probed), (CheckKey::Readiness(_), Probed::Passed(_)));
        if !result(plan.key.clone(), probed).await || done {
            return;
        }
        tokio::time::sleep(plan.interval).await;
    }
}

/// One probe, within its time.
pub async fn probe(plan: &Plan, task: &TaskId, runtime: &dyn Runtime) -> Probed {
    let probing = async {
        match &plan.probe {
            Probe::Http(http) => get(http).await,
            Probe::Connect(target) => connect(*target).await.map(|_| Probed::Passed(None)),
            Probe::Command(command) => exec(command, task, runtime).await,
            Probe::Impossible(why) => Err(why.clone()),
            Probe::Simulated => Ok(Probed::Passed(None)),
        }
    };
    let outcome = tokio::time::timeout(plan.timeout, probing).await;
    let outcome = outcome.unwrap_or_else(|_| Err(timed_out(plan.timeout)));
    outcome.unwrap_or_else(|cause| failed(&plan.probe, cause))
}

fn timed_out(after: Duration) -> String {
    format!("no answer within {} s", after.as_secs())
}

/// Marathon gives a readiness check that reached nothing this answer (section 5.6).
fn failed(probe: &Probe, cause: String) -> Probed {
    let response = match probe {
        Probe::Http(http) if http.keep_body => Some(Response {
            status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
            content_type: "text/plain".to_owned(),
            body: format!("Marathon could not query http://{}{}: {cause}", http.target, http.path),
        }),
        _ => None,
    };
    Probed::Failed(cause, response)
}

async fn connect(target: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(target).await.map_err(|error| format!("{target}: {error}"))
}

async fn exec(command: &str, task: &TaskId, runtime: &dyn Runtime) -> Result<Probed, String> {
    match runtime.exec(task, command).await {
        Ok(0) => Ok(Probed::Passed(None)),
        Ok(code) => Err(format!("Command returned exit code {code}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn get(probe: &HttpProbe) -> Result<Probed, String> {
    let stream = connect(probe.target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // The connection is driven beside the request and ends with it.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let informed = Arc::new(Mutex::new(None));
    let answer = sender.send_request(request(probe, informed.clone())?).await;
    let informed = *informed.lock().unwrap_or_else(PoisonError::into_inner);
    match (answer, informed) {
        (Ok(response), _) => judge(probe, response).await,
        (Err(_), Some(_)) if probe.ignore_1xx => Ok(Probed::Ignored),
        (Err(_), Some(status)) => Err(format!("answered {status} and nothing else")),
        (Err(error), None) => Err(error.to_string()),
    }
}

/// `informed` keeps the last informational status, which hyper does not count as an answer.
fn request(
    probe: &HttpProbe,
    informed: Arc<Mutex<Option<StatusCode>>>,
) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(&probe.path)
        .header(HOST, probe.target.to_string())
        .header(USER_AGENT, concat!("gantry-agent/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| format!("'{}': {error}", probe.path))?;
    hyper::ext::on_informational(&mut request, move |response| {
        *informed.lock().unwrap_or_else(PoisonError::into_inner) = Some(response.status());
    });
    Ok(request)
}

async fn judge(probe: &HttpProbe, response: hyper::Response<Incoming>) -> Result<Probed, String> {
    let status = response.status();
    let passes = match probe.codes.as_slice() {
        [] => (200..400).contains(&status.as_u16()),
        codes => codes.contains(&status.as_u16()),
    };
    if status.is_informational() && probe.ignore_1xx {
        return Ok(Probed::Ignored);
    }
    let kept = if probe.keep_body { Some(keep(response).await) } else { None };
    Ok(if passes { Probed::Passed(kept) } else { Probed::Failed(format!("HTTP status {status}"), kept) })
}

async fn keep(response: hyper::Response<Incoming>) -> Response {
    let status = response.status().as_u16();
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    let body = match Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => format!("(body not read: {error})"),
    };
    Response { status, content_type, body }
}

#[cfg(test)]
#[path = "prober_tests.rs"]
mod tests;
