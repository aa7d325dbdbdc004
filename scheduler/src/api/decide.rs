//! Who answers a request: this master, from what it knows or from what is surely current; the leader, through
//! this master or after a redirect; or nobody (reference sections 0 and 5.10). Pure: one function, one table.

use axum::http::{HeaderMap, Method, header};

use super::call::Query;
use super::route::Route;
use crate::cluster::Leadership;

/// Where masters write themselves down on what they pass on; Marathon's name for it. `Via` says the same to
/// everybody else.
pub(super) const MARATHON_VIA: &str = "x-marathon-via";

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Answer: it is about this master alone, or a change, which the log puts in order.
    Serve,
    /// Answer once everything that was acknowledged before is applied here.
    ServeCurrent,
    /// Answer from this master's replica as it is, and say how fresh it is.
    ServeStale,
    /// Pass it on to the leader at this `host:port`.
    Proxy(String),
    /// Send the client to the leader at this `host:port`.
    Redirect(String),
    /// Do nothing.
    Refuse(Refused),
}

/// Why nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No leader is known, or it is this master and it is not ready. That may change in a moment.
    NoLeader,
    /// It has been here before.
    Loop,
    /// Another master took this one for the leader: it is to look again.
    NotLeading,
}

/// The request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub route: &'a Route,
    pub method: &'a Method,
    pub query: &'a Query,
    pub headers: &'a HeaderMap,
}

/// This master.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    pub leadership: &'a Leadership,
    /// `host:port` of its REST as others reach it.
    pub advertised: &'a str,
    /// Has it a state that the cluster once had?
    pub has_state: bool,
}

/// Decides.
pub(super) fn decide(asked: Asked<'_>, here: Here<'_>) -> Decision {
    let reads = matches!(*asked.method, Method::GET | Method::HEAD);
    if about_this_master(asked.route, reads) {
        return Decision::Serve;
    }
    let replicated = !matches!(asked.route, Route::Events | Route::Logs(_));
    if reads && replicated && here.has_state && asked.query.flag("stale", false) {
        return Decision::ServeStale;
    }
    if here.leadership.leading {
        let looks = (reads && *asked.route != Route::Events) || chooses_from_state(asked.route);
        return if looks { Decision::ServeCurrent } else { Decision::Serve };
    }
    if has_passed(asked.headers, here.advertised) {
        return Decision::Refuse(Refused::Loop);
    }
    match &here.leadership.leader_http {
        Some(leader) if leader == here.advertised => Decision::Refuse(Refused::NoLeader),
        Some(_) if asked.headers.contains_key(MARATHON_VIA) => Decision::Refuse(Refused::NotLeading),
        Some(leader) if *asked.route == Route::Events => Decision::Redirect(leader.clone()),
        Some(leader) => Decision::Proxy(leader.clone()),
        None => Decision::Refuse(Refused::NoLeader),
    }
}

/// What every master can say for itself. Unlike Marathon's, a standby is asked in vain for nothing of this
/// while there is no leader. What no master serves needs no leader either.
fn about_this_master(route: &Route, reads: bool) -> bool {
    match route {
        Route::Ping | Route::Metrics | Route::Info | Route::Unknown | Route::Root | Route::Pods => true,
        Route::Leader => reads,
        _ => false,
    }
}

/// Changes that say what they found without asking the log: nothing to kill is no entry, and neither is a
/// master or a delay that is not there. Every other change is refused by the log, or looks again before it is
/// refused (`change::deploy`).
fn chooses_from_state(route: &Route) -> bool {
    matches!(
        route,
        Route::AppTasks(_)
            | Route::AppTask { .. }
            | Route::TasksDelete
            | Route::QueueDelay(_)
            | Route::Master(_)
    )
}

/// What this master writes on what it passes on.
pub(super) fn via(advertised: &str) -> String {
    format!("1.1 {advertised}")
}

