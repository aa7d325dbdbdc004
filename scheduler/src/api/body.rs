//! Taking in a request's body, and reading JSON: never more than [`BODY_BYTES_MAX`] in memory.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::Value;

use super::failure::Failure;

/// The largest body taken.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a body that is too large is read and thrown away, so that a client that writes first and
/// reads later sees the 413.
const DISCARD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes a body in, so that it is at hand when another master is to have it.
pub(super) async fn take(headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    let expects = headers.contains_key(header::EXPECT);
    tokio::time::timeout(BODY_TIMEOUT, read(body, declared_length(headers), expects))
        .await
        .map_err(|_| Failure::bad_request("The body did not arrive in time"))?
}

/// Reads JSON, refusing other content types (reference section 0).
pub(super) fn json(headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    if !declares_json(headers) {
        return Err(Failure::media_type());
    }
    json_of_any_type(body)
}

/// Reads JSON whatever its content type claims, for the resources that declare none.
pub(super) fn json_of_any_type(body: &Bytes) -> Result<Value, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::empty());
    }
    serde_json::from_slice(body).map_err(|error| Failure::not_json(error.to_string()))
}

fn declares_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn declared_length(headers: &HeaderMap) -> usize {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0)
}

async fn read(mut body: Body, declared: usize, expects: bool) -> Result<Bytes, Failure> {
    if declared > BODY_BYTES_MAX {
        // A client that asked first has not sent anything: nothing to throw away.
        if !expects {
            discard(body, 0).await;
        }
        return Err(Failure::too_large(BODY_BYTES_MAX));
    }
    let mut taken = BytesMut::with_capacity(declared);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Failure::bad_request("The body ended early"));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if taken.len() + data.len() > BODY_BYTES_MAX {
            let seen = taken.len() + data.len();
            drop(taken);
            discard(body, seen).await;
            return Err(Failure::too_large(BODY_BYTES_MAX));
        }
        taken.extend_from_slice(&data);
    }
    Ok(taken.freeze())
}

async fn discard(mut body: Body, mut seen: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, Bytes::len);
        if seen > DISCARD_BYTES_MAX {
            return;
        }
    }
}
