//! `GET /v2/events`: server-sent events as Marathon sends them (reference section 1.9).
//!
//! A task per stream turns applied entries into frames and puts them into a bounded queue; a client that
//! does not keep up is cut off, and so is told that it missed something. With `?ids=true` frames of the
//! replicated log carry its index as `id:`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::answer;
use super::call::Call;
use super::context::{Api, now};
use super::event_shapes::{EventShape, shapes};
use super::failure::Failure;
use super::server::Peer;
use crate::state::Applied;

/// Frames that may wait for a slow client (Marathon's `--event_stream_max_outstanding_messages`).
const OUTSTANDING_MAX: usize = 1024;
/// Silence after which an empty line is sent: nixy drops a stream after 15 s.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a client wants to hear.
#[derive(Clone, Debug)]
struct Wish {
    /// Empty: everything.
    kinds: Vec<String>,
    light: bool,
    ids: bool,
}

/// Opens a stream. Jetty compares `Accept` as a text, and so do we.
pub(super) fn stream(api: &Arc<Api>, call: &Call) -> Result<Response, Failure> {
    if call.headers.get(header::ACCEPT).is_none_or(|accept| accept != "text/event-stream") {
        return Err(Failure::event_stream_accept());
    }
    let leadership = api.cluster.leadership().borrow().clone();
    if let (false, Some(leader)) = (leadership.leading, &leadership.leader_http) {
        let target = format!("http://{leader}{}", call.target);
        return Ok(answer::with(answer::plain(StatusCode::FOUND, ""), header::LOCATION, &target));
    }
    let wish = Wish {
        kinds: call.query.all("event_type").map(str::to_owned).collect(),
        light: call.query.one("plan-format") == Some("light"),
        ids: call.query.flag("ids", false),
    };
    let (frames, queue) = mpsc::channel(OUTSTANDING_MAX);
    tokio::spawn(Stream::open(api, call.peer.clone(), wish, frames).run(Arc::clone(api)));
    let body = stream::unfold(queue, |mut queue| async {
        queue.recv().await.map(|frame: Bytes| (Ok::<_, std::convert::Infallible>(frame), queue))
    });
    let response = answer::plain(StatusCode::OK, Body::from_stream(body.boxed()));
    let response = answer::with(response, header::CONTENT_TYPE, "text/event-stream;charset=utf-8");
    Ok(answer::with(response, header::CONNECTION, "close"))
}

/// One client's side of the news.
struct Stream {
    wish: Wish,
    peer: Peer,
    frames: mpsc::Sender<Bytes>,
    applied: broadcast::Receiver<Arc<Applied>>,
    news: broadcast::Receiver<Arc<EventShape>>,
}

/// The stream cannot go on.
struct Over;

impl Stream {
    /// Subscribes, so that nothing after this call is missed, and tells the others.
    fn open(api: &Api, peer: Peer, wish: Wish, frames: mpsc::Sender<Bytes>) -> Self {
        let attached = EventShape::stream(true, &peer.address.to_string(), now());
        let _ = api.news.send(Arc::new(attached.clone()));
        let (applied, news) = (api.cluster.subscribe(), api.news.subscribe());
        let mut stream = Self { wish, peer, frames, applied, news };
        // The queue is empty: the first frame always fits.
        let _ = stream.send(&attached, None);
        stream
    }

    async fn run(mut self, api: Arc<Api>) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        loop {
            let step = tokio::select! {
                biased;
                () = api.ending.cancelled() => Err(Over),
                () = self.frames.closed() => Err(Over),
                news = self.news.recv() => self.on_news(news),
                applied = self.applied.recv() => self.on_applied(&api, applied),
                _ = heartbeat.tick() => self.push(Bytes::from_static(b"\r\n")),
            };
            if step.is_err() {
                break;
            }
        }
        let detached = EventShape::stream(false, &self.peer.address.to_string(), now());
        let _ = api.news.send(Arc::new(detached));
    }

    fn on_news(&mut self, news: Result<Arc<EventShape>, RecvError>) -> Result<(), Over> {
        match news {
            Ok(shape) => self.send(&shape, None),
            Err(_) => self.cut_off("it fell behind the API's own events"),
        }
    }

    fn on_applied(&mut self, api: &Api, applied: Result<Arc<Applied>, RecvError>) -> Result<(), Over> {
        let Ok(applied) = applied else {
            return self.cut_off("it fell behind the log");
        };
        let state = api.cluster.state();
        for shape in shapes(&applied, &state, self.wish.light) {
            self.send(&shape, Some(applied.index))?;
        }
        Ok(())
    }

    fn send(&mut self, shape: &EventShape, index: Option<u64>) -> Result<(), Over> {
        if !self.wish.kinds.is_empty() && !self.wish.kinds.iter().any(|kind| kind == shape.kind) {
            return Ok(());
        }
        let id = index.filter(|_| self.wish.ids).map(|index| format!("id: {index}\r\n"));
        let id = id.unwrap_or_default();
        self.push(Bytes::from(format!("{id}event: {}\r\ndata: {}\r\n\r\n", shape.kind, shape.data)))
    }

    fn push(&mut self, frame: Bytes) -> Result<(), Over> {
        match self.frames.try_send(frame) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Over),
            Err(mpsc::error::TrySendError::Full(_)) => self.cut_off("it does not read"),
        }
    }

    /// The connection may be stuck in a write: ending the body alone would not end it.
    fn cut_off(&mut self, why: &str) -> Result<(), Over> {
        tracing::warn!(client = %self.peer.address, why, "an event stream is cut off");
        self.peer.hangup.cancel();
        Err(Over)
    }
}
