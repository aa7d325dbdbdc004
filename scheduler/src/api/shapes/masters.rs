//! `GET /v2/masters`: ours. What is not known is `null`.

use serde_json::{Value, json};
use spec::protocol::Fence;
use uuid::Uuid;

use crate::cluster::{MasterRole, MasterStatus};

/// The whole document.
pub(in crate::api) fn masters(cluster_id: Uuid, term: u64, known: &[MasterStatus]) -> Value {
    json!({
        "clusterId": cluster_id.to_string(),
        "epoch": Fence { term, index: 0 }.epoch(),
        "term": term,
        "masters": known.iter().map(master).collect::<Vec<_>>(),
    })
}

fn master(status: &MasterStatus) -> Value {
    let info = status.info.as_ref();
    json!({
        "id": status.id.0,
        "name": info.map(|info| &info.name),
        "http": info.map(|info| &info.http),
        "rpc": info.map(|info| info.rpc.to_string()),
        "dns": info.map(|info| info.dns.to_string()),
        "version": info.map(|info| &info.version),
        "role": role_name(status.role),
        "leader": status.leader,
        "reachable": status.reachable,
        "behind": status.behind,
    })
}

/// As the API and the metrics call it.
pub(in crate::api) fn role_name(role: MasterRole) -> &'static str {
    match role {
        MasterRole::Voter => "voter",
        MasterRole::Learner => "learner",
        MasterRole::Outside => "outside",
    }
}
