//! One HTTP request to one address, as much as an indexer needs: no pool, no redirects, bounded in time and
//! size.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// Answers are counts and messages.
const ANSWER_MAX: u64 = 256 * 1024;

/// The body of the answer; an error for any status but 2xx, with what the server said.
pub(crate) async fn request(
    at: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(PATIENCE, exchange).await.with_context(|| format!("{at} does not answer"))?;
    read_answer(&answer.with_context(|| format!("cannot talk to {at}"))?)
}

fn read_answer(answer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("the answer was cut off")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    if let Some(length) = length {
        ensure!(length? == body.len(), "the answer was cut off");
    }
    if !status.starts_with('2') {
        bail!("status {status}: {}", String::from_utf8_lossy(body));
    }
    Ok(body.to_vec())
}

#[cfg(test)]
mod tests {
    use super::read_answer;

    #[test]
    fn answers_are_read_or_refused() {
        let read = |text: &str| read_answer(text.as_bytes()).map(|body| String::from_utf8(body).unwrap());
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap(), "ok");
        assert_eq!(read("HTTP/1.0 204 No Content\r\n\r\n").unwrap(), "");
        for (wrong, message) in [
            ("", "cut off"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "cut off"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", "invalid digit"),
            ("HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull", "status 507: full"),
        ] {
            assert!(read(wrong).unwrap_err().to_string().contains(message), "{wrong}");
        }
    }
}
