//! One request taken apart, and its query parameters.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};

use super::server::Peer;

/// A request as handlers see it, without its body.
#[derive(Debug)]
pub(super) struct Call {
    pub method: Method,
    /// As it was sent, still encoded.
    pub path: String,
    /// The path and the query, as they were sent.
    pub target: String,
    pub query: Query,
    pub headers: HeaderMap,
    pub peer: Peer,
}

impl Call {
    /// Takes a request apart.
    pub fn new(request: Request) -> (Self, Body) {
        let (parts, body) = request.into_parts();
        let call = Self {
            path: parts.uri.path().to_owned(),
            target: parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            peer: parts.extensions.get::<Peer>().cloned().unwrap_or_else(Peer::local),
            method: parts.method,
            headers: parts.headers,
        };
        (call, body)
    }

    /// The `Host` that the client used, if it is sendable back.
    pub fn host(&self) -> Option<&str> {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok())
    }
}

/// Query parameters in order; keys may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// From the text after the `?`. Its length is bounded by the size of a request line.
    pub fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// Every value of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a key.
    pub fn one(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A boolean, in any case (clients.md rule 4); anything but `true` is false, as in Java.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.one(key).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_rule_4_booleans_in_any_case() {
        let query = Query::parse("force=True&scale=FALSE&wipe=true&x=1");
        assert!(query.flag("force", false) && query.flag("wipe", false));
        assert!(!query.flag("scale", true) && !query.flag("x", true) && query.flag("absent", true));
    }

    #[test]
    fn keys_repeat_and_are_decoded() {
        let query = Query::parse("embed=app.tasks&embed=app%2Ecounts&label=a+in+(b)&flag");
        assert_eq!(query.all("embed").collect::<Vec<_>>(), ["app.tasks", "app.counts"]);
        assert_eq!(query.one("label"), Some("a in (b)"));
        assert_eq!(query.one("flag"), Some(""));
    }
}
