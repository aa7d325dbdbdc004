//! Requests to a master, and its refusals as one line a person can act on.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// Longest wait for an answer that is not a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One master's REST API.
pub struct Master {
    base: String,
    http: reqwest::Client,
}

/// A refusal, with what the master said.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// `message` of the body and its details, on one line.
    pub message: String,
}

impl Master {
    /// At `base`, for example `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let base = if base.contains("://") { base } else { format!("http://{base}") };
        // No proxy: a cluster's masters are reached directly, whatever the environment says for the web.
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { base, http })
    }

    /// Asks for JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for JSON that may not be there.
    pub async fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == StatusCode::NOT_FOUND => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Sends JSON (or nothing) and reads the JSON answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, self.url(path)).timeout(ANSWER_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.send(request.header("Accept", "application/json")).await?;
        let text = answer.text().await.context("the answer broke off")?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{} did not answer in JSON", self.base))
    }

    /// Opens a stream that may go on for ever.
    pub async fn stream(&self, path: &str, accept: &str) -> anyhow::Result<Response> {
        self.send(self.http.get(self.url(path)).header("Accept", accept)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        Err(Refused { status, message: refusal(status, &text) }.into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        if error.is_connect() {
            return anyhow!(
                "no master answers at {}: is it running? (`clusterctl dev` starts one; --master or \
                 CLUSTERCTL_MASTER name another)",
                self.base
            );
        }
        if error.is_timeout() {
            return anyhow!("the master at {} did not answer in time", self.base);
        }
        anyhow!("{error}")
    }
}

/// The message of an error body and its details: `Object is not valid: /id: must not be root`.
fn refusal(status: StatusCode, text: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(text) else {
        return format!("the master answered {status}");
    };
    let mut line = body["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
    match &body["details"] {
        Value::String(detail) => line = format!("{line}: {detail}"),
        Value::Array(details) => {
            for detail in details {
                for error in detail["errors"].as_array().into_iter().flatten() {
                    let (path, error) =
                        (detail["path"].as_str().unwrap_or("/"), error.as_str().unwrap_or(""));
                    line = format!("{line}; {path}: {error}");
                }
            }
        }
        _ => {}
    }
    let locked: Vec<&str> =
        body["deployments"].as_array().into_iter().flatten().filter_map(|held| held["id"].as_str()).collect();
    if !locked.is_empty() {
        line = format!("{line} (deployment {}; --force cancels it)", locked.join(", "));
    }
    line
}

/// The path of an app below `prefix`: ids are written with their leading slash.
pub fn app_path(id: &str) -> String {
    format!("/v2/apps/{}", id.trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_one_line() {
        let body =
            r#"{"message":"Object is not valid","details":[{"path":"/id","errors":["must not be root"]}]}"#;
        assert_eq!(
            refusal(StatusCode::UNPROCESSABLE_ENTITY, body),
            "Object is not valid; /id: must not be root"
        );
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, "<html>"), "the master answered 502 Bad Gateway");
        let locked = r#"{"message":"App is locked.","deployments":[{"id":"d1"}]}"#;
        assert_eq!(
            refusal(StatusCode::CONFLICT, locked),
            "App is locked. (deployment d1; --force cancels it)"
        );
    }
}