fn has_passed(headers: &HeaderMap, advertised: &str) -> bool {
    let own = via(advertised);
    let passed = headers.get_all(MARATHON_VIA).iter().chain(headers.get_all(header::VIA));
    passed
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|hop| hop.trim() == own)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::Decision::*;
    use super::*;

    const SELF: &str = "m1:80";
    const OTHER: &str = "m2:80";

    fn leadership(leading: bool, leader: Option<&str>) -> Leadership {
        Leadership { term: 1, leading, leader_http: leader.map(str::to_owned) }
    }

    fn decided(
        request: &str,
        via: &[(&'static str, &'static str)],
        leadership: &Leadership,
        has_state: bool,
    ) -> Decision {
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in via {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let asked = Asked {
            route: &Route::of(path),
            method: &method.parse().unwrap(),
            query: &Query::parse(query),
            headers: &headers,
        };
        decide(asked, Here { leadership, advertised: SELF, has_state })
    }

    #[test]
    fn by_route_and_method() {
        let proxy = || Proxy(OTHER.to_owned());
        let refuse = || Refuse(Refused::NoLeader);
        let redirect = Redirect(OTHER.to_owned());
        for (request, leading, following, leaderless) in [
            ("GET /v2/apps", ServeCurrent, proxy(), refuse()),
            ("HEAD /v2/apps", ServeCurrent, proxy(), refuse()),
            ("GET /v2/apps/a", ServeCurrent, proxy(), refuse()),
            ("POST /v2/apps", Serve, proxy(), refuse()),
            ("DELETE /v2/apps/a?stale=true", Serve, proxy(), refuse()),
            ("GET /v2/tasks", ServeCurrent, proxy(), refuse()),
            ("GET /v2/queue", ServeCurrent, proxy(), refuse()),
            ("GET /v2/agents", ServeCurrent, proxy(), refuse()),
            ("GET /v2/groups", ServeCurrent, proxy(), refuse()),
            ("GET /v2/deployments", ServeCurrent, proxy(), refuse()),
            ("GET /v2/backup", ServeCurrent, proxy(), refuse()),
            ("GET /v2/masters", ServeCurrent, proxy(), refuse()),
            ("DELETE /v2/masters/m2", ServeCurrent, proxy(), refuse()),
            ("DELETE /v2/queue/a/delay", ServeCurrent, proxy(), refuse()),
            ("DELETE /v2/leader", Serve, proxy(), refuse()),
            ("OPTIONS /v2/apps", Serve, proxy(), refuse()),
            ("DELETE /v2/apps/a/tasks", ServeCurrent, proxy(), refuse()),
            ("DELETE /v2/apps/a/tasks/t", ServeCurrent, proxy(), refuse()),
            ("POST /v2/tasks/delete", ServeCurrent, proxy(), refuse()),
            ("GET /v1/logs/t", ServeCurrent, proxy(), refuse()),
            ("GET /v1/logs/t?stale=true", ServeCurrent, proxy(), refuse()),
            ("GET /v2/events", Serve, redirect.clone(), refuse()),
            ("GET /v2/events?stale=true", Serve, redirect, refuse()),
            // Of this master alone.
            ("GET /ping", Serve, Serve, Serve),
            ("GET /metrics", Serve, Serve, Serve),
            ("GET /v2/info", Serve, Serve, Serve),
            ("GET /v2/leader", Serve, Serve, Serve),
            ("POST /v2/info", Serve, Serve, Serve),
            ("HEAD /v2/pods", Serve, Serve, Serve),
            ("GET /", Serve, Serve, Serve),
            ("GET /nowhere", Serve, Serve, Serve),
            // What was asked for by its own name.
            ("GET /v2/apps?stale=true", ServeStale, ServeStale, ServeStale),
            ("HEAD /v2/apps?stale=True", ServeStale, ServeStale, ServeStale),
            ("GET /v2/masters?stale=true", ServeStale, ServeStale, ServeStale),
            ("GET /v2/backup?stale=true", ServeStale, ServeStale, ServeStale),
            ("GET /v2/apps?stale=false", ServeCurrent, proxy(), refuse()),
        ] {
            let cases = [
                (leadership(true, Some(SELF)), leading),
                (leadership(false, Some(OTHER)), following),
                (leadership(false, None), leaderless.clone()),
                // Elected, but what its term began with is not applied.
                (leadership(false, Some(SELF)), leaderless),
            ];
            for (leadership, expected) in cases {
                assert_eq!(decided(request, &[], &leadership, true), expected, "{request} {leadership:?}");
            }
        }
    }

    #[test]
    fn a_master_without_a_state_has_nothing_stale() {
        let following = leadership(false, Some(OTHER));
        assert_eq!(decided("GET /v2/apps?stale=true", &[], &following, false), Proxy(OTHER.to_owned()));
        let starting = leadership(false, None);
        assert_eq!(decided("GET /v2/apps?stale=true", &[], &starting, false), Refuse(Refused::NoLeader));
    }

    #[test]
    fn what_masters_pass_on_goes_no_further() {
        let (following, leading) = (leadership(false, Some(OTHER)), leadership(true, Some(SELF)));
        for (via, expected) in [
            (&[("x-marathon-via", "1.1 m1:80")][..], Refuse(Refused::Loop)),
            (&[("x-marathon-via", "1.1 m3:80, 1.1 m1:80")], Refuse(Refused::Loop)),
            (&[("x-marathon-via", "1.1 m3:80"), ("x-marathon-via", "1.1 m1:80")], Refuse(Refused::Loop)),
            (&[("via", "1.0 cache, 1.1 m1:80")], Refuse(Refused::Loop)),
            (&[("x-marathon-via", "1.1 m3:80")], Refuse(Refused::NotLeading)),
            // Other people's proxies are no masters.
            (&[("via", "1.1 cache")], Proxy(OTHER.to_owned())),
            (&[("via", "1.1 m1:8080")], Proxy(OTHER.to_owned())),
        ] {
            assert_eq!(decided("POST /v2/apps", via, &following, true), expected, "{via:?}");
            assert_eq!(decided("POST /v2/apps", via, &leading, true), Serve, "{via:?}");
        }
    }
}
