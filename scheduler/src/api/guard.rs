//! What surrounds every request: the refusal of cross-site writes, and the headers of every answer
//! (reference section 0).
//!
//! The API is bound to loopback by default, and a browser on the same machine can reach it: a page of any
//! site could try to POST. Browsers send `Origin` with such requests; one that is not the `Host` asked
//! for is refused. Programs send no `Origin` and notice nothing.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;

use super::failure::Failure;
use super::route::Route;
use crate::cluster::Leadership;

/// Refuses a modifying request that a page of another site made.
pub(super) fn check_origin(method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, site)| site);
    match (site, host) {
        (Some(site), Some(host)) if site.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Failure::cross_site()),
    }
}

/// Until it leads, a master may still be reading its log: what it knows is not what is, and an empty list of
/// apps would be a lie that clients act upon. What speaks of this master alone is answered all the same, and
/// a stream of events is sent to whoever leads.
pub(super) fn check_ready(route: &Route, leadership: &Leadership) -> Result<(), Failure> {
    let about_itself = matches!(route, Route::Ping | Route::Metrics | Route::Info | Route::Leader);
    let redirected = *route == Route::Events && leadership.leader_http.is_some();
    let nothing = matches!(route, Route::Unknown | Route::Root | Route::Pods);
    if leadership.leading || about_itself || redirected || nothing {
        return Ok(());
    }
    Err(Failure::unavailable("This master does not lead: it is starting, or there is no leader now"))
}

/// Puts on what Marathon puts on every answer; the leader's headers only when this master leads.
pub(super) fn put_headers(response: &mut Response, leadership: &Leadership, advertised: &str) {
    let headers = response.headers_mut();
    let no_store = HeaderValue::from_static("no-cache, no-store, must-revalidate");
    headers.insert(header::CACHE_CONTROL, no_store);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    if !leadership.leading {
        return;
    }
    if let Ok(leader) = HeaderValue::from_str(&format!("http://{advertised}")) {
        headers.insert(HeaderName::from_static("x-marathon-leader"), leader);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: &Method, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        check_origin(method, &headers).is_ok()
    }

    #[test]
    fn nothing_is_said_of_the_cluster_by_who_does_not_lead() {
        let apps =
            ["/v2/apps", "/v2/apps/a", "/v2/tasks", "/v2/queue", "/v2/agents", "/v2/groups", "/v2/events"];
        let itself = ["/ping", "/metrics", "/v2/info", "/v2/leader", "/v3"];
        let starting = Leadership::default();
        let leading = Leadership { term: 1, leading: true, leader_http: Some("m:80".to_owned()) };
        let following = Leadership { leading: false, ..leading.clone() };
        let ready = |path: &str, now: &Leadership| check_ready(&Route::of(path), now).is_ok();
        for path in apps {
            assert!(!ready(path, &starting) && ready(path, &leading), "{path}");
            assert_eq!(ready(path, &following), path == "/v2/events", "{path}");
        }
        assert!(itself.iter().all(|path| ready(path, &starting)));
    }

    #[test]
    fn only_writes_from_other_sites_are_refused() {
        assert!(allowed(&Method::POST, None));
        assert!(allowed(&Method::POST, Some("http://127.0.0.1:8080")));
        assert!(allowed(&Method::GET, Some("http://evil.example")));
        for origin in ["http://evil.example", "http://127.0.0.1:9090", "null"] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(!allowed(&method, Some(origin)), "{method} {origin}");
            }
        }
    }
}
