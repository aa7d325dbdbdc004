//! `clusterctl logs`: what tasks wrote, of one task or of all tasks of an app. A log that is followed goes
//! on through another master when one goes away.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::Response;
use serde_json::{Value, json};

use super::http::{Master, app_path};
use super::place::{Place, Search};
use crate::args::{LogFile, LogsArgs, Output};

/// Agents that are asked for a task that the masters have forgotten.
const AGENTS_ASKED_MAX: usize = 64;
/// Pause before a log that broke off is looked for again.
const RESUME_PAUSE: Duration = Duration::from_millis(500);
/// Time for a cluster to have a leader that the task's agent has found.
const RESUME_MAX: Duration = Duration::from_secs(30);

/// One output of one task.
struct Source {
    task: String,
    agent: Option<String>,
    file: LogFile,
    /// Printed before each line when there are several tasks.
    prefix: String,
    output: Output,
}

/// Prints logs until they end, or until interrupted with `--follow`.
pub async fn run(master: &Master, output: Output, args: LogsArgs) -> anyhow::Result<()> {
    let tasks = tasks(master, &args.id).await?;
    let several = tasks.len() > 1;
    let files = args.file.map_or(vec![LogFile::Stdout, LogFile::Stderr], |file| vec![file]);
    let sources = tasks.iter().flat_map(|(task, agent)| {
        files.iter().map(move |file| Source {
            task: task.clone(),
            agent: agent.clone(),
            file: *file,
            prefix: if several { format!("{} | ", short(task)) } else { String::new() },
            output,
        })
    });
    let outage = Outage { id: &args.id, broken: Cell::default() };
    let done = join_all(sources.map(|source| print(master, source, &args, &outage))).await;
    done.into_iter().collect()
}

/// The tasks that an id names, with their agents where known: a task, or every task of an app, or the one
/// that failed last when none is left.
async fn tasks(master: &Master, id: &str) -> anyhow::Result<Vec<(String, Option<String>)>> {
    if id.contains("._app.") || id.contains(".instance-") {
        return Ok(vec![find(master, id).await?]);
    }
    let app = master.get(&app_path(id)).await?;
    let app = &app["app"];
    let running: Vec<_> = app["tasks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|task| Some((task["id"].as_str()?.to_owned(), None)))
        .collect();
    if !running.is_empty() {
        return Ok(running);
    }
    match failed(app) {
        Some(task) => Ok(vec![task]),
        None => {
            bail!("app {id} has no tasks and none has failed yet; `clusterctl queue` says what it waits for")
        }
    }
}

/// A task by its id. Masters forget tasks that have ended; the agent that ran it keeps what it wrote for a
/// while, so every agent is asked.
async fn find(master: &Master, id: &str) -> anyhow::Result<(String, Option<String>)> {
    let unknown = match has_log(master, id, None).await {
        Ok(()) => return Ok((id.to_owned(), None)),
        Err(unknown) => unknown,
    };
    let agents = master.get("/v2/agents").await?;
    let ids = agents["agents"].as_array().into_iter().flatten().filter_map(|agent| agent["id"].as_str());
    for agent in ids.take(AGENTS_ASKED_MAX) {
        if has_log(master, id, Some(agent)).await.is_ok() {
            return Ok((id.to_owned(), Some(agent.to_owned())));
        }
    }
    Err(unknown)
}

async fn has_log(master: &Master, task: &str, agent: Option<&str>) -> anyhow::Result<()> {
    master.stream(&path(task, agent, LogFile::Stdout, Some(1), false), "text/plain").await.map(drop)
}

/// The task that failed last and its agent.
pub fn failed(app: &Value) -> Option<(String, Option<String>)> {
    let failure = &app["lastTaskFailure"];
    Some((failure["taskId"].as_str()?.to_owned(), failure["slaveId"].as_str().map(str::to_owned)))
}

/// The last lines of a task that has ended; empty when its agent has them no more.
pub async fn last_lines(
    master: &Master,
    (task, agent): &(String, Option<String>),
    lines: u32,
) -> Vec<String> {
    let mut last = Vec::new();
    for file in [LogFile::Stdout, LogFile::Stderr] {
        let path = path(task, agent.as_deref(), file, Some(lines), false);
        let Ok(answer) = master.stream(&path, "text/plain").await else { continue };
        let text = answer.text().await.unwrap_or_default();
        last.extend(text.lines().map(|line| format!("{}: {line}", file.name())));
    }
    last
}

fn path(task: &str, agent: Option<&str>, file: LogFile, tail: Option<u32>, follow: bool) -> String {
    let mut path = format!("/v1/logs/{task}?file={}&follow={follow}", file.name());
    if let Some(tail) = tail {
        path.push_str(&format!("&tail={tail}"));
    }
    if let Some(agent) = agent {
        path.push_str(&format!("&agent={agent}"));
    }
    path
}

/// The part of a task id that tells the tasks of an app apart.
fn short(task: &str) -> &str {
    let uuid = task.split_once(".instance-").map_or(task, |(_, uuid)| uuid);
    uuid.get(..8).unwrap_or(uuid)
}

async fn print(master: &Master, source: Source, args: &LogsArgs, outage: &Outage<'_>) -> anyhow::Result<()> {
    let mut place = Place::new(args.tail.is_none());
    let path = |tail, follow| path(&source.task, source.agent.as_deref(), source.file, tail, follow);
    let answer = master.stream(&path(args.tail, args.follow), "text/plain").await?;
    if args.follow {
        master.learn().await;
    }
    let mut end = copy(answer, &source, 0, &mut place).await?;
    let (mut told, mut broken_at) = (false, Instant::now());
    loop {
        if let Ok(rest) = &end {
            // A master that is told to stop ends its streams in order, as if the task had ended.
            if !args.follow || !goes_on(master, &source.task).await? {
                return write(&source, rest);
            }
        } else if !args.follow {
            bail!("the log of {} broke off", source.task);
        }
        if !std::mem::replace(&mut told, true) {
            outage.begins();
        }
        // Agents take a moment to find the new leader, too.
        tokio::time::sleep(RESUME_PAUSE).await;
        let resuming = async {
            master.move_on().await?;
            let skip = find_again(master, &path(None, false), &mut place).await?;
            Ok::<_, anyhow::Error>((skip, master.stream(&path(None, true), "text/plain").await?))
        };
        match resuming.await {
            Ok((skip, answer)) => {
                outage.ends();
                end = copy(answer, &source, skip, &mut place).await?;
                (told, broken_at) = (false, Instant::now());
            }
            Err(error) if broken_at.elapsed() > RESUME_MAX => return Err(error),
            Err(_) => end = Err(Broken),
        }
    }
}

/// Says once, for all streams that break off together, that they do.
struct Outage<'a> {
    id: &'a str,
    /// Streams that are looked for.
    broken: Cell<usize>,
}

