//! Which resource a path names. Pure.
//!
//! Ids hold slashes, so paths are told apart by their ends, as Marathon does. `%2F` is a slash, empty
//! segments and a trailing slash mean nothing (clients.md rules 1 to 3).

use percent_encoding::percent_decode_str;

/// A resource. Ids are what the path said, with a leading slash; they may be no valid ids at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Root,
    Ping,
    Metrics,
    Info,
    Leader,
    Events,
    Apps,
    AppsBelow(String),
    App(String),
    AppRestart(String),
    AppTasks(String),
    TasksBelow(String),
    AppTask { app: String, task: String },
    AppVersions(String),
    AppVersion { app: String, version: String },
    Tasks,
    TasksDelete,
    Deployments,
    Deployment(String),
    Queue,
    QueueDelay(String),
    Group(String),
    GroupApps(String),
    Pods,
    Agents,
    Agent(String),
    Masters,
    Master(String),
    Backup,
    Logs(String),
    Unknown,
}

impl Route {
    /// From the path of a URL, still encoded.
    pub fn of(path: &str) -> Self {
        let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
            return Self::Unknown;
        };
        let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        match *segments.as_slice() {
            [] => Self::Root,
            ["ping"] => Self::Ping,
            ["metrics"] | ["metrics", "prometheus"] => Self::Metrics,
            ["v2", resource, ref rest @ ..] => Self::marathon(resource, rest),
            ["v1", "logs", task] => Self::Logs(task.to_owned()),
            _ => Self::Unknown,
        }
    }

    fn marathon(resource: &str, rest: &[&str]) -> Self {
        match (resource, rest) {
            ("info", []) => Self::Info,
            ("leader", []) => Self::Leader,
            ("events", []) => Self::Events,
            ("apps", rest) => Self::app(rest),
            ("tasks", []) => Self::Tasks,
            ("tasks", ["delete"]) => Self::TasksDelete,
            ("deployments", []) => Self::Deployments,
            ("deployments", [id]) => Self::Deployment((*id).to_owned()),
            ("queue", []) => Self::Queue,
            ("queue", [id @ .., "delay"]) if !id.is_empty() => Self::QueueDelay(absolute(id)),
            ("groups", rest) => Self::group(rest),
            ("pods", []) => Self::Pods,
            ("agents", []) => Self::Agents,
            ("agents", [id]) => Self::Agent((*id).to_owned()),
            ("masters", []) => Self::Masters,
            ("masters", [id]) => Self::Master((*id).to_owned()),
            ("backup", []) => Self::Backup,
            _ => Self::Unknown,
        }
    }

    fn app(rest: &[&str]) -> Self {
        match rest {
            [] => Self::Apps,
            [group @ .., "*"] => Self::AppsBelow(absolute(group)),
            [group @ .., "*", "tasks"] => Self::TasksBelow(absolute(group)),
            [app @ .., "restart"] if !app.is_empty() => Self::AppRestart(absolute(app)),
            [app @ .., "tasks"] if !app.is_empty() => Self::AppTasks(absolute(app)),
            [app @ .., "tasks", task] if !app.is_empty() => {
                Self::AppTask { app: absolute(app), task: (*task).to_owned() }
            }
            [app @ .., "versions"] if !app.is_empty() => Self::AppVersions(absolute(app)),
            [app @ .., "versions", version] if !app.is_empty() => {
                Self::AppVersion { app: absolute(app), version: (*version).to_owned() }
            }
            app => Self::App(absolute(app)),
        }
    }

    fn group(rest: &[&str]) -> Self {
        match rest {
            [.., "versions"] | [.., "versions", _] => Self::Unknown,
            [group @ .., "apps"] => Self::GroupApps(absolute(group)),
            group => Self::Group(absolute(group)),
        }
    }
}

fn absolute(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::Route::{self, *};

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn paths_are_told_apart_by_their_ends() {
        for (path, route) in [
            ("/", Root),
            ("/v2/apps/a/b", App(text("/a/b"))),
            ("/v2/apps/a/*", AppsBelow(text("/a"))),
            ("/v2/apps/*", AppsBelow(text("/"))),
            ("/v2/apps/a/*/tasks", TasksBelow(text("/a"))),
            ("/v2/apps/a/b/restart", AppRestart(text("/a/b"))),
            ("/v2/apps/restart", App(text("/restart"))),
            ("/v2/apps/a/tasks", AppTasks(text("/a"))),
            ("/v2/apps/a/tasks/t.1", AppTask { app: text("/a"), task: text("t.1") }),
            ("/v2/apps/a/versions", AppVersions(text("/a"))),
            (
                "/v2/apps/a/b/versions/2020-01-01T00:00:00.000Z",
                AppVersion { app: text("/a/b"), version: text("2020-01-01T00:00:00.000Z") },
            ),
            ("/v2/tasks/delete", TasksDelete),
            ("/v2/queue/a/b/delay", QueueDelay(text("/a/b"))),
            ("/v2/queue/delay", Unknown),
            ("/v2/groups/", Group(text("/"))),
            ("/v2/groups/a/apps", GroupApps(text("/a"))),
            ("/v2/groups/a/versions", Unknown),
            ("/metrics/prometheus", Metrics),
            ("/v2/masters/", Masters),
            ("/v2/masters/m%201", Master(text("m 1"))),
            ("/v2/backup", Backup),
            ("/v2/schemas", Unknown),
            ("/v2/apps/%FF", Unknown),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn clients_rule_1_trailing_slash_is_the_list() {
        assert_eq!(Route::of("/v2/apps/"), Apps);
    }

    #[test]
    fn clients_rule_2_double_slashes_mean_nothing() {
        assert_eq!(Route::of("/v2/apps//shop/web"), App(text("/shop/web")));
        assert_eq!(Route::of("/v2/groups//shop"), Group(text("/shop")));
        assert_eq!(Route::of("/v2/queue//shop/web/delay"), QueueDelay(text("/shop/web")));
    }

    #[test]
    fn clients_rule_3_encoded_slashes_are_slashes() {
        assert_eq!(Route::of("/v2/apps/%2Fshop%2Fweb"), App(text("/shop/web")));
        assert_eq!(Route::of("/v2/apps/%2Fshop%2fweb/versions"), AppVersions(text("/shop/web")));
        assert_eq!(Route::of("/v2/apps/%2Fshop%2Fweb/restart"), AppRestart(text("/shop/web")));
    }
}
