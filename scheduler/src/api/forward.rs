//! Passing a request on to the leader, as Marathon's standbys do (reference section 5.10): the same method,
//! target and body, headers but for those of the connection, the answer as it comes.
//!
//! What went wrong is told apart by whether the leader can have seen the request: what it has surely not
//! seen may be sent to the next leader.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::call::Call;
use super::decide::{self, MARATHON_VIA};
use super::election::Election;
use super::failure::Failure;
use super::route::Route;
use crate::cluster::Leadership;

/// Says, on a 503 between masters, that the one that was asked does not lead: look again.
pub(super) const NOT_LEADING: HeaderName = HeaderName::from_static("x-gantry-not-leading");
/// As Marathon's `--leader_proxy_connection_timeout`.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As Marathon's `--leader_proxy_read_timeout`: for the answer's head, and then for each part of it. The
/// leader gives up by itself before (`change::ASK_TIMEOUT`), and so says what has become of a change.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// What a leader that was replaced gets to answer for a change that it had been sent.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Idle connections kept to a leader, as Marathon's `--leader_proxy_max_open_connections`.
const IDLE_MAX: usize = 64;
/// Requests passed on at once; one more is refused.
const FORWARDED_MAX: usize = 1024;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers of one connection (RFC 9110, section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// Made anew for the next connection: the body is held whole and its length known, nobody is to be asked
/// first, and where the change came from was looked at here, against the `Host` that the client used.
const OWN: [&str; 4] = ["host", "content-length", "expect", "origin"];

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The leader has seen nothing of it.
    Undone(Failure),
    /// The leader may have done it.
    Unknown(Failure),
}

/// The way to the leader.
#[derive(Debug)]
pub(super) struct Forwarder {
    client: Client<HttpConnector, Full<Bytes>>,
    slots: Arc<Semaphore>,
    via: HeaderValue,
}

impl Forwarder {
    /// For the master that others reach at `advertised`.
    pub fn new(advertised: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(IDLE_MAX).pool_timer(TokioTimer::new());
        // An address that cannot be written in a header is one that nobody can be proxied back to.
        let via =
            HeaderValue::try_from(decide::via(advertised)).unwrap_or(HeaderValue::from_static("1.1 gantry"));
        Self { client: builder.build(connector), slots: Arc::new(Semaphore::new(FORWARDED_MAX)), via }
    }

    /// Sends the request to the leader of `leadership` at `to`. Given up when another one leads: at once
    /// when nothing is lost by it, and a little later for a change that may be under way.
    pub async fn send(
        &self,
        election: &Election,
        (call, body): (&Call, Bytes),
        (to, leadership): (&str, &Leadership),
    ) -> Result<Response, Unanswered> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot
            .map_err(|_| Unanswered::Undone(Failure::unavailable("too many requests are being passed on")))?;
        let request = self.request(call, body, to).map_err(Unanswered::Undone)?;
        let reads = matches!(call.method, Method::GET | Method::HEAD);
        let mut answer = self.head(election, request, (reads, leadership)).await?;
        if answer.headers().contains_key(NOT_LEADING) {
            return Err(Unanswered::Undone(Failure::no_leader()));
        }
        clean(answer.headers_mut());
        self.sign(answer.headers_mut());
        let (head, incoming) = answer.into_parts();
        let patience = match Route::of(&call.path) {
            Route::Logs(_) => Patience::Leads(election.news(), leadership.clone()),
            _ => Patience::Silence(READ_TIMEOUT),
        };
        Ok(Response::from_parts(head, Parts { incoming, patience, _slot: slot }.body()))
    }

    fn request(&self, call: &Call, body: Bytes, to: &str) -> Result<Request<Full<Bytes>>, Failure> {
        let uri: Result<Uri, _> = format!("http://{to}{}", call.target).parse();
        let uri = uri.map_err(|_| Failure::refused_connection())?;
        let mut headers = call.headers.clone();
        clean(&mut headers);
        for name in OWN {
            headers.remove(name);
        }
        self.sign(&mut headers);
        let mut passed: Vec<&[u8]> =
            headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        let client = call.peer.address.ip().to_string();
        passed.push(client.as_bytes());
        if let Ok(passed) = HeaderValue::from_bytes(&passed.join(&b","[..])) {
            headers.insert(FORWARDED_FOR, passed);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn sign(&self, headers: &mut HeaderMap) {
        headers.append(HeaderName::from_static(MARATHON_VIA), self.via.clone());
        headers.append(header::VIA, self.via.clone());
    }

    /// The answer's status and headers, or whose fault it is that there are none.
    async fn head(
        &self,
        election: &Election,
        mut request: Request<Full<Bytes>>,
        (reads, leadership): (bool, &Leadership),
    ) -> Result<hyper::Response<Incoming>, Unanswered> {
        let (mut connection, mut news) = (capture_connection(&mut request), election.news());
        let sent = |connection: &mut CaptureConnection| connection.connection_metadata().is_some();
        let fail = |failure: Failure, seen: bool| match seen && !reads {
            true => Unanswered::Unknown(failure.perhaps_done()),
            false => Unanswered::Undone(failure.undone()),
        };
        let mut answer = std::pin::pin!(self.client.request(request));
        let answered = tokio::select! {
            biased;
            answered = tokio::time::timeout(READ_TIMEOUT, answer.as_mut()) => answered,
            () = replaced(&mut news, leadership) => {
                if reads || !sent(&mut connection) {
                    return Err(Unanswered::Undone(Failure::bad_connection().undone()));
                }
                tokio::time::timeout(LAST_WORDS, answer).await
            }
        };
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_connect() => Err(fail(Failure::refused_connection(), false)),
            Ok(Err(_)) => Err(fail(Failure::bad_connection(), sent(&mut connection))),
            Err(_) => Err(fail(Failure::gateway_timeout(), sent(&mut connection))),
        }
    }
}

/// Resolves when another one leads than in `leadership`, or this one in another term.
async fn replaced(news: &mut watch::Receiver<Leadership>, leadership: &Leadership) {
    let other = |now: &Leadership| now != leadership && (now.leading || now.leader_http.is_some());
    if news.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes the headers of one connection off.
fn clean(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// How long a leader is waited for in the middle of an answer.
enum Patience {
    /// It counts as gone after this much silence.
    Silence(Duration),
    /// A log that is followed may say nothing for days: until another one leads, whom the agents go to.
    Leads(watch::Receiver<Leadership>, Leadership),
}

/// An answer on its way through. What the client does not read is not read from the leader.
struct Parts {
    incoming: Incoming,
    patience: Patience,
    _slot: OwnedSemaphorePermit,
}

impl Parts {
    fn body(self) -> Body {
        if hyper::body::Body::is_end_stream(&self.incoming) {
            return Body::new(self.incoming);
        }
        Body::from_stream(stream::try_unfold(self, |mut parts| async {
            Ok::<_, io::Error>(parts.next().await?.map(|data| (data, parts)))
        }))
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let next = self.incoming.frame();
            let frame = match &mut self.patience {
                Patience::Silence(limit) => {
                    tokio::time::timeout(*limit, next).await.map_err(io::Error::other)?
                }
                Patience::Leads(news, leadership) => tokio::select! {
                    biased;
                    frame = next => frame,
                    () = replaced(news, leadership) => return Err(io::Error::other("another master leads")),
                },
            };
            match frame.transpose().map_err(io::Error::other)?.map(hyper::body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(data)) => return Ok(Some(data)),
                // Trailers: nobody sends any.
                Some(Err(_)) => {}
            }
        }
    }
}