impl Outage<'_> {
    fn begins(&self) {
        if self.broken.replace(self.broken.get() + 1) == 0 {
            eprintln!("the log of {} broke off; looking for a master", self.id);
        }
    }

    fn ends(&self) {
        self.broken.set(self.broken.get() - 1);
        if self.broken.get() == 0 {
            eprintln!("the log of {} goes on", self.id);
        }
    }
}

/// A stream that did not come to its end.
struct Broken;

/// Prints the lines of a stream from `skip` bytes on; what is left behind the last one at its end.
async fn copy(
    answer: Response,
    source: &Source,
    mut skip: u64,
    place: &mut Place,
) -> anyhow::Result<Result<Vec<u8>, Broken>> {
    let mut chunks = answer.bytes_stream();
    let mut pending: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return Ok(Err(Broken)) };
        let known = chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
        skip -= known as u64;
        pending.extend_from_slice(&chunk[known..]);
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = pending.drain(..whole).collect();
        write(source, &lines)?;
        place.printed(&lines);
    }
    Ok(Ok(pending))
}

/// How far into the log the place is.
async fn find_again(master: &Master, path: &str, place: &mut Place) -> anyhow::Result<u64> {
    let mut chunks = master.stream(path, "text/plain").await?.bytes_stream();
    let mut search = Search::new(place);
    while let Some(chunk) = chunks.next().await {
        search.take(&chunk.context("the log broke off")?);
    }
    // What was printed was cut off: all there is now is new.
    let offset = search.end().unwrap_or(0);
    place.found(offset);
    Ok(offset)
}

/// Does the task run on, although its log has ended? Masters forget tasks that have ended.
async fn goes_on(master: &Master, task: &str) -> anyhow::Result<bool> {
    // Its end may be on its way.
    tokio::time::sleep(RESUME_PAUSE).await;
    let app = task.split_once(".instance-").map_or(task, |(app, _)| app).replace('_', "/");
    let Some(answer) = master.find(&format!("{}/tasks", app_path(&app))).await? else { return Ok(false) };
    let mut tasks = answer["tasks"].as_array().into_iter().flatten();
    Ok(tasks.any(|known| known["id"].as_str() == Some(task)))
}

fn write(source: &Source, lines: &[u8]) -> anyhow::Result<()> {
    let mut out: Box<dyn Write> = match (source.output, source.file) {
        (Output::Table, LogFile::Stderr) => Box::new(std::io::stderr().lock()),
        _ => Box::new(std::io::stdout().lock()),
    };
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        match source.output {
            Output::Table => {
                out.write_all(source.prefix.as_bytes())?;
                out.write_all(line)?;
            }
            Output::Json => writeln!(out, "{}", source.record(line))?,
        }
    }
    out.flush()?;
    Ok(())
}

impl Source {
    /// One line for programs.
    fn record(&self, line: &[u8]) -> Value {
        let line = String::from_utf8_lossy(line);
        json!({"task": self.task, "file": self.file.name(), "line": line.trim_end_matches('\n')})
    }
}
