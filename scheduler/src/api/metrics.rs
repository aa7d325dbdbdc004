//! `/metrics`: Prometheus text. Marathon's names in the form its Prometheus reporter gives them, and our
//! own under `gantry_`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::{StatusCode, header};
use axum::response::Response;
use spec::protocol::Measured;
use spec::resources::Resources;

use super::answer;
use super::context::{Api, now};
use super::lookup;
use super::shapes::task::condition_name;
use super::tally::{METHODS, STATES, Tally};
use crate::state::{Condition, Presence, State};

/// `GET /metrics` and `/metrics/prometheus`.
pub(super) fn show(api: &Api) -> Response {
    let state = api.cluster.state();
    let mut page = Page::default();
    let uptime = now().millis_since(api.tally.since) as f64 / 1000.0;
    page.gauge("marathon_uptime_gauge_seconds", uptime);
    page.gauge(
        "gantry_leading",
        f64::from(u8::from(api.cluster.leadership().borrow().leading)),
    );
    page.gauge("gantry_raft_applied_index", state.index as f64);
    let overdue = overdue(api, &state);
    page.gauge("marathon_instances_launch_overdue_gauge", overdue as f64);
    of_apps(&mut page, &state);
    of_tasks(&mut page, &state);
    let measured = api
        .cluster
        .usage()
        .values()
        .map(|usage| usage.machine)
        .fold(Measured::default(), plus);
    of_agents(&mut page, &state, measured);
    of_requests(&mut page, &api.tally);
    let response = answer::plain(StatusCode::OK, page.text);
    answer::with(
        response,
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )
}

fn of_apps(page: &mut Page, state: &State) {
    let mut groups = BTreeSet::from(["/"]);
    let (mut apps, mut queued, mut waiting) = (0_u32, 0_u32, 0_usize);
    for entry in lookup::apps(state) {
        let id = entry.app.id.as_str();
        groups.extend(id.match_indices('/').skip(1).map(|(end, _)| &id[..end]));
        let count = state.queue_count(&entry.app.id);
        apps += 1;
        queued += u32::from(count > 0);
        waiting += count;
    }
    page.gauge("marathon_apps_active_gauge", f64::from(apps));
    page.gauge("marathon_pods_active_gauge", 0.0);
    page.gauge("marathon_groups_active_gauge", groups.len() as f64);
    page.gauge(
        "marathon_deployments_active_gauge",
        state.deployments.len() as f64,
    );
    page.gauge("gantry_queue_apps", f64::from(queued));
    page.gauge("gantry_queue_instances", waiting as f64);
}

fn of_tasks(page: &mut Page, state: &State) {
    let mut by_condition: BTreeMap<Condition, u64> = BTreeMap::new();
    for task in state.tasks.values() {
        *by_condition.entry(task.condition).or_default() += 1;
    }
    let count = |condition| by_condition.get(&condition).copied().unwrap_or(0) as f64;
    page.gauge(
        "marathon_instances_running_gauge",
        count(Condition::Running),
    );
    page.gauge(
        "marathon_instances_staged_gauge",
        count(Condition::Provisioned) + count(Condition::Staging),
    );
    page.gauge(
        "marathon_instances_inflight_kills_gauge",
        count(Condition::Killing),
    );
    page.kind("gantry_tasks", "gauge");
    for condition in [
        Condition::Provisioned,
        Condition::Staging,
        Condition::Starting,
        Condition::Running,
        Condition::Killing,
        Condition::Unreachable,
        Condition::UnreachableInactive,
    ] {
        page.labelled(
            "gantry_tasks",
            "condition",
            condition_name(condition),
            count(condition),
        );
    }
}

