//! Our own `/v2/agents`: what agents offer and use, and forgetting one that does not come back.

use axum::http::StatusCode;
use axum::response::Response;
use spec::ids::AgentId;

use super::answer;
use super::apps::json_object;
use super::call::Call;
use super::change;
use super::context::Api;
use super::failure::Failure;
use super::shapes::agent::AgentShape;
use crate::state::Command;

/// `GET /v2/agents`; `embed=tasks` lists the tasks of each and their measured use.
pub(super) fn list(api: &Api, call: &Call) -> Response {
    let (state, usage) = (api.cluster.state(), api.cluster.usage());
    let with_tasks = embeds_tasks(call);
    let agents: Vec<_> = state
        .agents
        .values()
        .map(|agent| {
            let measured = usage.get(&agent.id).map(AsRef::as_ref);
            AgentShape::of(&state, agent, measured, with_tasks)
        })
        .collect();
    answer::ok(&json_object("agents", agents))
}

/// `GET /v2/agents/{id}`.
pub(super) fn one(api: &Api, call: &Call, id: &str) -> Result<Response, Failure> {
    let (state, usage) = (api.cluster.state(), api.cluster.usage());
    let id = AgentId::new(id);
    let agent = state.agents.get(&id);
    let agent = agent.ok_or_else(|| Failure::not_found(format!("Agent '{id}' does not exist")))?;
    let measured = usage.get(&id).map(AsRef::as_ref);
    Ok(answer::ok(&json_object("agent", AgentShape::of(&state, agent, measured, embeds_tasks(call)))))
}

/// `DELETE /v2/agents/{id}`: 409 while it has tasks or a session.
pub(super) async fn forget(api: &Api, id: &str) -> Result<Response, Failure> {
    change::ask_done(api, Command::ForgetAgent { id: AgentId::new(id) }).await?;
    Ok(answer::plain(StatusCode::NO_CONTENT, ""))
}

fn embeds_tasks(call: &Call) -> bool {
    call.query.all("embed").any(|value| matches!(value, "tasks" | "agent.tasks" | "agents.tasks"))
}
