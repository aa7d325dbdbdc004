//! The masters themselves: who they are, taking one out, and letting another one lead.

use std::time::Duration;

use axum::response::Response;
use serde_json::json;
use spec::ids::MasterId;

use super::answer;
use super::call::Call;
use super::change;
use super::context::Api;
use super::failure::Failure;
use super::shapes::masters::masters;
use crate::cluster::{AskError, MasterStatus, MastersError};

/// Who asks who there is does not wait for long: every master knows.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// The masters as this one knows them.
pub(super) async fn known(api: &Api) -> Result<Vec<MasterStatus>, AskError> {
    tokio::time::timeout(LIST_TIMEOUT, api.cluster.masters()).await.unwrap_or(Err(AskError::TimedOut))
}

async fn known_or_503(api: &Api) -> Result<Vec<MasterStatus>, Failure> {
    known(api).await.map_err(|error| Failure::unreadable(&error))
}

/// `GET /v2/masters`.
pub(super) async fn list(api: &Api) -> Result<Response, Failure> {
    let known = known_or_503(api).await?;
    let cluster_id = api.cluster.state().cluster_id;
    Ok(answer::ok(&masters(cluster_id, api.election.leadership().term, &known)))
}

/// `DELETE /v2/masters/{id or name}`.
pub(super) async fn remove(api: &Api, named: &str) -> Result<Response, Failure> {
    let id = find(&known_or_503(api).await?, named)?;
    change::in_time(api.cluster.remove_master(id)).await?;
    Ok(answer::ok(&json!({"message": format!("Master {named} is removed")})))
}

/// `DELETE /v2/leader`; ours: `to`, the id or the name of the one that is to lead.
pub(super) async fn abdicate(api: &Api, call: &Call) -> Result<Response, Failure> {
    if let Some(asked) = ["backup", "restore"].into_iter().find(|key| call.query.one(key).is_some()) {
        let message = format!("{asked} is not done with a change of leader here: use GET /v2/backup");
        return Err(Failure::illegal(message));
    }
    let to = call.query.one("to");
    if to.is_some() {
        // A master that does not lead any more must not say who there is.
        api.current().await?;
    }
    let known = known_or_503(api).await?;
    let to = to.map(|named| find(&known, named)).transpose()?;
    let leads_already = to.is_some_and(|to| known.iter().any(|master| master.id == to && master.leader));
    if !leads_already {
        match change::in_time::<_, Failure>(async { Ok(api.cluster.transfer_leadership(to).await) }).await? {
            // Another one leads: that is what was asked for, and asking it as well would be once too often.
            Err(MastersError::Ask(AskError::NotLeader)) if to.is_none() => {}
            handed_over => handed_over?,
        }
    }
    Ok(answer::ok(&json!({"message": "Leadership abdicated", "details": []})))
}

/// By id or by name. While a master that lost its disk is replaced there are two of one name.
fn find(known: &[MasterStatus], named: &str) -> Result<MasterId, Failure> {
    if let Some(master) = known.iter().find(|master| master.id.to_string() == named) {
        return Ok(master.id);
    }
    let mut namesakes =
        known.iter().filter(|master| master.info.as_ref().is_some_and(|info| info.name == named));
    match (namesakes.next(), namesakes.next()) {
        (Some(master), None) => Ok(master.id),
        (Some(one), Some(two)) => Err(Failure::conflict(format!(
            "Masters {} and {} are both called {named}: say which by its id",
            one.id, two.id
        ))),
        (None, _) => Err(Failure::not_found(format!("Master '{named}' does not exist"))),
    }
}
