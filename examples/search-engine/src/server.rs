//! The search server: an index in memory behind a page, a query and an update.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::index::{Document, Index, Rejected};
use crate::page::{self, Found, View};
use crate::snippet::snippet;
use crate::variable;

/// Hits of one answer.
const HITS_MAX: usize = 10;

/// Bytes of a query that count.
const QUERY_MAX: usize = 256;

/// Bytes of an update, and documents in it.
const UPDATE_MAX: usize = 1024 * 1024;
const UPDATE_DOCUMENTS_MAX: usize = 500;

/// Nothing but our own style sheet runs on the page, whatever a document says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'";

struct Engine {
    index: RwLock<Index>,
    /// Differs from run to run, so that the indexer sees that this one is empty.
    generation: String,
    started: Instant,
    queries: AtomicU64,
    updates: AtomicU64,
    /// Which task this is, for the foot of the page.
    task: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
}

#[derive(Deserialize)]
struct Update {
    documents: Vec<Document>,
}

/// Answers at `address` until the process is stopped.
pub(crate) async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    println!("searching on http://{}/", listener.local_addr()?);
    axum::serve(listener, routes()).await.context("the server ended")
}

/// An empty engine and its routes.
pub(crate) fn routes() -> Router {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let engine = Engine {
        index: RwLock::default(),
        generation: format!("{since_1970:x}-{}", std::process::id()),
        started: Instant::now(),
        queries: AtomicU64::new(0),
        updates: AtomicU64::new(0),
        task: variable("MESOS_TASK_ID", "no task"),
    };
    Router::new()
        .route("/", get(show))
        .route("/search", get(search))
        .route("/update", post(update))
        .route("/stats", get(stats))
        .route("/health", get(async || "ok\n"))
        .layer(DefaultBodyLimit::max(UPDATE_MAX))
        .with_state(Arc::new(engine))
}

impl Engine {
    /// A writer that panicked may have left half a document, which is no reason to answer nothing.
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> Value {
        let index = self.read();
        json!({
            "generation": self.generation,
            "documents": index.len(),
            "terms": index.terms(),
            "bytes": index.bytes(),
            "queries": self.queries.load(Ordering::Relaxed),
            "updates": self.updates.load(Ordering::Relaxed),
            "uptimeSeconds": self.started.elapsed().as_secs(),
        })
    }
}

fn cut(query: &str) -> &str {
    &query[..query.floor_char_boundary(QUERY_MAX)]
}

async fn show(State(engine): State<Arc<Engine>>, Query(asked): Query<Asked>) -> Response {
    let start = Instant::now();
    let query = cut(asked.q.trim());
    let index = engine.read();
    let (total, hits) = index.search(query, HITS_MAX);
    if !query.is_empty() {
        engine.queries.fetch_add(1, Ordering::Relaxed);
    }
    let found = hits.iter().map(|hit| Found {
        title: &hit.document.title,
        id: &hit.document.id,
        score: hit.score,
        snippet: snippet(&hit.document.text, query),
    });
    let view = View {
        query,
        total,
        found: found.collect(),
        documents: index.len(),
        terms: index.terms(),
        millis: start.elapsed().as_secs_f64() * 1000.0,
        task: &engine.task,
    };
    let html = page::render(&view);
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, html).into_response()
}

async fn search(State(engine): State<Arc<Engine>>, Query(asked): Query<Asked>) -> Json<Value> {
    let query = cut(asked.q.trim());
    let index = engine.read();
    engine.queries.fetch_add(1, Ordering::Relaxed);
    let (total, hits) = index.search(query, HITS_MAX);
    let hits: Vec<Value> = hits
        .iter()
        .map(|hit| {
            let Document { id, title, text } = hit.document;
            let snippet = snippet(text, query);
            let pieces: Vec<Value> =
                snippet.pieces.iter().map(|piece| json!({ "text": piece.text, "hit": piece.hit })).collect();
            json!({ "id": id, "title": title, "score": hit.score, "snippet": pieces })
        })
        .collect();
    Json(json!({ "query": query, "total": total, "hits": hits }))
}

