//! The indexer: finds the servers every second and sends each the passages that are next for it. Trouble is
//! logged and tried again; there is no error it ends by.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::feed::Feed;
use crate::index::Document;
use crate::{corpus, discover, http};

const EVERY: Duration = Duration::from_secs(1);

/// What the indexer needs of a server's `/stats`.
#[derive(Deserialize)]
struct Stats {
    generation: String,
}

/// What the indexer needs of the answer to an update.
#[derive(Deserialize)]
struct Taken {
    documents: usize,
}

/// Feeds whatever answers to `name`, until the process is stopped.
pub(crate) async fn run(name: &str, resolver: Option<String>) -> anyhow::Result<()> {
    let passages = corpus::passages();
    println!("{} passages for {name}", passages.len());
    let mut feeds = BTreeMap::new();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        match discover::find(name, resolver.as_deref()).await {
            Ok(servers) => round(&mut feeds, &servers, &passages).await,
            Err(error) => println!("waiting for {name}: {error:#}"),
        }
    }
}

async fn round(feeds: &mut BTreeMap<SocketAddr, Feed>, servers: &[SocketAddr], passages: &[Document]) {
    feeds.retain(|server, _| servers.contains(server));
    for server in servers {
        match feed(*server, feeds.get(server).cloned(), passages).await {
            Ok(next) => {
                feeds.insert(*server, next);
            }
            Err(error) => println!("{server}: {error:#}; trying again"),
        }
    }
}

/// Sends the next batch to one server; returns how far it now is.
async fn feed(server: SocketAddr, known: Option<Feed>, passages: &[Document]) -> anyhow::Result<Feed> {
    let stats: Stats = serde_json::from_slice(&http::request(server, "GET", "/stats", b"").await?)?;
    let mut feed = match known {
        Some(feed) if feed.is_for(&stats.generation) => feed,
        other => {
            let why = if other.is_some() { "was started anew" } else { "is new" };
            println!("{server} {why}: sending everything from the beginning");
            Feed::new(&stats.generation)
        }
    };
    let batch = &passages[feed.batch(passages.len())];
    let body = json!({ "documents": batch }).to_string();
    let taken: Taken =
        serde_json::from_slice(&http::request(server, "POST", "/update", body.as_bytes()).await?)?;
    let from = batch.first().map_or("nothing", |passage| passage.id.as_str());
    println!(
        "{server}: pass {}, sent {} from {from}, it has {} now",
        feed.pass,
        batch.len(),
        taken.documents
    );
    feed.sent(passages.len());
    Ok(feed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server;

    async fn start() -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        (at, tokio::spawn(async move { axum::serve(listener, server::routes()).await.unwrap() }))
    }

    async fn documents(at: SocketAddr) -> usize {
        let stats = http::request(at, "GET", "/stats", b"").await.unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        usize::try_from(stats["documents"].as_u64().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_server_is_fed_in_rounds_and_anew_after_its_restart() {
        let passages = corpus::passages();
        let (first, second) = (start().await, start().await);
        let mut feeds = BTreeMap::new();
        for expected in [10, 20, 30] {
            round(&mut feeds, &[first.0], &passages).await;
            assert_eq!(documents(first.0).await, expected);
        }
        // The other server stands for a restart at another port, and for one at the same port.
        let known = feeds.remove(&first.0).unwrap();
        feeds.insert(second.0, known);
        round(&mut feeds, &[second.0], &passages).await;
        assert_eq!(documents(second.0).await, 10);
        for _ in 0..passages.len() / 10 + 5 {
            round(&mut feeds, &[second.0], &passages).await;
        }
        assert_eq!(documents(second.0).await, passages.len());
        assert_eq!(feeds[&second.0].pass, 2);
    }

    #[tokio::test]
    async fn a_server_that_is_away_costs_nothing_but_a_line() {
        let passages = corpus::passages();
        let (at, task) = start().await;
        let mut feeds = BTreeMap::new();
        round(&mut feeds, &[at], &passages).await;
        let before = feeds.clone();
        task.abort();
        let _ = task.await;
        round(&mut feeds, &[at], &passages).await;
        assert_eq!(feeds, before, "what did not arrive is not counted as sent");
    }
}
