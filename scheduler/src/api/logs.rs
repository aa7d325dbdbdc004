//! `GET /v1/logs/{taskId}?file=stdout|stderr&tail=N&follow=true`: a task's output as its agent sends it.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use spec::ids::{AgentId, TaskId};
use spec::protocol::LogFile;
use tokio::sync::mpsc;

use super::answer;
use super::call::{Call, Query};
use super::context::Api;
use super::failure::Failure;
use crate::cluster::{AskError, LogRequest};
use crate::state::{Presence, State};

/// Parts that may wait for a slow reader; the agent's session holds the rest back.
const PARTS_MAX: usize = 16;
/// How long the request may wait on its way to the agent's session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the status line waits for the first part, which may be a refusal. A log without content that
/// is followed has none.
const FIRST_PART: Duration = Duration::from_secs(2);

type Part = Result<Vec<u8>, String>;

/// Streams a log.
pub(super) async fn stream(api: &Api, call: &Call, task: &str) -> Result<Response, Failure> {
    let id: TaskId = task.parse().map_err(|_| Failure::no_task(task))?;
    let agent = agent_of(&api.cluster.state(), &id, call.query.one("agent"))?;
    let (parts, mut queue) = mpsc::channel(PARTS_MAX);
    let request = request(id, agent, &call.query, parts)?;
    tokio::time::timeout(OPEN_TIMEOUT, api.cluster.open_log(request)).await.map_err(|_| AskError::Busy)??;
    let first = match tokio::time::timeout(FIRST_PART, queue.recv()).await {
        Ok(Some(Err(reason))) => return Err(Failure::not_found(reason)),
        Ok(Some(Ok(first))) => first,
        Ok(None) | Err(_) => Vec::new(),
    };
    let ending = api.ending.clone().cancelled_owned();
    let body = stream::once(async { Ok(first) }).chain(rest(queue)).take_until(ending);
    let body = body.map(|part: Part| part.map(Bytes::from).map_err(std::io::Error::other));
    let response = answer::plain(StatusCode::OK, Body::from_stream(body.boxed()));
    let response = answer::with(response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    Ok(answer::with(response, HeaderName::from_static("x-content-type-options"), "nosniff"))
}

fn rest(queue: mpsc::Receiver<Part>) -> impl futures_util::Stream<Item = Part> + Send {
    stream::unfold(queue, |mut queue| async { queue.recv().await.map(|part| (part, queue)) })
}

fn request(
    task: TaskId,
    agent: AgentId,
    query: &Query,
    parts: mpsc::Sender<Part>,
) -> Result<LogRequest, Failure> {
    let file = match query.one("file") {
        None | Some("stdout") => LogFile::Stdout,
        Some("stderr") => LogFile::Stderr,
        Some(_) => return Err(Failure::illegal("file must be stdout or stderr")),
    };
    let tail = query.one("tail").map(str::parse).transpose();
    let tail_lines = tail.map_err(|_| Failure::illegal("tail must be a number of lines"))?;
    Ok(LogRequest { task, agent, file, tail_lines, follow: query.flag("follow", false), parts })
}

/// Where the task runs or ran: the state knows the running ones and each app's last failure, the client
/// may know others.
fn agent_of(state: &State, task: &TaskId, asked: Option<&str>) -> Result<AgentId, Failure> {
    let running = state.tasks.get(task).map(|task| task.agent.clone());
    let failed = || {
        let failure = state.apps.get(task.app())?.last_failure.as_ref()?;
        (failure.task == *task).then(|| failure.agent.clone())
    };
    let agent = running.or_else(failed).or_else(|| asked.map(AgentId::new));
    let known = agent.and_then(|agent| state.agents.get(&agent));
    let known = known.ok_or_else(|| Failure::no_task(&task.to_string()))?;
    match known.presence {
        Presence::Connected => Ok(known.id.clone()),
        Presence::Lost => Err(Failure::unavailable(format!("Agent {} is away", known.info.hostname))),
    }
}
