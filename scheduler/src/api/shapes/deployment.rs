//! Marathon's deployment in `/v2/deployments` and the plan inside events (reference sections 1.6, 1.9).

use serde::Serialize;
use serde_json::{Value, json};
use spec::ids::AppId;
use spec::time::Timestamp;

use super::app_info::{ReadinessResult, readiness_of};
use crate::state::{Action, ActionKind, Deployment, State, Step};

/// One running deployment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct DeploymentShape<'s> {
    id: String,
    version: Timestamp,
    affected_apps: Vec<&'s AppId>,
    affected_pods: [(); 0],
    steps: Vec<StepShape<'s>>,
    current_actions: Vec<CurrentAction<'s>>,
    current_step: usize,
    total_steps: usize,
}

#[derive(Debug, Serialize)]
struct StepShape<'s> {
    actions: Vec<ActionShape<'s>>,
}

#[derive(Debug, Serialize)]
struct ActionShape<'s> {
    action: &'static str,
    app: &'s AppId,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CurrentAction<'s> {
    action: &'static str,
    app: &'s AppId,
    readiness_check_results: Vec<ReadinessResult<'s>>,
}

impl<'s> DeploymentShape<'s> {
    /// As of `state`. The current step counts from 1; 0 means that none has begun.
    pub fn of(state: &'s State, deployment: &'s Deployment) -> Self {
        let current = deployment.current_actions();
        Self {
            id: deployment.id.to_string(),
            version: deployment.version,
            affected_apps: affected(deployment),
            affected_pods: [],
            steps: deployment.steps.iter().map(step_shape).collect(),
            current_actions: current.iter().map(|action| current_action(state, action)).collect(),
            current_step: if current.is_empty() { 0 } else { deployment.current + 1 },
            total_steps: deployment.steps.len(),
        }
    }
}

fn affected(deployment: &Deployment) -> Vec<&AppId> {
    let mut apps: Vec<&AppId> = deployment.actions().map(|action| &action.app).collect();
    apps.sort_unstable();
    apps.dedup();
    apps
}

fn step_shape(step: &Step) -> StepShape<'_> {
    let shape = |action| ActionShape { action: action_name(action), app: &action.app };
    StepShape { actions: step.actions.iter().map(shape).collect() }
}

fn current_action<'s>(state: &'s State, action: &'s Action) -> CurrentAction<'s> {
    CurrentAction {
        action: action_name(action),
        app: &action.app,
        readiness_check_results: readiness_of(state, &action.app),
    }
}

fn action_name(action: &Action) -> &'static str {
    match action.kind {
        ActionKind::StartApplication => "StartApplication",
        ActionKind::StopApplication => "StopApplication",
        ActionKind::ScaleApplication => "ScaleApplication",
        ActionKind::RestartApplication => "RestartApplication",
    }
}

/// `{"actions": [...]}`: `currentStep` of deployment events.
pub(in crate::api) fn step_json(actions: &[Action]) -> Value {
    let actions: Vec<Value> =
        actions.iter().map(|action| json!({"action": action_name(action), "app": action.app})).collect();
    json!({ "actions": actions })
}

/// The plan of an event: Marathon's `{id, version, steps}`. Unless `light`, the affected apps before
/// (`original`) and after (`target`) as well, as Marathon sent them when that was not asked for with
/// `plan-format=light`: marathon-python dies on a plan without them.
pub(in crate::api) fn plan_json(state: &State, deployment: &Deployment, light: bool) -> Value {
    let steps: Vec<Value> = deployment.steps.iter().map(|step| step_json(&step.actions)).collect();
    let mut plan = json!({
        "id": deployment.id.to_string(),
        "version": deployment.version,
        "steps": steps,
    });
    if !light {
        let before = deployment.originals.iter().filter_map(|(_, app)| app.as_deref());
        let after = affected(deployment).into_iter().filter_map(|id| state.apps.get(id));
        let after = after.filter(|entry| !entry.retired).map(|entry| &*entry.app);
        plan["original"] = group_of(before.collect(), deployment.version);
        plan["target"] = group_of(after.collect(), deployment.version);
    }
    plan
}

fn group_of(apps: Vec<&spec::App>, version: Timestamp) -> Value {
    json!({
        "id": "/", "apps": apps, "groups": [], "pods": [], "dependencies": [], "version": version,
    })
}
