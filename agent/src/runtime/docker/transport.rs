//! The connection to the Engine: pooled, over its Unix socket, with the API version in every request.
//!
//! `bollard` 0.21.1 opens a socket for each request and drops the version from its paths (its issue
//! #736), so that an Engine newer than its models would answer in shapes that it cannot read. Both are
//! mended here. The next release sends the version itself: the modifier must go then.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;

use super::errors;
use crate::runtime::RuntimeError;

/// Where the Engine listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The newest API (Engine 25) that this code was written for.
const NEWEST: (u16, u16) = (1, 44);
/// The oldest that has what is used (`wait` with a condition, which answers at once).
const OLDEST: (u16, u16) = (1, 30);
/// From a request to the head of its answer. Creating and starting hundreds at once takes a while.
const TIMEOUT_SECONDS: u64 = 120;
/// Idle connections kept for the next burst.
const IDLE_MAX: usize = 64;
const IDLE: Duration = Duration::from_secs(30);

/// The socket to use: the one given, else that of `DOCKER_HOST`, else the usual one.
pub(super) fn socket_path(
    given: Option<PathBuf>,
    docker_host: Option<&str>,
) -> Result<PathBuf, RuntimeError> {
    match (given, docker_host.filter(|host| !host.is_empty())) {
        (Some(path), _) => Ok(path),
        (None, None) => Ok(PathBuf::from(DEFAULT_SOCKET)),
        (None, Some(host)) => host.strip_prefix("unix://").map(PathBuf::from).ok_or_else(|| {
            RuntimeError::Unsupported(format!(
                "DOCKER_HOST={host}: only unix:// is supported, tasks run on this machine"
            ))
        }),
    }
}

/// Connects, asks for the Engine's version and settles on one for all further requests.
pub(super) async fn connect(socket: &Path) -> Result<Docker, RuntimeError> {
    let unpinned = open(socket).map_err(errors::failure)?;
    let version = unpinned.version().await.map_err(|error| errors::unreachable(socket, error))?;
    let (major, minor) = agree(version.api_version.as_deref().unwrap_or_default())?;
    let prefix = format!("/v{major}.{minor}");
    Ok(open(socket).map_err(errors::failure)?.with_request_modifier(move |request| modify(request, &prefix)))
}

/// The lower of the Engine's newest API and ours.
fn agree(engine: &str) -> Result<(u16, u16), RuntimeError> {
    let parsed =
        engine.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match parsed {
        Some(version) if version >= OLDEST => Ok(version.min(NEWEST)),
        _ => Err(RuntimeError::Unavailable(format!(
            "Docker speaks API {engine:?}, at least {}.{} is needed",
            OLDEST.0, OLDEST.1
        ))),
    }
}

fn open(socket: &Path) -> Result<Docker, bollard::errors::Error> {
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(UnixConnector);
    Docker::connect_with_custom_transport(
        move |request: BollardRequest| {
            let response = client.request(request);
            Box::pin(async move { response.await.map_err(bollard::errors::Error::from) })
        },
        Some(format!("unix://{}", hex(socket))),
        TIMEOUT_SECONDS,
        API_DEFAULT_VERSION,
    )
}

/// The connector reads the socket's path from the host of the address, in hexadecimal.
fn hex(socket: &Path) -> String {
    socket.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn modify(mut request: BollardRequest, prefix: &str) -> BollardRequest {
    if let Some(uri) = with_prefix(request.uri(), prefix) {
        *request.uri_mut() = uri;
    }
    // bollard encodes credentials in the standard alphabet; the Engine reads the one for URLs only.
    if let Some(value) = request.headers_mut().get_mut("x-registry-auth")
        && let Some(safe) = url_safe(value)
    {
        *value = safe;
    }
    request
}

fn with_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str();
    Uri::builder()
        .scheme(uri.scheme()?.clone())
        .authority(uri.authority()?.clone())
        .path_and_query(format!("{prefix}{path}"))
        .build()
        .ok()
}

fn url_safe(value: &HeaderValue) -> Option<HeaderValue> {
    let safe = value.to_str().ok()?.replace('+', "-").replace('/', "_");
    HeaderValue::from_str(&safe).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_version_wins_and_ancient_engines_are_refused() {
        assert_eq!(agree("1.41").unwrap(), (1, 41));
        assert_eq!(agree("1.53").unwrap(), NEWEST);
        assert_eq!(agree("2.0").unwrap(), NEWEST);
        for wrong in ["1.9", "1.24", "", "x.y", "1"] {
            assert!(agree(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_version_goes_before_the_path() {
        let uri: Uri = "unix://2f61/containers/create?name=a%20b".parse().unwrap();
        assert_eq!(
            with_prefix(&uri, "/v1.41").unwrap().to_string(),
            "unix://2f61/v1.41/containers/create?name=a%20b"
        );
    }

    #[test]
    fn credentials_use_the_alphabet_for_urls() {
        assert_eq!(url_safe(&HeaderValue::from_static("a+b/c=")).unwrap(), "a-b_c=");
    }

    #[test]
    fn sockets() {
        let path = |given: Option<&str>, host| socket_path(given.map(PathBuf::from), host).ok();
        assert_eq!(path(None, None), Some(DEFAULT_SOCKET.into()));
        assert_eq!(path(None, Some("")), Some(DEFAULT_SOCKET.into()));
        assert_eq!(path(None, Some("unix:///run/x.sock")), Some("/run/x.sock".into()));
        assert_eq!(path(Some("/a"), Some("unix:///b")), Some("/a".into()));
        assert_eq!(path(None, Some("tcp://host:2375")), None);
    }
}
