//! Reading the logs of containers.
//!
//! The Engine counts a tail over both streams and filters afterwards; the last hundred lines of one
//! stream can be none. So it is first found out how much of the common log holds them.

use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt};
use spec::protocol::LogFile;

use super::errors;
use crate::runtime::{LogStream, RuntimeError};

/// How much longer the common log is tried each time; its size is bounded by the log driver's options.
const GROWTH: u64 = 8;

/// Where in the common log to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    /// Lines of both streams from the end; `None`: all.
    tail: Option<u64>,
    /// Lines of the one stream to leave out from there.
    skip: usize,
}

/// One stream of a container's log.
pub(super) async fn read(
    api: &bollard::Docker,
    container: &str,
    file: LogFile,
    tail_lines: Option<u32>,
    follow: bool,
) -> Result<LogStream, RuntimeError> {
    let start = match tail_lines {
        None => Start { tail: None, skip: 0 },
        Some(lines) => find(api, container, file, u64::from(lines)).await?,
    };
    let parts = api.logs(container, Some(options(Some(file), start.tail, follow)));
    let mut parts = Box::pin(parts.peekable());
    // A container that is just being removed says so in place of its log; who asks then looks elsewhere.
    if let Some(Err(error)) = parts.as_mut().next_if(Result::is_err).await {
        return Err(errors::of_log(error));
    }
    Ok(parts.map_ok(LogOutput::into_bytes).map_err(errors::failure).skip(start.skip).boxed())
}

async fn find(
    api: &bollard::Docker,
    container: &str,
    file: LogFile,
    lines: u64,
) -> Result<Start, RuntimeError> {
    let mut tail = lines;
    loop {
        let (mut of_both, mut of_this) = (0_u64, 0_u64);
        let mut parts = api.logs(container, Some(options(None, Some(tail), false)));
        while let Some(part) = parts.try_next().await.map_err(errors::of_log)? {
            of_both += 1;
            of_this += u64::from(is_of(file, &part));
        }
        if of_this >= lines || of_both < tail {
            let skip = usize::try_from(of_this.saturating_sub(lines)).unwrap_or(usize::MAX);
            return Ok(Start { tail: Some(tail), skip });
        }
        tail = tail.saturating_mul(GROWTH);
    }
}

/// A terminal has one stream, which counts as the standard output.
fn is_of(file: LogFile, part: &LogOutput) -> bool {
    matches!(part, LogOutput::StdErr { .. }) == (file == LogFile::Stderr)
}

fn options(file: Option<LogFile>, tail: Option<u64>, follow: bool) -> LogsOptions {
    let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    LogsOptionsBuilder::default()
        .follow(follow)
        .stdout(file != Some(LogFile::Stderr))
        .stderr(file != Some(LogFile::Stdout))
        .tail(&tail)
        .build()
}
