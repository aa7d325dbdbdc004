//! `/metrics`: Marathon's names, and our own under `gantry_`. Prometheus text, or Marathon's JSON for who
//! asks for `application/json` (its Python client, the Datadog check).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::{StatusCode, header};
use axum::response::Response;
use spec::protocol::Measured;
use spec::resources::Resources;

use super::answer;
use super::call::Call;
use super::census::Counts;
use super::context::{Api, now};
use super::masters;
use super::shapes::masters::role_name;
use super::shapes::metrics::Samples;
use super::shapes::task::condition_name;
use super::tally::{METHODS, STATES, Tally};
use crate::cluster::{MasterRole, MasterStatus};
use crate::state::{Condition, Conditions, Presence, State};

/// `GET /metrics` and `/metrics/prometheus`.
pub(super) async fn show(api: &Api, call: &Call) -> Response {
    // Without them rather than without metrics.
    let masters = masters::known(api).await.unwrap_or_default();
    // Goes through apps and agents, not tasks; where these are very many, not on a thread that others wait for.
    let state = api.cluster.state();
    let counting = tokio::task::spawn_blocking(move || (Counts::of(&state), state));
    let Ok((counts, state)) = counting.await else {
        return answer::plain(StatusCode::SERVICE_UNAVAILABLE, "this master is shutting down");
    };
    let samples = collect(api, &state, &counts, &masters);
    let accepts_json = call.headers.get(header::ACCEPT).is_some_and(|kind| kind == "application/json");
    if accepts_json && !call.path.contains("prometheus") {
        return answer::ok(&samples.json());
    }
    let response = answer::plain(StatusCode::OK, samples.prometheus());
    answer::with(response, header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")
}

fn collect(api: &Api, state: &State, counts: &Counts, masters: &[MasterStatus]) -> Samples {
    let mut samples = Samples::default();
    let uptime = now().millis_since(api.tally.since) as f64 / 1000.0;
    let leadership = api.election.leadership();
    samples.gauge("marathon.uptime.gauge.seconds", uptime);
    let led = api.tally.leading_millis(now()) as f64 / 1000.0;
    samples.gauge("marathon.leadership.duration.gauge.seconds", led);
    samples.gauge("marathon.instances.launch-overdue.gauge", overdue(api, state) as f64);
    samples.gauge("gantry_leading", f64::from(u8::from(leadership.leading)));
    samples.gauge("gantry_raft_term", leadership.term as f64);
    samples.gauge("gantry_raft_applied_index", state.index as f64);
    of_masters(&mut samples, masters);
    of_apps(&mut samples, state, counts);
    of_tasks(&mut samples, &state.conditions);
    let measured = api.cluster.usage().values().map(|usage| usage.machine).fold(Measured::default(), plus);
    of_agents(&mut samples, state, measured);
    samples.gauge("gantry_agent_sessions", api.cluster.sessions.load(Relaxed) as f64);
    samples.gauge("gantry_agents_held_back", api.cluster.held_back.load(Relaxed) as f64);
    of_log(&mut samples, &api.tally);
    of_requests(&mut samples, &api.tally);
    samples
}

/// Who there is; how far they are only the leader knows, and says nothing of one that it has not heard of.
fn of_masters(samples: &mut Samples, masters: &[MasterStatus]) {
    for role in [MasterRole::Voter, MasterRole::Learner, MasterRole::Outside] {
        let count = masters.iter().filter(|master| master.role == role).count();
        samples.labelled_gauge("gantry_masters", ("role", role_name(role)), count as f64);
    }
    for master in masters {
        if let Some(reachable) = master.reachable {
            let label = ("master", &*master.id.to_string());
            samples.labelled_gauge("gantry_master_reachable", label, f64::from(u8::from(reachable)));
        }
    }
    for master in masters {
        if let Some(behind) = master.behind {
            let label = ("master", &*master.id.to_string());
            samples.labelled_gauge("gantry_raft_entries_behind", label, behind as f64);
        }
    }
    // Seconds by commits is what this master's disk takes: the leader's is what every change waits for.
    if let Some((commits, turns)) = masters.iter().find_map(|master| master.log) {
        samples.counter("gantry_log_commits_total", commits.count);
        samples.seconds("gantry_log_commit_seconds_total", commits.time);
        samples.counter("gantry_snapshots_total", turns.snapshots);
        samples.gauge("gantry_snapshot_hold_seconds_max", turns.held.as_secs_f64());
        for (snapshot, longest) in [("none", turns.longest), ("writing", turns.longest_writing)] {
            let name = "gantry_log_turn_seconds_max";
            samples.labelled_gauge(name, ("snapshot", snapshot), longest.as_secs_f64());
        }
    }
}

fn of_apps(samples: &mut Samples, state: &State, counts: &Counts) {
    samples.gauge("marathon.apps.active.gauge", f64::from(counts.apps));
    samples.gauge("marathon.pods.active.gauge", 0.0);
    samples.gauge("marathon.groups.active.gauge", counts.groups as f64);
    samples.gauge("marathon.deployments.active.gauge", state.deployments.len() as f64);
    samples.gauge("gantry_queue_apps", f64::from(counts.queued_apps));
    samples.gauge("gantry_queue_instances", counts.queued as f64);
}

fn of_tasks(samples: &mut Samples, conditions: &Conditions) {
    let tasks = |condition| conditions.count(condition) as f64;
    let staged = tasks(Condition::Provisioned) + tasks(Condition::Staging);
    samples.gauge("marathon.instances.running.gauge", tasks(Condition::Running));
    samples.gauge("marathon.instances.staged.gauge", staged);
    samples.gauge("marathon.instances.inflight-kills.gauge", tasks(Condition::Killing));
    for condition in Condition::ALL {
        let label = ("condition", condition_name(condition));
        samples.labelled_gauge("gantry_tasks", label, tasks(condition));
    }
}

fn of_agents(samples: &mut Samples, state: &State, measured: Measured) {
    let (mut connected, mut capacity, mut reserved) = (0_u32, Resources::default(), Resources::default());
    for agent in state.agents.values() {
        reserved = reserved.plus(&agent.reserved);
        if agent.presence == Presence::Connected {
            connected += 1;
            capacity = capacity.plus(&agent.info.capacity);
        }
    }
    let lost = state.agents.len() as f64 - f64::from(connected);
    samples.labelled_gauge("gantry_agents", ("presence", "connected"), f64::from(connected));
    samples.labelled_gauge("gantry_agents", ("presence", "lost"), lost);
    let cores = |milli: u64| milli as f64 / 1000.0;
    samples.labelled_gauge("gantry_cpus", ("kind", "capacity"), cores(capacity.cpus_milli));
    samples.labelled_gauge("gantry_cpus", ("kind", "reserved"), cores(reserved.cpus_milli));
    samples.labelled_gauge("gantry_cpus", ("kind", "used"), cores(measured.cpus_milli));
    let bytes = |mib: u64| mib as f64 * 1024.0 * 1024.0;
    samples.labelled_gauge("gantry_memory_bytes", ("kind", "capacity"), bytes(capacity.mem_mib));
    samples.labelled_gauge("gantry_memory_bytes", ("kind", "reserved"), bytes(reserved.mem_mib));
    samples.labelled_gauge("gantry_memory_bytes", ("kind", "used"), measured.mem_bytes as f64);
}

fn of_log(samples: &mut Samples, tally: &Tally) {
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    samples.counter("marathon.deployments.counter", read(&tally.deployments));
    samples.counter("marathon.deployments.dismissed.counter", read(&tally.deployments_dismissed));
    samples.counter("marathon.tasks.launched.counter", read(&tally.tasks_launched));
    for (state, counter) in STATES.iter().zip(&tally.task_updates) {
        let name = state.to_ascii_lowercase().replace('_', "-");
        samples.counter(&format!("marathon.mesos.task-updates.{name}.counter"), read(counter));
    }
}

fn of_requests(samples: &mut Samples, tally: &Tally) {
    let read = |counter: &AtomicU64| counter.load(Relaxed) as f64;
    // The request that asks is one of them.
    samples.gauge("marathon.http.requests.active.gauge", read(&tally.requests_active));
    for (method, counter) in METHODS.into_iter().zip(&tally.requests) {
        samples.labelled_counter("gantry_http_requests_total", ("method", method), read(counter));
    }
    for (method, millis) in METHODS.into_iter().zip(&tally.request_millis) {
        let name = "gantry_http_request_seconds_total";
        samples.labelled_counter(name, ("method", method), read(millis) / 1000.0);
    }
    for (class, counter) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&tally.responses) {
        samples.labelled_counter("gantry_http_responses_total", ("status", class), read(counter));
    }
}

/// Instances of apps that have waited for longer than a launch may take.
fn overdue(api: &Api, state: &State) -> usize {
    let (waiting, now) = (api.cluster.waiting.load(), now());
    let limit = api.cluster.options.launch_timeout_millis;
    let late = waiting.iter().filter(|(_, waiting)| now.millis_since(waiting.since) > limit);
    late.map(|(id, _)| state.queue_count(id)).sum()
}

fn plus(left: Measured, right: Measured) -> Measured {
    Measured {
        cpus_milli: left.cpus_milli.saturating_add(right.cpus_milli),
        mem_bytes: left.mem_bytes.saturating_add(right.mem_bytes),
    }
}