async fn stats(State(engine): State<Arc<Engine>>) -> Json<Value> {
    Json(engine.stats())
}

async fn update(State(engine): State<Arc<Engine>>, body: Result<Json<Update>, JsonRejection>) -> Response {
    let Json(Update { documents }) = match body {
        Ok(body) => body,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    if documents.len() > UPDATE_DOCUMENTS_MAX {
        let message = format!("an update has at most {UPDATE_DOCUMENTS_MAX} documents");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, &message);
    }
    let mut index = engine.index.write().unwrap_or_else(PoisonError::into_inner);
    for document in documents {
        match index.put(document) {
            Ok(()) => {}
            Err(Rejected::Document(why)) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, &why),
            Err(Rejected::Full) => {
                return refuse(StatusCode::INSUFFICIENT_STORAGE, "the index is full");
            }
        }
    }
    engine.updates.fetch_add(1, Ordering::Relaxed);
    Json(json!({ "documents": index.len() })).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn send(routes: &Router, method: &str, path: &str, body: String) -> (u16, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get_json(routes: &Router, path: &str) -> Value {
        serde_json::from_str(&send(routes, "GET", path, String::new()).await.1).unwrap()
    }

    fn documents(count: usize, text: &str) -> String {
        let document = |n: usize| json!({ "id": n.to_string(), "title": "T", "text": text });
        json!({ "documents": (0..count).map(document).collect::<Vec<_>>() }).to_string()
    }

    #[tokio::test]
    async fn what_is_sent_is_found() {
        let routes = routes();
        assert_eq!(send(&routes, "POST", "/update", documents(2, "the white whale")).await.0, 200);
        let found = get_json(&routes, "/search?q=WHALES").await;
        assert_eq!((found["total"].as_u64(), found["hits"][0]["id"].as_str()), (Some(2), Some("0")));
        assert_eq!(found["hits"][0]["snippet"][1], json!({ "text": "whale", "hit": true }));
        let stats = get_json(&routes, "/stats").await;
        assert_eq!((stats["documents"].as_u64(), stats["queries"].as_u64()), (Some(2), Some(1)));
        assert_eq!(send(&routes, "GET", "/health", String::new()).await, (200, "ok\n".to_owned()));
        assert_ne!(stats["generation"], get_json(&super::routes(), "/stats").await["generation"]);
    }

    #[tokio::test]
    async fn updates_are_bounded_and_errors_say_why() {
        let routes = routes();
        for (body, status, message) in [
            ("{".to_owned(), 400, "JSON"),
            ("{}".to_owned(), 422, "documents"),
            ("[".repeat(10_000), 422, "JSON"),
            (documents(1, ""), 422, "text of `0`"),
            (documents(1, &"x".repeat(20_000)), 422, "text of `0`"),
            (documents(501, "x"), 413, "at most 500"),
            (documents(200, &"x".repeat(8000)), 413, "limit"),
        ] {
            let (found, text) = send(&routes, "POST", "/update", body).await;
            assert_eq!(found, status, "{text}");
            assert!(
                serde_json::from_str::<Value>(&text).unwrap()["message"].as_str().unwrap().contains(message),
                "{text}"
            );
        }
        assert_eq!(get_json(&routes, "/stats").await["documents"], 0);
    }

    #[tokio::test]
    async fn the_page_shows_what_was_found_and_nothing_runs() {
        let routes = routes();
        let text = "<script>alert(1)</script> whale & co";
        send(&routes, "POST", "/update", documents(1, text)).await;
        let (status, html) = send(&routes, "GET", "/?q=whale+%3Cb%3E%22", String::new()).await;
        assert_eq!(status, 200);
        assert!(html.contains("&lt;script&gt;") && html.contains("<mark>whale</mark> &amp; co"));
        assert!(html.contains("value=\"whale &lt;b&gt;&quot;\""), "{html}");
        assert!(!html.contains("<script") && !html.contains("<b>\""));
        let long = format!("/?q={}", "%C3%A4".repeat(1000));
        assert_eq!(send(&routes, "GET", &long, String::new()).await.0, 200);
    }
}
