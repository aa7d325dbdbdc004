//! `GET /v2/backup`: the whole replicated state as a backup file, as it is at one moment. Pieces are made as
//! the client takes them, so that never more than one is in memory; `apply` goes on meanwhile.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::answer;
use super::context::{Api, now};
use crate::backup::{self, Head};

/// Streams it.
pub(super) fn stream(api: &Api) -> Response {
    let state = api.cluster.state();
    let head = Head::of(&state, api.election.leadership().term, now());
    let parts = backup::write(&head, state.snapshot());
    let body = stream::try_unfold(parts, |mut parts| async move {
        // A piece is a mebibyte of encoding: not on a runtime thread.
        let made = tokio::task::spawn_blocking(move || (parts.next(), parts)).await;
        let (part, parts) = made.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(part.map(|part| (Bytes::from(part), parts)))
    });
    let response = answer::plain(StatusCode::OK, Body::from_stream(body));
    answer::with(response, header::CONTENT_TYPE, "application/octet-stream")
}
