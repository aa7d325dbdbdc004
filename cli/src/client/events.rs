//! `clusterctl events`: the event stream of the masters, one line an event. When the master that sends it
//! goes away, another one goes on after the last event that was printed.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use reqwest::Response;
use serde_json::Value;

use super::http::Master;
use super::table::paint;
use crate::args::{GREEN, Output, YELLOW};

/// A line longer than this is not an event of ours.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Masters send something every 10 s.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// A stream that lasted this long was a good one: the next may be opened at once.
const LASTED: Duration = Duration::from_secs(1);

/// Prints events until interrupted, or until no master answers any more.
pub async fn run(master: &Master, output: Output, types: &[String]) -> anyhow::Result<()> {
    let mut path = "/v2/events?ids=true".to_owned();
    for kind in types {
        let _ = write!(path, "&event_type={kind}");
    }
    let mut lines = Lines { output, ..Lines::default() };
    let mut resuming = false;
    loop {
        let headers: Vec<_> = lines.last.iter().map(|last| ("Last-Event-ID", last.clone())).collect();
        let answer = master.stream_with(&path, "text/event-stream", &headers).await?;
        if resuming {
            anstream::eprintln!("the event stream goes on at {}", master.base());
            if lines.last.is_none() {
                anstream::eprintln!("events of the meantime, if any, are not shown");
            }
        }
        master.learn().await;
        let (since, from) = (Instant::now(), master.base());
        let error = lines.read(answer).await?;
        anstream::eprintln!("the event stream of {from} ended ({error}); looking for a master");
        if since.elapsed() < LASTED {
            tokio::time::sleep(LASTED).await;
        }
        master.move_on().await?;
        resuming = true;
    }
}

/// Events as they come out of a stream.
#[derive(Default)]
struct Lines {
    output: Output,
    pending: Vec<u8>,
    /// `id:` of the event that is being read.
    id: Option<String>,
    /// The last event that was printed whole.
    last: Option<String>,
}

impl Lines {
    /// Prints a stream; why it ended. An error when it is no event stream.
    async fn read(&mut self, answer: Response) -> anyhow::Result<String> {
        (self.pending, self.id) = (Vec::new(), None);
        let mut chunks = answer.bytes_stream();
        loop {
            let chunk = match tokio::time::timeout(SILENCE_MAX, chunks.next()).await {
                Err(_) => return Ok(format!("silent for {} s", SILENCE_MAX.as_secs())),
                Ok(None) => return Ok("closed by the master".to_owned()),
                Ok(Some(Err(_))) => return Ok("the connection broke".to_owned()),
                Ok(Some(Ok(chunk))) => chunk,
            };
            self.take(&chunk)
                .context("this is no event stream")?
                .iter()
                .for_each(|line| print(self.output, line));
        }
    }

    /// Takes in bytes; the data of the events that they complete.
    fn take(&mut self, chunk: &[u8]) -> anyhow::Result<Vec<String>> {
        let mut events = Vec::new();
        self.pending.extend_from_slice(chunk);
        let whole = self.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.pending.drain(..whole).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            if let Some(id) = line.strip_prefix("id: ") {
                self.id = Some(id.to_owned());
            }
            if let Some(data) = line.strip_prefix("data: ") {
                events.push(data.to_owned());
                // Our events have one line of data each.
                self.last = self.id.take().or(self.last.take());
            }
            if line.is_empty() {
                // An id may come without an event.
                self.last = self.id.take().or(self.last.take());
            }
        }
        anyhow::ensure!(self.pending.len() < LINE_BYTES_MAX, "a line has no end");
        Ok(events)
    }
}

fn print(output: Output, data: &str) {
    let Ok(event) = serde_json::from_str::<Value>(data) else { return };
    if event["eventType"] == "gantry_events_missed" {
        anstream::eprintln!("{}", paint(YELLOW, "the masters do not remember every event of the meantime"));
    }
    if output == Output::Json {
        println!("{data}");
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_it_is_whole() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"event: a\r\ndata: {}\r\n\r\nid: 7\r\nevent: b\r\nda").unwrap(), ["{}"]);
        assert_eq!(lines.last, None, "half an event");
        assert_eq!(lines.take(b"ta: {\"x\":1}\r\n").unwrap(), ["{\"x\":1}"]);
        assert_eq!(lines.last.as_deref(), Some("7"));
        assert_eq!(lines.take(b"\r\ndata: 1\r\n").unwrap(), ["1"]);
        assert_eq!(lines.last.as_deref(), Some("7"), "an event without an id changes nothing");
        assert!(lines.take(b"\r\nid: 9\r\n\r\n").unwrap().is_empty());
        assert_eq!(lines.last.as_deref(), Some("9"), "an id without an event counts");
    }
}
