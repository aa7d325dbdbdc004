//! What surrounds every request: the refusal of cross-site writes, and the headers of every answer
//! (reference section 0).
//!
//! The API is bound to loopback by default, and a browser on the same machine can reach it: a page of any
//! site could try to POST. Browsers send `Origin` with such requests; one that is not the `Host` asked
//! for is refused. Programs send no `Origin` and notice nothing.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;

use super::failure::Failure;
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
