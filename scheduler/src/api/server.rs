//! The accept loop: bounded connections, a limit on how long headers may take, and a prompt end.
//! Knows nothing of routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// A client that takes longer to send its headers is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// What requests being answered get after a shutdown began.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after `accept` failed: file descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end, put into every request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Cuts the connection off, whatever it is waiting for.
    pub hangup: CancellationToken,
}

impl Peer {
    /// For requests that came without a connection (tests, embedding).
    pub fn local() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), hangup: CancellationToken::new() }
    }
}

/// Accepts until `shutdown`, then waits for what is open, but not for long.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, address, slot)) = accepted else {
            continue;
        };
        let peer = Peer { address, hangup: CancellationToken::new() };
        let served = connection(stream, peer, routes.clone(), shutdown.clone());
        connections.spawn(async move {
            served.await;
            drop(slot);
        });
    }
    connections.close();
    let _ = tokio::time::timeout(GRACE + Duration::from_secs(1), connections.wait()).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, slot)),
        Err(error) => {
            tracing::warn!(%error, "REST could not accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, peer: Peer, routes: Router, shutdown: CancellationToken) {
    // Small answers must not wait for Nagle.
    let _ = stream.set_nodelay(true);
    let hangup = peer.hangup.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        routes.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = hangup.cancelled() => return,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a REST connection ended early");
    }
}
