//! REST in Marathon's shapes and status codes (reference sections 0, 1 and 3), and our own
//! `/v2/agents`, `/v1/logs` and `/metrics`. A shell: it reads the published state, turns requests into
//! commands, and says outcomes in Marathon's words. It decides nothing about the cluster.
//!
//! The way of a request: `server` accepts the connection, `guard` refuses cross-site writes, `route` (pure)
//! reads the path, and `decide` (pure) says who answers: this master, at once or when it is sure to be
//! current; the leader, to whom `forward` passes it on; or nobody. `steer` does what was decided, and has it
//! decided again when the leader changes before anything was done. What this master answers goes by
//! `dispatch` to a handler, which answers with a shape from `shapes` (pure) or a `failure` (section 3's
//! table). Changes of apps go through `change`: it builds the whole new definition, proposes it with what it
//! was computed from, and looks again when that has changed meanwhile.
//!
//! `Retry-After` is on an answer exactly when nothing was done and the same request may be sent again;
//! failures after which a change may have been made say so and do not carry it.
//!
//! Not here yet, and answered as an unknown route (500 `URI not found`) or a wrong method (405) would
//! be: creating and updating groups, group versions, pods (`HEAD /v2/pods` is 404, which means "not
//! supported" to clients), the UI, plugins.

mod agents;
mod answer;
mod app_changes;
mod apps;
mod backup;
mod body;
mod call;
mod census;
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
