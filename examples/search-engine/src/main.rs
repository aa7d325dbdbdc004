//! A search server and the indexer that feeds it, after the classic two-program demo of cluster schedulers.
//! Both are verbs of one static binary, so that one image `FROM scratch` holds all of it.
//!
//! `serve` keeps an index in memory and answers pages and queries; it starts empty. `index` finds it
//! through DNS, sends it some more passages every second, and begins anew when it meets a server that has
//! just started.

mod corpus;
mod discover;
mod feed;
mod http;
mod index;
mod indexer;
mod page;
mod server;
mod snippet;
mod words;

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "search-engine serve    answers on $PORT (8000 without it)
search-engine index    feeds the servers that DNS knows as $SEARCH_ENGINE
                       (searchengine.marathon.mesos without it), asking the name server
                       of /etc/resolv.conf, or $RESOLVER (IP or IP:PORT)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let verb = std::env::args().nth(1).unwrap_or_default();
    // As process 1 of a container a program must ask for the signal, or it is not delivered.
    let mut stop = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let work = async {
        match verb.as_str() {
            "serve" => server::serve(listen_address()?).await,
            "index" => {
                let name = variable("SEARCH_ENGINE", "searchengine.marathon.mesos");
                indexer::run(&name, std::env::var("RESOLVER").ok()).await
            }
            "help" | "--help" | "-h" => {
                println!("{USAGE}");
                Ok(())
            }
            _ => bail!("expected `serve` or `index`\n\n{USAGE}"),
        }
    };
    tokio::select! {
        done = work => done,
        _ = stop.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

fn listen_address() -> anyhow::Result<SocketAddr> {
    let port = variable("PORT", "8000");
    let port: u16 = port.parse().with_context(|| format!("$PORT is `{port}`, not a port"))?;
    Ok(SocketAddr::from(([0, 0, 0, 0], port)))
}

/// An environment variable, or what stands for it.
fn variable(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}
