//! The name server of a master: its zone at once, every other name by way of the machine's resolvers.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::answer;
use crate::exchange::unforeseen;
use crate::forward::Upstream;
use crate::listen::{self, Handler};
use crate::packet::{self, Query, Via};
use crate::zone::Zone;

/// Answers from whatever `zone` holds at the moment, until `shutdown`.
pub async fn serve(
    udp: UdpSocket,
    tcp: TcpListener,
    zone: Arc<ArcSwap<Zone>>,
    upstream: Upstream,
    shutdown: CancellationToken,
) -> io::Result<()> {
    listen::serve(udp, tcp, Arc::new(Server { zone, upstream }), shutdown).await
}

struct Server {
    zone: Arc<ArcSwap<Zone>>,
    upstream: Upstream,
}

impl Handler for Server {
    fn at_once(&self, query: &Query, packet: &[u8], via: Via) -> Option<Vec<u8>> {
        let zone = self.zone.load();
        if !zone.contains(&query.name) {
            return None;
        }
        // Every master makes the zone for itself; there are no transfers.
        let transfer = matches!(query.kind, RecordType::AXFR | RecordType::IXFR);
        let reply = if transfer {
            Some(packet::error(packet, ResponseCode::Refused))
        } else {
            let found = zone.lookup(&query.name, query.kind, unforeseen());
            answer::encode(query, found, query.limit(via))
        };
        Some(reply.unwrap_or_else(|| packet::error(packet, ResponseCode::ServFail)))
    }

    async fn later(&self, _query: Query, packet: Vec<u8>, via: Via) -> Vec<u8> {
        self.upstream.answer(&packet, via).await
    }
}
