//! When a deployment's step is complete: when each of its actions is.

use spec::ids::DeploymentId;

use super::memory::Memory;
use crate::state::State;

/// Steps all of whose actions are complete, among those that were looked at.
pub(super) fn complete(state: &State, memory: &mut Memory) -> Vec<(DeploymentId, usize)> {
    let touched = memory.take_touched();
    let is_complete = |id: &DeploymentId| {
        let deployment = state.deployments.get(id)?;
        let done = memory.done_of(deployment);
        let is_over = deployment.current_actions().iter().all(|action| done.contains(&action.app));
        is_over.then_some((*id, deployment.current))
    };
    touched.iter().filter_map(is_complete).collect()
}
