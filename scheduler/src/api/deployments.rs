//! Running deployments: list, revert, stop.

use axum::http::StatusCode;
use axum::response::Response;
use spec::ids::DeploymentId;
use uuid::Uuid;

use super::answer::{self, Accepted};
use super::call::Call;
use super::change;
use super::context::Api;
use super::failure::Failure;
use super::shapes::deployment::DeploymentShape;
use crate::state::{Command, Outcome};

/// `GET /v2/deployments`.
pub(super) fn list(api: &Api) -> Response {
    let state = api.cluster.state();
    let running = state.deployments.values();
    let shapes: Vec<_> = running.map(|deployment| DeploymentShape::of(&state, deployment)).collect();
    answer::ok(&shapes)
}

/// `DELETE /v2/deployments/{id}`: reverts by a new deployment, or with `force` stops it where it stands.
pub(super) async fn cancel(api: &Api, call: &Call, id: &str) -> Result<Response, Failure> {
    let missing = || Failure::not_found(format!("DeploymentPlan {id} does not exist"));
    let id: DeploymentId = id.parse().map_err(|_| missing())?;
    if call.query.flag("force", false) {
        change::ask_done(api, Command::CancelDeployment { id }).await?;
        return Ok(answer::plain(StatusCode::ACCEPTED, ""));
    }
    let deployment = DeploymentId(Uuid::new_v4());
    match change::ask(api, Command::RevertDeployment { id, deployment }).await? {
        Outcome::Deployed { id, version } => Ok(answer::deployment(StatusCode::OK, Accepted { id, version })),
        Outcome::Refused(refusal) => Err(refusal.into()),
        Outcome::Done | Outcome::Registered { .. } | Outcome::MasterAdded { .. } => Err(Failure::internal()),
    }
}
