//! What the tests of the real runtimes share: launches, and the test program as its own workload.
//!
//! The program is static, so it can be the only file of an image; run with [`WORKLOAD`] set it does what
//! its arguments say instead of testing, and with [`SHIM`] set it is the shim of a task. Both are decided
//! before `main`, where the program has one thread only, as the real shim.

#![allow(dead_code, reason = "each test program uses its part")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use gantry_agent::runtime::{Launch, Progress, Resolvers};
use serde_json::{Value, json};
use spec::ids::{AgentId, TaskId};

/// Variable that makes this program a workload.
pub const WORKLOAD: &str = "GANTRY_TEST_WORKLOAD";
/// Variable that makes this program a shim.
pub const SHIM: &str = "GANTRY_TEST_SHIM";

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if std::env::var_os(SHIM).is_some() {
        let code = gantry_agent::shim::run(std::env::args_os().skip(1));
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
    if std::env::var_os(WORKLOAD).is_some() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["-c", command] => command.split_whitespace().collect(),
            ref words => words.to_vec(),
        };
        std::process::exit(work(&words));
    }
}

/// One step of a workload after another; the exit code.
fn work(words: &[&str]) -> i32 {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().copied().unwrap_or_default();
        match *word {
            "exit" => return next().parse().unwrap_or(99),
            "sleep" => std::thread::sleep(Duration::from_secs(next().parse().unwrap_or(0))),
            "out" => println!("{}", next()),
            "err" => eprintln!("{}", next()),
            "env" => println!("{}", std::env::var(next()).unwrap_or_else(|_| "absent".to_owned())),
            "cat" => print!("{}", std::fs::read_to_string(next()).unwrap_or_else(|error| error.to_string())),
            "write" => {
                let path = next();
                std::fs::write(path, next()).unwrap_or_else(|error| eprintln!("{path}: {error}"));
            }
            "ignore-term" => ignore_term(),
            "allocate-mib" => allocate(next().parse().unwrap_or(0)),
            "burn" => loop {
                std::hint::spin_loop();
            },
            other => {
                eprintln!("no such step: {other}");
                return 98;
            }
        }
    }
    0
}

fn ignore_term() {
    // SAFETY: `SIG_IGN` is a valid disposition, and nothing else of this process sets one.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
    }
}

fn allocate(mib: usize) {
    let mut kept = Vec::new();
    for _ in 0..mib {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
    println!("allocated {} MiB", kept.len());
}

/// A new task id.
pub fn task(name: &str) -> TaskId {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let uuid = uuid::Uuid::new_v4();
    let incarnation = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("runtimes-test_{name}.instance-{uuid}._app.{incarnation}").parse().expect("a task id")
}

/// A launch of an app with these fields.
pub fn launch(task: &TaskId, sandbox: PathBuf, fields: Value) -> Launch {
    let mut document = json!({
        "id": task.app(), "backoffFactor": 1.15, "backoffSeconds": 1, "cpus": 0.1, "disk": 0, "executor": "",
        "gpus": 0, "instances": 1, "killSelection": "YOUNGEST_FIRST", "labels": {},
        "maxLaunchDelaySeconds": 300, "mem": 64, "networks": [{"mode": "host"}], "requirePorts": false,
        "role": "*", "unreachableStrategy": "disabled", "version": "2020-01-01T00:00:00.000Z",
        "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
    });
    for (key, value) in fields.as_object().expect("an object") {
        document[key] = value.clone();
    }
    Launch {
        task: task.clone(),
        app: Arc::new(serde_json::from_value(document).expect("an app")),
        host_ports: Vec::new(),
        env: [(WORKLOAD, "1"), ("PATH", "/usr/bin:/bin"), ("GREETING", "hello")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        agent: AgentId::new("test-S0"),
        sandbox,
        resolvers: Resolvers::default(),
    }
}

/// Progress that nobody reads.
pub fn silent() -> Progress {
    Arc::new(|_| ())
}

/// A whole log as text.
pub async fn text(log: gantry_agent::runtime::LogStream) -> String {
    let parts: Vec<_> = log.collect().await;
    let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.expect("a readable log").to_vec()).collect();
    String::from_utf8(bytes).expect("UTF-8")
}

/// Waits until `check` says yes.
pub async fn eventually<F, T>(what: &str, mut check: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    for _ in 0..500 {
        if let Some(value) = check().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// This program.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("the test's own path")
}

/// Arguments for the shim, for those who need them as a list.
pub fn arguments(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