fn of_agents(page: &mut Page, state: &State, measured: Measured) {
    let (mut connected, mut capacity, mut reserved) =
        (0_u32, Resources::default(), Resources::default());
    for agent in state.agents.values() {
        reserved = reserved.plus(&agent.reserved);
        if agent.presence == Presence::Connected {
            connected += 1;
            capacity = capacity.plus(&agent.info.capacity);
        }
    }
    let lost = state.agents.len() as f64 - f64::from(connected);
    page.kind("gantry_agents", "gauge");
    page.labelled(
        "gantry_agents",
        "presence",
        "connected",
        f64::from(connected),
    );
    page.labelled("gantry_agents", "presence", "lost", lost);
    page.kind("gantry_cpus", "gauge");
    page.labelled(
        "gantry_cpus",
        "kind",
        "capacity",
        capacity.cpus_milli as f64 / 1000.0,
    );
    page.labelled(
        "gantry_cpus",
        "kind",
        "reserved",
        reserved.cpus_milli as f64 / 1000.0,
    );
    page.labelled(
        "gantry_cpus",
        "kind",
        "used",
        measured.cpus_milli as f64 / 1000.0,
    );
    let bytes = |mib: u64| mib as f64 * 1024.0 * 1024.0;
    page.kind("gantry_memory_bytes", "gauge");
    page.labelled(
        "gantry_memory_bytes",
        "kind",
        "capacity",
        bytes(capacity.mem_mib),
    );
    page.labelled(
        "gantry_memory_bytes",
        "kind",
        "reserved",
        bytes(reserved.mem_mib),
    );
    page.labelled(
        "gantry_memory_bytes",
        "kind",
        "used",
        measured.mem_bytes as f64,
    );
}

fn of_requests(page: &mut Page, tally: &Tally) {
    page.counter("marathon_deployments_counter", &tally.deployments);
    page.counter(
        "marathon_deployments_dismissed_counter",
        &tally.deployments_dismissed,
    );
    page.counter("marathon_tasks_launched_counter", &tally.tasks_launched);
    for (state, counter) in STATES.iter().zip(&tally.task_updates) {
        let name = state.to_ascii_lowercase();
        page.counter(
            &format!("marathon_mesos_task_updates_{name}_counter"),
            counter,
        );
    }
    // The request that asks is one of them.
    page.gauge(
        "marathon_http_requests_active_gauge",
        tally.requests_active.load(Relaxed) as f64,
    );
    page.kind("gantry_http_requests_total", "counter");
    for (method, counter) in METHODS.iter().zip(&tally.requests) {
        page.labelled(
            "gantry_http_requests_total",
            "method",
            method,
            counter.load(Relaxed) as f64,
        );
    }
    page.kind("gantry_http_request_seconds_total", "counter");
    for (method, millis) in METHODS.iter().zip(&tally.request_millis) {
        let seconds = millis.load(Relaxed) as f64 / 1000.0;
        page.labelled(
            "gantry_http_request_seconds_total",
            "method",
            method,
            seconds,
        );
    }
    page.kind("gantry_http_responses_total", "counter");
    for (class, counter) in ["1xx", "2xx", "3xx", "4xx", "5xx"]
        .iter()
        .zip(&tally.responses)
    {
        page.labelled(
            "gantry_http_responses_total",
            "status",
            class,
            counter.load(Relaxed) as f64,
        );
    }
}

/// Instances that could start by their delay and have waited for longer than a launch may take.
fn overdue(api: &Api, state: &State) -> usize {
    let (waiting, now) = (api.cluster.waiting.load(), now());
    let limit = api.cluster.options.launch_timeout_millis;
    let late = waiting
        .iter()
        .filter(|(_, waiting)| now.millis_since(waiting.since) > limit);
    late.filter_map(|(id, _)| lookup::app(state, id.as_str()))
        .map(|entry| state.queue_count(&entry.app.id))
        .sum()
}

fn plus(left: Measured, right: Measured) -> Measured {
    Measured {
        cpus_milli: left.cpus_milli.saturating_add(right.cpus_milli),
        mem_bytes: left.mem_bytes.saturating_add(right.mem_bytes),
    }
}

/// Lines of the text format. Writing to a `String` cannot fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn kind(&mut self, name: &str, kind: &str) {
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
    }

    fn gauge(&mut self, name: &str, value: f64) {
        self.kind(name, "gauge");
        let _ = writeln!(self.text, "{name} {value}");
    }

    fn counter(&mut self, name: &str, counter: &AtomicU64) {
        self.kind(name, "counter");
        let _ = writeln!(self.text, "{name} {}", counter.load(Relaxed));
    }

    fn labelled(&mut self, name: &str, label: &str, text: &str, value: f64) {
        let _ = writeln!(self.text, "{name}{{{label}=\"{text}\"}} {value}");
    }
}
