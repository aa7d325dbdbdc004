//! A task that does as it is told, for tests of bad nights: `serve`, `hog`, `burn`, `flood N`, `ignore-term`,
//! `resolve NAME...`, `sleep`, `exit N`, one after another.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gantry_tests::question;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "exit" => return ExitCode::from(number(words.next()) as u8),
            "serve" => serve(),
            "hog" => hog(),
            "burn" => burn(),
            "flood" => flood(number(words.next())),
            "ignore-term" => ignore_term(),
            "resolve" => resolve_for_ever(&words.by_ref().collect::<Vec<_>>()),
            "sleep" => std::thread::sleep(Duration::from_secs(1_000_000)),
            other => {
                eprintln!("`{other}` is nothing that can be done");
                return ExitCode::from(99);
            }
        }
    }
    ExitCode::SUCCESS
}

fn number(word: Option<String>) -> usize {
    word.and_then(|word| word.parse().ok()).unwrap_or(99)
}

/// HTTP on `$PORT` (or `$ACTOR_PORT`): `/env` tells the environment, `/sick` makes `/health` bad from then on.
fn serve() {
    let port = std::env::var("ACTOR_PORT").or_else(|_| std::env::var("PORT")).unwrap_or_default();
    // Not ready at once, so that there is something to see between running and ready.
    let delay = std::env::var("READY_AFTER_MILLIS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let ready_at = Instant::now() + Duration::from_millis(delay);
    let listener = match TcpListener::bind(("0.0.0.0", port.parse().unwrap_or(0))) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("port {port}: {error}");
            std::process::exit(3)
        }
    };
    let sick = AtomicBool::new(false);
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        sick.fetch_or(path == "/sick", Ordering::Relaxed);
        let bad = (path == "/health" && sick.load(Ordering::Relaxed))
            || (path == "/ready" && Instant::now() < ready_at);
        let status = if bad { "500 Bad" } else { "200 OK" };
        let body = match path {
            "/env" => std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect(),
            _ => format!("{status}\n"),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}

/// Takes memory until somebody stops it.
fn hog() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for n in 0..4096 {
        all.push(vec![n as u8 | 1; 1024 * 1024]);
    }
    println!("{}", all.len());
}

fn burn() {
    let mut x = 1_u64;
    loop {
        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// So many MiB of lines.
fn flood(mebibytes: usize) {
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    let mut out = std::io::stdout().lock();
    for _ in 0..mebibytes * 1024 {
        let _ = out.write_all(&line);
    }
    let _ = out.write_all(b"the flood is over\n");
    let _ = out.flush();
}

fn ignore_term() {
    const SIGTERM: i32 = 15;
    const SIG_IGN: usize = 1;
    unsafe extern "C" {
        fn signal(number: i32, handler: usize) -> usize;
    }
    // SAFETY: ignoring is a valid disposition.
    unsafe {
        signal(SIGTERM, SIG_IGN);
    }
    println!("ignoring");
}

/// Asks the resolver of `/etc/resolv.conf` again and again; says what came and how long it took.
fn resolve_for_ever(names: &[String]) {
    loop {
        for name in names {
            let before = Instant::now();
            let answer = resolve(name).unwrap_or_else(|error| format!("silence: {error:#}"));
            println!("{name} {answer} {}ms", before.elapsed().as_millis());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn resolve(name: &str) -> anyhow::Result<String> {
    let answer = question::resolve(name, Duration::from_secs(5))?;
    Ok(answer.address.map_or_else(|| format!("{:?}", answer.code), |address| address.to_string()))
}
