//! Downloading one file over plain HTTP, bounded in size and time.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::{Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// The largest artifact.
const BYTES_MAX: u64 = 8 << 30;
/// The longest that a download may take, and the longest that it may stand still.
const TOTAL_MAX: Duration = Duration::from_secs(3600);
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// As browsers.
const REDIRECTS_MAX: usize = 10;

/// Downloads `uri` into a file.
pub(super) async fn http(uri: &str, file: &Path) -> Result<(), String> {
    let result = timeout(TOTAL_MAX, download(uri, file)).await;
    let result = result.unwrap_or_else(|_| Err(format!("not done after {} s", TOTAL_MAX.as_secs())));
    if result.is_err() {
        let _may_not_exist = tokio::fs::remove_file(file).await;
    }
    result
}

async fn download(uri: &str, file: &Path) -> Result<(), String> {
    let mut body = follow(uri).await?.into_body();
    let mut file = tokio::fs::File::create_new(file).await.map_err(|error| error.to_string())?;
    let mut written = 0_u64;
    while let Some(frame) = patiently(body.frame()).await? {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else {
            continue;
        };
        written += data.len() as u64;
        if written > BYTES_MAX {
            return Err(format!("larger than {} GiB", BYTES_MAX >> 30));
        }
        file.write_all(&data).await.map_err(|error| error.to_string())?;
    }
    file.flush().await.map_err(|error| error.to_string())
}

async fn follow(uri: &str) -> Result<Response<Incoming>, String> {
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut uri: Uri = uri.parse().map_err(|error| format!("{error}"))?;
    for _ in 0..REDIRECTS_MAX {
        let response = patiently(client.get(uri.clone())).await?.map_err(|error| chain(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let next = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let Some(next) = next else {
            return Err(format!("the server answered {status}"));
        };
        uri = redirect(&uri, next.to_str().map_err(|error| error.to_string())?)?;
    }
    Err(format!("more than {REDIRECTS_MAX} redirections"))
}

/// An absolute address, or a path on the same server.
fn redirect(from: &Uri, location: &str) -> Result<Uri, String> {
    let host = from.authority().map(ToString::to_string).unwrap_or_default();
    let absolute = match location.split_once("://") {
        Some(_) => location.to_owned(),
        None if location.starts_with("//") => format!("http:{location}"),
        None if location.starts_with('/') => format!("http://{host}{location}"),
        None => {
            let (directory, _) = from.path().rsplit_once('/').unwrap_or_default();
            format!("http://{host}{directory}/{location}")
        }
    };
    if !absolute.starts_with("http://") {
        return Err(format!("redirected to {absolute}: only http is supported"));
    }
    absolute.parse().map_err(|error| format!("redirected to {absolute}: {error}"))
}

async fn patiently<T>(step: impl Future<Output = T>) -> Result<T, String> {
    timeout(SILENCE_MAX, step).await.map_err(|_| format!("no data for {} s", SILENCE_MAX.as_secs()))
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections() {
        let from: Uri = "http://h:1/a/b?c".parse().unwrap();
        for (location, expected) in [
            ("/x", Some("http://h:1/x")),
            ("y", Some("http://h:1/a/y")),
            ("http://other/z", Some("http://other/z")),
            ("//other/z", Some("http://other/z")),
            ("https://other/z", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(
                redirect(&from, location).ok().map(|uri| uri.to_string()).as_deref(),
                expected,
                "{location}"
            );
        }
    }
}
