//! `fetch`: putting an app's artifacts into the sandbox, before the task starts.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use spec::app::Artifact;

use super::{archive, check_inside, download, owner};
use crate::runtime::process::identity::Identity;

/// Why an artifact is not there.
#[derive(Debug, thiserror::Error)]
#[error("fetching {uri}: {reason}")]
pub struct FetchError {
    /// Which.
    pub uri: String,
    /// In words.
    pub reason: String,
}

/// Where an artifact comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    File(&'a str),
    Http(&'a str),
}

/// Fetches all artifacts, in order, and gives them to `user` (as for `Sandboxes::create`). `cache` is
/// accepted and means nothing: nothing is kept between tasks.
pub async fn fetch(sandbox: &Path, artifacts: &[Artifact], user: Option<&str>) -> Result<(), FetchError> {
    for artifact in artifacts {
        let failed = |reason: String| FetchError { uri: artifact.uri.clone(), reason };
        fetch_one(sandbox, artifact).await.map_err(failed)?;
    }
    let (sandbox, user) = (sandbox.to_owned(), user.map(str::to_owned));
    let given = tokio::task::spawn_blocking(move || match owner(user.as_deref())? {
        Some(owner) => give(&sandbox, &owner),
        None => Ok(()),
    });
    let reason = |error: String| FetchError { uri: "all artifacts".to_owned(), reason: error };
    given.await.map_err(|error| reason(error.to_string()))?.map_err(|error| reason(error.to_string()))
}

async fn fetch_one(sandbox: &Path, artifact: &Artifact) -> Result<(), String> {
    let source = source(&artifact.uri)?;
    let relative = destination(artifact)?;
    let target = sandbox.join(&relative);
    // Beside its place and under a name that no archive can have prepared.
    let temporary = sandbox.join(format!(".fetch-{}", uuid::Uuid::new_v4()));
    match source {
        Source::Http(uri) => download::http(uri, &temporary).await?,
        Source::File(path) => {
            tokio::fs::copy(path, &temporary).await.map_err(|error| error.to_string()).map(drop)?;
        }
    }
    let (sandbox, artifact) = (sandbox.to_owned(), artifact.clone());
    let placed = tokio::task::spawn_blocking(move || place(&sandbox, &temporary, &target, &artifact));
    placed.await.map_err(|error| error.to_string())?
}

/// Moves the fetched file to its place, then makes it executable or unpacks it beside itself.
fn place(sandbox: &Path, temporary: &Path, target: &Path, artifact: &Artifact) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let directory = target.parent().unwrap_or(sandbox);
    make_directory(sandbox, directory).map_err(text)?;
    let mode = if artifact.executable { 0o755 } else { 0o644 };
    fs::set_permissions(temporary, fs::Permissions::from_mode(mode)).map_err(text)?;
    fs::rename(temporary, target).map_err(text)?;
    if artifact.extract && !artifact.executable {
        archive::extract(target, directory)?;
    }
    Ok(())
}

/// Each part in its turn: a link that leads out of the sandbox is not followed on the way.
fn make_directory(sandbox: &Path, directory: &Path) -> io::Result<()> {
    let mut path = sandbox.to_owned();
    for part in directory.strip_prefix(sandbox).unwrap_or(directory).components() {
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => check_inside(sandbox, &path)?,
        }
    }
    Ok(())
}

fn source(uri: &str) -> Result<Source<'_>, String> {
    match uri.split_once("://") {
        Some(("http", _)) => Ok(Source::Http(uri)),
        Some(("file", path)) if path.starts_with('/') => Ok(Source::File(path)),
        None if uri.starts_with('/') => Ok(Source::File(uri)),
        Some(("https", _)) => {
            Err("https is not supported by this agent; serve it over http or from a file".to_owned())
        }
        Some((scheme, _)) => Err(format!("`{scheme}` is not supported; http and file are")),
        None => Err("expected an http:// or file:// URI or an absolute path".to_owned()),
    }
}

/// `destPath`, or the last part of the URI's path; inside the sandbox.
fn destination(artifact: &Artifact) -> Result<PathBuf, String> {
    let path = match artifact.dest_path.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => path,
        None => {
            let end = artifact.uri.find(['?', '#']).unwrap_or(artifact.uri.len());
            let rest = artifact.uri[..end].split_once("://").map_or(&artifact.uri[..end], |(_, rest)| rest);
            rest.rsplit_once('/').map_or("", |(_, name)| name)
        }
    };
    let path = Path::new(path);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let Some(_) = path.file_name().filter(|_| is_plain) else {
        return Err(format!("`{}` is no place for a file in the sandbox", path.display()));
    };
    Ok(path.components().filter(|part| *part != Component::CurDir).collect())
}

/// Gives a directory and all in it to a user, links themselves and not what they name.
fn give(directory: &Path, owner: &Identity) -> io::Result<()> {
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        owner.own(&path)?;
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
