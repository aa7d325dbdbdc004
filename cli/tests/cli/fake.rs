//! A master that answers as the test says: for what real ones do only in bad moments.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Listens until the test ends.
pub struct Fake {
    pub base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// `answer` is given how many requests of that line there were before, the request line and the headers,
    /// and yields the bytes of the answer; then the connection is closed.
    pub fn new(answer: impl Fn(usize, &str, &str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let book = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some((line, headers)) = request(&stream) else { continue };
                let before = {
                    let mut book: std::sync::MutexGuard<'_, Vec<String>> = book.lock().unwrap();
                    book.push(line.clone());
                    book.iter().filter(|one| **one == line).count() - 1
                };
                let _ = (&stream).write_all(answer(before, &line, &headers).as_bytes());
            }
        });
        Self { base, asked }
    }

    /// Request lines that begin so.
    pub fn asked(&self, beginning: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }
}

fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let header = header.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        headers.push_str(&header);
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    Some((line.trim().trim_end_matches(" HTTP/1.1").to_owned(), headers))
}

/// A whole answer.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
}

/// The beginning of an answer that has no end.
pub fn broken(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 1000000\r\n\r\n{body}")
}
