//! REST in Marathon's shapes and status codes (reference sections 0, 1 and 3), and our own
//! `/v2/agents`, `/v1/logs` and `/metrics`. A shell: it reads the published state, turns requests into
//! commands, and says outcomes in Marathon's words. It decides nothing about the cluster.
//!
//! The way of a request: `server` accepts the connection, `guard` refuses cross-site writes and puts
//! the headers on, `route` (pure) reads the path, `dispatch` picks the handler, and the handler answers
//! with a shape from `shapes` (pure) or a `failure` (section 3's table). Changes of apps go through
//! `change`: it builds the whole new definition, proposes it with what it was computed from, and looks
//! again when that has changed meanwhile.
//!
//! Not here yet, and answered as an unknown route (500 `URI not found`) or a wrong method (405) would
//! be: creating and updating groups, group versions, pods (`HEAD /v2/pods` is 404, which means "not
//! supported" to clients), the UI, plugins. `DELETE /v2/leader` answers 503: a single master has nobody
//! to hand over to.

mod agents;
mod answer;
mod app_changes;
mod apps;
mod backup;
mod body;
mod call;
mod change;
mod context;
mod decide;
mod deployments;
mod dispatch;
mod election;
mod embed;
mod event_shapes;
mod events;
mod failure;
mod forward;
mod groups;
mod guard;
mod info;
mod kill;
mod logs;
mod lookup;
mod masters;
mod memory;
mod metrics;
mod queue;
mod route;
mod selector;
mod server;
mod shapes;
mod steer;
mod tally;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;

/// The routes alone, for tests and for embedding. Streams end when the connection does.
pub fn router(cluster: Arc<Cluster>) -> Router {
    dispatch::routes(context::Api::new(cluster, CancellationToken::new()))
}

/// Serves the API on `listener` until `shutdown`; open streams end at once then, requests that are being
/// answered get a few seconds.
pub async fn serve(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let routes = dispatch::routes(context::Api::new(cluster, shutdown.clone()));
    server::serve(listener, routes, shutdown).await
}
