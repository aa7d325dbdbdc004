//! The smallest web app: says hello on `$PORT`, with nothing but the standard library.
//!
//! It shows what a task finds in its environment, and how a task that is process 1 of a container stops at
//! once: the kernel ignores SIGTERM for process 1 unless the program asks for it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Requests at a time; more get a 503.
const BUSY_MAX: usize = 64;

/// Longer requests are not for a server that only says hello.
const REQUEST_MAX: usize = 8 * 1024;

/// A client that says or takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> io::Result<()> {
    stop_on_sigterm();
    let port: u16 = variable("PORT", "8000")
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "$PORT must be a number from 0 to 65535"))?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    let port = listener.local_addr()?.port();
    let greeting = format!(
        "hello from {} on {}:{port}\n",
        variable("MESOS_TASK_ID", "nobody"),
        variable("HOST", "localhost")
    );
    print!("{greeting}");
    serve(&listener, greeting.into())
}

fn variable(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

fn serve(listener: &TcpListener, greeting: Arc<str>) -> io::Result<()> {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        // One client's trouble, or a moment without descriptors, is no reason to stop.
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let (greeting, busy) = (greeting.clone(), busy.clone());
        if busy.fetch_add(1, Ordering::SeqCst) >= BUSY_MAX {
            busy.fetch_sub(1, Ordering::SeqCst);
            let _ = respond(&stream, "503 Service Unavailable", "busy\n");
            continue;
        }
        std::thread::spawn(move || {
            if let Err(error) = answer(&stream, &greeting) {
                eprintln!("a request failed: {error}");
            }
            busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
    Ok(())
}

fn answer(stream: &TcpStream, greeting: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(head) = read_head(stream)? else {
        return respond(stream, "400 Bad Request", "no request\n");
    };
    let (status, body) = reply(&head, greeting);
    respond(stream, status, body)
}

/// The request up to its first empty line; `None` if there is none in time and size.
fn read_head(mut stream: &TcpStream) -> io::Result<Option<String>> {
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    while head.len() < REQUEST_MAX {
        let read = stream.read(&mut chunk)?;
        head.extend_from_slice(&chunk[..read]);
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        if read == 0 {
            break;
        }
    }
    Ok(None)
}

/// What a request gets, judged by its first line.
fn reply<'a>(head: &str, greeting: &'a str) -> (&'static str, &'a str) {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (method, path.split('?').next().unwrap_or_default()) {
        ("GET", "/") => ("200 OK", greeting),
        ("GET", "/health") => ("200 OK", "ok\n"),
        ("GET", _) => ("404 Not Found", "there is only / and /health\n"),
        _ => ("405 Method Not Allowed", "only GET\n"),
    }
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length";
    stream.write_all(format!("HTTP/1.1 {status}\r\n{head}: {length}\r\n\r\n{body}").as_bytes())
}

/// Ends the process on SIGTERM even where it is process 1.
fn stop_on_sigterm() {
    const SIGTERM: i32 = 15;
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
        fn _exit(status: i32) -> !;
    }
    extern "C" fn stop(number: i32) {
        // SAFETY: `_exit` is one of the few functions that a signal handler may call.
        unsafe { _exit(128 + number) }
    }
    // SAFETY: both are in the C library that std itself is linked with; `stop` lives as long as the program.
    unsafe { signal(SIGTERM, stop) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_get_what_they_ask_for() {
        for (head, status) in [
            ("GET / HTTP/1.1", "200 OK"),
            ("GET /?x=1 HTTP/1.1", "200 OK"),
            ("GET /health HTTP/1.0", "200 OK"),
            ("GET /other HTTP/1.1", "404 Not Found"),
            ("POST / HTTP/1.1", "405 Method Not Allowed"),
            ("", "405 Method Not Allowed"),
        ] {
            assert_eq!(reply(head, "hello").0, status, "{head}");
        }
    }

    #[test]
    fn it_says_hello_over_a_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, "hello from t on h:1\n".into()));
        let ask = |request: &str| {
            let mut stream = TcpStream::connect(at).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            reply
        };
        let reply = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\nhello from t on h:1\n"),
            "{reply}"
        );
        assert!(ask(&"x".repeat(REQUEST_MAX)).starts_with("HTTP/1.1 400"));
        assert!(ask("GET / HTTP/1.1\r\n\r\n").contains("hello"), "still there");
    }
}
