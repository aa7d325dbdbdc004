//! `clusterctl events`: the event stream of the masters, one line an event.

use std::fmt::Write as _;

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::Value;

use super::http::Master;
use super::table::paint;
use crate::args::{GREEN, Output};

/// A line longer than this is not an event of ours.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Prints events until interrupted.
pub async fn run(master: &Master, output: Output, types: &[String]) -> anyhow::Result<()> {
    let mut path = "/v2/events".to_owned();
    for (index, kind) in types.iter().enumerate() {
        let _ = write!(path, "{}event_type={kind}", if index == 0 { '?' } else { '&' });
    }
    let answer = master.stream(&path, "text/event-stream").await?;
    let mut chunks = answer.bytes_stream();
    let mut pending: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        pending.extend_from_slice(&chunk.context("the event stream broke off")?);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            print_line(output, &String::from_utf8_lossy(&line));
        }
        anyhow::ensure!(pending.len() < LINE_BYTES_MAX, "the event stream is not one: a line has no end");
    }
    anyhow::bail!("the master ended the event stream")
}

fn print_line(output: Output, line: &str) {
    let Some(data) = line.trim_end().strip_prefix("data: ") else { return };
    if output == Output::Json {
        println!("{data}");
        return;
    }
    let Ok(event) = serde_json::from_str::<Value>(data) else { return };
    let kind = event["eventType"].as_str().unwrap_or("?");
    let at = event["timestamp"].as_str().unwrap_or("");
    anstream::println!("{at} {} {}", paint(GREEN, kind), rest(&event));
}

/// The short fields of an event, as `name=value`.
fn rest(event: &Value) -> String {
    let fields = event.as_object().into_iter().flatten();
    let short = fields.filter(|(name, _)| !matches!(name.as_str(), "eventType" | "timestamp"));
    let words = short.filter_map(|(name, value)| match value {
        Value::Object(_) | Value::Null => None,
        Value::String(text) => Some(format!("{name}={text}")),
        other => Some(format!("{name}={other}")),
    });
    words.collect::<Vec<_>>().join(" ")
}
