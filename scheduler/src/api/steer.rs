//! From a request to whoever answers it, and on to the next when the leader changes meanwhile. `decide` says
//! who it is; what was surely not done may be done by another.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::answer;
use super::call::Call;
use super::context::Api;
use super::decide::{Asked, Decision, Here, Refused, decide};
use super::failure::Failure;
use super::forward::Unanswered;
use super::route::Route;
use super::{body, dispatch, guard};
use crate::cluster::Leadership;

/// Leaders that a request is brought to at most; it is out of time before.
const LEADERS_MAX: usize = 8;
/// On a stale read: the log index that the answer is at least as new as.
const INDEX: HeaderName = HeaderName::from_static("x-gantry-index");

/// What a leader, or this master, made of a request.
enum Tried {
    /// This is the answer.
    Answered(Response),
    /// Nothing was done, and another may lead in a moment.
    Undone(Failure),
}

/// Answers, or has it answered.
pub(super) async fn answer(api: &Arc<Api>, call: &Call, body: Body) -> Response {
    let refused = match guard::check_origin(&call.method, &call.headers) {
        Ok(()) => match steered(api, call, body).await {
            Ok(answered) => return answered,
            Err(refused) => refused,
        },
        Err(refused) => refused,
    };
    own(api, &api.election.leadership(), refused.into_response())
}

async fn steered(api: &Arc<Api>, call: &Call, body: Body) -> Result<Response, Failure> {
    let route = Route::of(&call.path);
    let (mut unread, mut held) = (Some(body), Bytes::new());
    let mut deadline = None;
    let mut last = Failure::no_leader();
    for _ in 0..LEADERS_MAX {
        let leadership = api.election.leadership();
        let decision = decide(
            Asked { route: &route, method: &call.method, query: &call.query, headers: &call.headers },
            Here {
                leadership: &leadership,
                advertised: &api.cluster.options.advertised_http,
                has_state: !api.cluster.state().cluster_id.is_nil(),
            },
        );
        // A body that comes with a read means nothing (clients.md rule 6).
        if takes_body(&decision, &call.method)
            && let Some(body) = unread.take()
        {
            held = body::take(&call.headers, body).await?;
            // It may have taken long to come.
            if api.election.leadership() != leadership {
                continue;
            }
        }
        match attempt(api, (call, &held), decision, &leadership).await? {
            Tried::Answered(response) => return Ok(response),
            Tried::Undone(failure) => last = failure,
        }
        let deadline = *deadline.get_or_insert_with(|| api.election.patience());
        if !api.election.another(&leadership, deadline).await {
            break;
        }
    }
    Err(last)
}

fn takes_body(decision: &Decision, method: &Method) -> bool {
    let works = matches!(decision, Decision::Serve | Decision::ServeCurrent | Decision::Proxy(_));
    works && !matches!(*method, Method::GET | Method::HEAD)
}

async fn attempt(
    api: &Arc<Api>,
    (call, body): (&Call, &Bytes),
    decision: Decision,
    leadership: &Leadership,
) -> Result<Tried, Failure> {
    let served = match decision {
        Decision::Serve => dispatch::answer(api, call, body).await,
        Decision::ServeCurrent => match api.current().await {
            Ok(()) => dispatch::answer(api, call, body).await,
            Err(failure) => Err(failure),
        },
        Decision::ServeStale => {
            let index = api.cluster.state().index.to_string();
            dispatch::answer(api, call, body).await.map(|response| answer::with(response, INDEX, &index))
        }
        Decision::Redirect(leader) => {
            let target = format!("http://{leader}{}", call.target);
            Ok(answer::with(answer::plain(StatusCode::FOUND, ""), header::LOCATION, &target))
        }
        Decision::Proxy(leader) => {
            let sent = api.forwarder.send(&api.election, (call, body.clone()), (&leader, leadership)).await;
            return match sent {
                // Its headers are the leader's.
                Ok(response) => Ok(Tried::Answered(response)),
                Err(Unanswered::Undone(failure)) => Ok(Tried::Undone(failure)),
                Err(Unanswered::Unknown(failure)) => Err(failure),
            };
        }
        Decision::Refuse(Refused::NoLeader) => return Ok(Tried::Undone(Failure::no_leader())),
        Decision::Refuse(Refused::NotLeading) => return Err(Failure::not_leading()),
        Decision::Refuse(Refused::Loop) => Err(Failure::proxy_loop()),
    };
    match served {
        Err(failure) if failure.is_elsewhere() => Ok(Tried::Undone(failure)),
        served => Ok(Tried::Answered(own(api, leadership, served.unwrap_or_else(Failure::into_response)))),
    }
}

/// Puts on the headers of this master's own answers.
fn own(api: &Api, leadership: &Leadership, mut response: Response) -> Response {
    guard::put_headers(&mut response, leadership, &api.cluster.options.advertised_http);
    response
}
