//! `GET /v2/events`: server-sent events as Marathon sends them (reference section 1.9).
//!
//! A task per stream turns applied entries into frames and puts them into a bounded queue; a client that
//! does not keep up is cut off, and so is told that it missed something. The stream of a master that ceases
//! to lead ends, so that the client asks again and is sent to the next leader.
//!
//! With `?ids=true` the first frame, and the last one of each entry of the log, carry an index of the log as
//! `id:`. A client that comes
//! back with that as its `Last-Event-ID`, here or at another master, gets what came after it, or is told by
//! a `gantry_events_missed` that not all of that is remembered. Nobody else is ever sent that type.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

use super::answer;
use super::call::Call;
use super::context::{Api, now};
use super::event_shapes::{EventShape, shapes};
use super::failure::Failure;
use super::memory::{Heard, Resumed};
use super::server::Peer;
use crate::cluster::Leadership;
use crate::state::Applied;

/// Frames that may wait for a slow client (Marathon's `--event_stream_max_outstanding_messages`).
const OUTSTANDING_MAX: usize = 1024;
/// How long a client that resumes may take for one frame of what it missed.
const REPLAY_PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which an empty line is sent: nixy drops a stream after 15 s.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a client wants to hear.
#[derive(Clone, Debug)]
struct Wish {
    /// Empty: everything.
    kinds: Vec<String>,
    light: bool,
    ids: bool,
    /// What the client has already: the index of an entry.
    last: Option<u64>,
}

impl Wish {
    fn of(call: &Call) -> Self {
        let last = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
        Self {
            kinds: call.query.all("event_type").map(str::to_owned).collect(),
            light: call.query.one("plan-format") == Some("light"),
            ids: last.is_some() || call.query.flag("ids", false),
            last,
        }
    }

    fn admits(&self, shape: &EventShape) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == shape.kind)
    }
}

/// Opens a stream. Jetty compares `Accept` as a text, and so do we.
pub(super) fn stream(api: &Arc<Api>, call: &Call) -> Result<Response, Failure> {
    if call.headers.get(header::ACCEPT).is_none_or(|accept| accept != "text/event-stream") {
        return Err(Failure::event_stream_accept());
    }
    let (frames, queue) = mpsc::channel(OUTSTANDING_MAX);
    tokio::spawn(Stream::open(api, call.peer.clone(), Wish::of(call), frames).run(Arc::clone(api)));
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
    /// What it missed while it was away, to be sent first.
    missed: Vec<Arc<Applied>>,
    /// Entries up to here it has.
    seen: u64,
    applied: broadcast::Receiver<Heard>,
    news: broadcast::Receiver<Arc<EventShape>>,
    leadership: watch::Receiver<Leadership>,
}

/// The stream cannot go on.
struct Over;

impl Stream {
    /// Subscribes, so that nothing after this call is missed, and tells the others.
    fn open(api: &Api, peer: Peer, wish: Wish, frames: mpsc::Sender<Bytes>) -> Self {
        let attached = EventShape::stream(true, &peer.address.to_string(), now());
        let _ = api.news.send(Arc::new(attached.clone()));
        let index = api.cluster.state().index;
        let Resumed { entries: missed, forgotten, live: applied } = api.memory.resume(wish.last, index);
        // Numbers from a log that went further than this one say nothing about it.
        let seen = wish.last.filter(|_| forgotten.is_none()).unwrap_or(0);
        let (news, leadership) = (api.news.subscribe(), api.election.news());
        let mut stream = Self { wish, peer, frames, missed, seen, applied, news, leadership };
        // The queue is empty: the first frames always fit.
        let _ = stream.greet(&attached, index);
        if let Some((after, up_to)) = forgotten {
            let _ = stream.push(frame(&EventShape::missed(after, up_to, now()), None));
        }
        stream
    }

    /// The first frame. It has an id as well, in case the master dies before anything happens; also for a client
    /// that does not want to hear of it. Who resumes has an id, and is sent what it missed only after this.
    fn greet(&mut self, attached: &EventShape, index: u64) -> Result<(), Over> {
        let id = (self.wish.ids && self.wish.last.is_none()).then_some(index);
        match id {
            _ if self.wish.admits(attached) => self.push(frame(attached, id)),
            Some(index) => self.push(Bytes::from(format!("id: {index}\r\n\r\n"))),
            None => Ok(()),
        }
    }

    async fn run(mut self, api: Arc<Api>) {
        let mut leadership = self.leadership.clone();
        let end = async {
            tokio::select! {
                () = api.ending.cancelled() => {}
                _ = leadership.wait_for(|now| !now.leading) => {}
            }
        };
        let detached = EventShape::stream(false, &self.peer.address.to_string(), now());
        tokio::select! {
            biased;
            () = end => {}
            Over = self.tell(&api) => {}
        }
        let _ = api.news.send(Arc::new(detached));
    }

    async fn tell(&mut self, api: &Api) -> Over {
        if let Err(over) = self.replay(api).await {
            return over;
        }
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.reset();
        loop {
            let step = tokio::select! {
                biased;
                () = self.frames.closed() => Err(Over),
                news = self.news.recv() => self.on_news(news),
                heard = self.applied.recv() => self.on_applied(api, heard),
                _ = heartbeat.tick() => self.push(Bytes::from_static(b"\r\n")),
            };
            if let Err(over) = step {
                return over;
            }
        }
    }

    /// Sends what was missed, as fast as the client takes it: it may be more than the queue holds.
    async fn replay(&mut self, api: &Api) -> Result<(), Over> {
        for entry in std::mem::take(&mut self.missed) {
            for frame in self.frames_of(&entry, api) {
                match tokio::time::timeout(REPLAY_PATIENCE, self.frames.send(frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Over),
                    Err(_) => return self.cut_off("it does not read"),
                }
            }
            self.seen = entry.index;
        }
        Ok(())
    }

    fn on_news(&mut self, news: Result<Arc<EventShape>, RecvError>) -> Result<(), Over> {
        match news {
            Ok(shape) => self.send(&shape),
            Err(_) => self.cut_off("it fell behind the API's own events"),
        }
    }

    fn on_applied(&mut self, api: &Api, heard: Result<Heard, RecvError>) -> Result<(), Over> {
        let Ok(Heard::Entry(entry)) = heard else {
            return self.cut_off("it fell behind the log");
        };
        if entry.index <= self.seen {
            return Ok(());
        }
        self.frames_of(&entry, api).into_iter().try_for_each(|frame| self.push(frame))
    }

    /// The frames of an entry. Only the last has the id: who has that one has them all.
    fn frames_of(&self, entry: &Applied, api: &Api) -> Vec<Bytes> {
        let mut shapes = shapes(entry, &api.cluster.state(), self.wish.light);
        shapes.retain(|shape| self.wish.admits(shape));
        let last = shapes.len().saturating_sub(1);
        let id = |position| (self.wish.ids && position == last).then_some(entry.index);
        shapes.iter().enumerate().map(|(position, shape)| frame(shape, id(position))).collect()
    }

    fn send(&mut self, shape: &EventShape) -> Result<(), Over> {
        if self.wish.admits(shape) { self.push(frame(shape, None)) } else { Ok(()) }
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

fn frame(shape: &EventShape, id: Option<u64>) -> Bytes {
    let id = id.map(|index| format!("id: {index}\r\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: {}\r\ndata: {}\r\n\r\n", shape.kind, shape.data))
}
