//! The least HTTP/1.1 client that our own servers and the Docker Engine need: one request a connection,
//! bounded answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

/// Answers are read up to this.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest silence of a server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The whole body.
    pub body: String,
    /// Is there a `Retry-After`? With it a master says that nothing was done.
    pub retry_after: bool,
}

/// One request over TCP to `host:port`.
pub fn tcp(address: &str, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange(stream, method, path, "application/json", body)
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nothing was sent.
    NotConnected(std::io::Error),
    /// Part of the request may have been sent, or all of it.
    Broken(anyhow::Error),
}

impl From<NoAnswer> for anyhow::Error {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::NotConnected(error) => anyhow::Error::new(error).context("cannot connect"),
            NoAnswer::Broken(error) => error,
        }
    }
}

/// One request to a server that may hang: connecting, writing and each read take no longer than `timeout`.
pub fn patient(
    address: SocketAddr,
    timeout: Duration,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Answer, NoAnswer> {
    let stream = TcpStream::connect_timeout(&address, timeout).map_err(NoAnswer::NotConnected)?;
    stream.set_read_timeout(Some(timeout)).map_err(NoAnswer::NotConnected)?;
    stream.set_write_timeout(Some(timeout)).map_err(NoAnswer::NotConnected)?;
    exchange(stream, method, path, "application/json", body).map_err(NoAnswer::Broken)
}

/// One request over a Unix socket.
pub fn unix(socket: &Path, method: &str, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<Answer> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange(stream, method, path, kind, body)
}

fn exchange<S: Read + Write>(
    mut stream: S,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> anyhow::Result<Answer> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let Some(status) = status else { bail!("not an HTTP answer: {line:?}") };
    let (chunked, retry_after) = headers(&mut reader)?;
    let mut body = Vec::new();
    if chunked {
        read_chunks(&mut reader, &mut body)?;
    } else {
        reader.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), retry_after })
}

/// Reads past the headers; says whether the body is chunked, and whether there is a `Retry-After`.
fn headers(reader: &mut impl BufRead) -> anyhow::Result<(bool, bool)> {
    let (mut chunked, mut retry_after) = (false, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            return Ok((chunked, retry_after));
        }
        let line = line.to_ascii_lowercase();
        chunked |= line.starts_with("transfer-encoding: chunked");
        retry_after |= line.starts_with("retry-after:");
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).context("a broken chunk")?;
        if size == 0 {
            return Ok(());
        }
        if body.len() as u64 + size > BODY_BYTES_MAX {
            bail!("the answer is too large");
        }
        reader.take(size).read_to_end(body)?;
        reader.read_line(&mut String::new())?;
    }
}
