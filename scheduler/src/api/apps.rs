//! Reading apps: lists, single ones, versions.

use std::sync::Arc;

use axum::response::Response;
use serde_json::json;
use spec::time::Timestamp;

use super::answer;
use super::call::{Call, Query};
use super::context::{Api, now};
use super::embed::AppParts;
use super::failure::Failure;
use super::lookup;
use super::selector::LabelSelector;
use super::shapes::app_info::AppInfo;
use crate::state::{AppEntry, State};

/// The filters of `GET /v2/apps`; all must hold.
struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    labels: LabelSelector,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Failure> {
        let text = query.one("label").unwrap_or_default();
        let labels = LabelSelector::parse(text).map_err(|reason| {
            Failure::illegal(format!("Can not parse label selector {text}. Reason: {reason}"))
        })?;
        let lower = |key| query.one(key).map(str::to_lowercase);
        Ok(Self { cmd: lower("cmd"), id: lower("id"), labels })
    }

    fn admits(&self, entry: &AppEntry) -> bool {
        let cmd = || entry.app.cmd.as_deref().unwrap_or_default().to_lowercase();
        self.cmd.as_ref().is_none_or(|part| entry.app.cmd.is_some() && cmd().contains(part))
            && self.id.as_ref().is_none_or(|part| entry.app.id.as_str().to_lowercase().contains(part))
            && self.labels.matches(&entry.app.labels)
    }
}

/// The `AppInfo`s of some apps.
pub(super) fn infos<'s>(
    state: &'s State,
    entries: impl IntoIterator<Item = &'s Arc<AppEntry>>,
    parts: AppParts,
) -> Vec<AppInfo<'s>> {
    let now = now();
    entries.into_iter().map(|entry| AppInfo::of(state, entry, parts, now)).collect()
}

/// `GET /v2/apps`.
pub(super) fn list(api: &Api, call: &Call) -> Result<Response, Failure> {
    let filter = Filter::of(&call.query)?;
    let state = api.cluster.state();
    let admitted = lookup::apps(&state).filter(|entry| filter.admits(entry));
    let infos = infos(&state, admitted, AppParts::LIST.with(&call.query));
    Ok(answer::ok(&json_object("apps", infos)))
}

/// `GET /v2/apps/{id}`.
pub(super) fn one(api: &Api, call: &Call, path: &str) -> Result<Response, Failure> {
    let state = api.cluster.state();
    let entry = lookup::app_or_404(&state, path)?;
    let info = AppInfo::of(&state, entry, AppParts::SINGLE.with(&call.query), now());
    Ok(answer::ok(&json_object("app", info)))
}

/// `GET /v2/apps/{group}/*`.
pub(super) fn below(api: &Api, call: &Call, group: &str) -> Result<Response, Failure> {
    let state = api.cluster.state();
    let entries = lookup::apps_below(&state, group)
        .ok_or_else(|| Failure::not_found(format!("Group '{group}' does not exist")))?;
    let infos = infos(&state, entries, AppParts::SINGLE.with(&call.query));
    Ok(answer::ok(&json_object("*", infos)))
}

/// `GET /v2/apps/{id}/versions`, newest first.
pub(super) fn versions(api: &Api, path: &str) -> Result<Response, Failure> {
    let state = api.cluster.state();
    let entry = lookup::app_or_404(&state, path)?;
    let versions: Vec<Timestamp> = entry.versions.iter().rev().map(|app| app.version).collect();
    Ok(answer::ok(&json!({ "versions": versions })))
}

/// `GET /v2/apps/{id}/versions/{version}`.
pub(super) fn version(api: &Api, path: &str, version: &str) -> Result<Response, Failure> {
    let version: Timestamp =
        version.parse().map_err(|error: spec::time::InvalidTimestamp| Failure::illegal(error.to_string()))?;
    let state = api.cluster.state();
    let known = lookup::app(&state, path).and_then(|entry| entry.versions.get(version));
    known.map(|app| answer::ok(&**app)).ok_or_else(|| Failure::no_version(path, version))
}

/// `{key: value}` without building a tree of values first.
pub(super) fn json_object<T>(key: &'static str, value: T) -> std::collections::BTreeMap<&'static str, T> {
    std::collections::BTreeMap::from([(key, value)])
}
