//! Registry credentials from the configuration of Docker's own client: entries of `auths`, and the
//! credential helpers that it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The name under which Docker Hub's credentials are kept.
const HUB: &str = "https://index.docker.io/v1/";
/// A helper that asks a keychain or a cloud may take a moment, not more.
const HELPER_MAX: Duration = Duration::from_secs(10);
/// Far above any configuration or answer of a helper.
const MAX_BYTES: u64 = 1 << 20;

/// The part of `config.json` that concerns credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// What a helper prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The directory of Docker's client configuration.
pub(super) fn config_dir() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from).or_else(home)
}

/// Credentials for a registry (`None`: Docker Hub). Whatever goes wrong is logged, and the pull is tried
/// without any: the registry's answer says more than a guess.
pub(super) async fn find(config: Option<&Path>, registry: Option<&str>) -> Option<DockerCredentials> {
    let path = config?.join("config.json");
    let text = match read(&path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read registry credentials");
            return None;
        }
    };
    let config: Config = serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(%error, "registry credentials are no JSON"))
        .ok()?;
    let server = registry.unwrap_or(HUB);
    match config.helper(server) {
        Some(helper) => ask(helper, server)
            .await
            .inspect_err(|error| tracing::warn!(helper, server, error, "no credentials from the helper"))
            .ok(),
        None => config.stored(server),
    }
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    tokio::fs::File::open(path).await?.take(MAX_BYTES).read_to_end(&mut text).await?;
    Ok(text)
}

impl Config {
    fn helper(&self, server: &str) -> Option<&str> {
        let named = self.cred_helpers.iter().find(|(key, _)| host_of(key) == host_of(server));
        named
            .map(|(_, helper)| helper)
            .or(Some(&self.creds_store))
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    fn stored(&self, server: &str) -> Option<DockerCredentials> {
        let (_, entry) = self.auths.iter().find(|(key, _)| host_of(key) == host_of(server))?;
        let decoded = STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (username, password) = match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((username, password)) => (username.to_owned(), password.trim_end_matches('\0').to_owned()),
            None => (entry.username.clone(), entry.password.clone()),
        };
        Some(DockerCredentials {
            username: filled(username),
            password: filled(password),
            identitytoken: filled(entry.identitytoken.clone()),
            registrytoken: filled(entry.registrytoken.clone()),
            serveraddress: Some(server.to_owned()),
            ..DockerCredentials::default()
        })
    }
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Keys come as `reg.example.com`, with a scheme, with a path; Docker compares their hosts. The Hub goes
/// by two names.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match rest.split('/').next().unwrap_or(rest) {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        host => host,
    }
}

/// Runs `docker-credential-NAME get`.
async fn ask(helper: &str, server: &str) -> Result<DockerCredentials, String> {
    if !helper.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character)) {
        return Err("its name is not one of a program".to_owned());
    }
    let answer = tokio::time::timeout(HELPER_MAX, run(helper, server));
    let output =
        answer.await.map_err(|_| "it took too long".to_owned())?.map_err(|error| error.to_string())?;
    let answer: HelperAnswer =
        serde_json::from_slice(&output).map_err(|_| String::from_utf8_lossy(&output).trim().to_owned())?;
    let mut credentials =
        DockerCredentials { serveraddress: Some(server.to_owned()), ..DockerCredentials::default() };
    if answer.username == "<token>" {
        credentials.identitytoken = Some(answer.secret);
    } else {
        credentials.username = Some(answer.username);
        credentials.password = Some(answer.secret);
    }
    Ok(credentials)
}

async fn run(helper: &str, server: &str) -> std::io::Result<Vec<u8>> {
    let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(server.as_bytes()).await?;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_BYTES).read_to_end(&mut output).await?;
    }
    child.wait().await?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let auth = STANDARD.encode("jim:pa:ss");
        serde_json::from_value(serde_json::json!({
            "auths": {
                "https://index.docker.io/v1/": {"auth": auth},
                "reg.example.com:5000": {"identitytoken": "tok"},
                "http://plain.example.com/v2/": {"username": "u", "password": "p"},
            },
            "credHelpers": {"ecr.example.com": "ecr-login"},
        }))
        .unwrap()
    }

    #[test]
    fn stored_entries_are_found_by_host() {
        let config = config();
        let hub = config.stored(HUB).unwrap();
        assert_eq!((hub.username.as_deref(), hub.password.as_deref()), (Some("jim"), Some("pa:ss")));
        assert_eq!(config.stored("reg.example.com:5000").unwrap().identitytoken.as_deref(), Some("tok"));
        assert_eq!(config.stored("plain.example.com").unwrap().username.as_deref(), Some("u"));
        assert_eq!(config.stored("reg.example.com"), None);
    }

    #[test]
    fn helpers_by_registry_then_the_store() {
        let mut config = config();
        assert_eq!(config.helper("ecr.example.com"), Some("ecr-login"));
        assert_eq!(config.helper(HUB), None);
        config.creds_store = "pass".to_owned();
        assert_eq!(config.helper(HUB), Some("pass"));
    }

    #[tokio::test]
    async fn a_helper_is_a_program_name_not_a_path() {
        assert!(ask("../../bin/sh", HUB).await.is_err());
        assert!(ask("no-such-helper", HUB).await.is_err());
    }
}
