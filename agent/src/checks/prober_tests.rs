//! Probes against real sockets that answer word for word what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::core::tests::task;
use crate::options::HollowOptions;
use crate::runtime::hollow::Hollow;

/// A server that answers every request with `answer` and closes; `None`: never answers.
async fn server(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                assert!(request.starts_with("GET /health?x=1 HTTP/1.1\r\n"), "{request}");
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    address
}

fn http(target: SocketAddr) -> HttpProbe {
    let (path, codes) = ("/health?x=1".to_owned(), Vec::new());
    HttpProbe { target, path, codes, ignore_1xx: false, keep_body: false }
}

fn plan(probe: Probe) -> Plan {
    Plan {
        key: CheckKey::Health(0),
        first: Duration::ZERO,
        interval: Duration::from_millis(5),
        timeout: Duration::from_millis(300),
        probe,
    }
}

async fn probed(probe: Probe) -> Probed {
    super::probe(&plan(probe), &task(1), &Hollow::new(HollowOptions::default())).await
}

async fn get_once(answer: Option<&'static str>, change: impl Fn(&mut HttpProbe)) -> Probed {
    let mut probe = http(server(answer).await);
    change(&mut probe);
    probed(Probe::Http(probe)).await
}

fn cause(probed: Probed) -> String {
    match probed {
        Probed::Failed(cause, _) => cause,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn the_status_decides() {
    for (answer, passes) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 399 X\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\n\r\n", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        ("SSH-2.0-OpenSSH\r\n", false),
        ("", false),
    ] {
        let probed = get_once(Some(answer), |_| {}).await;
        assert_eq!(probed == Probed::Passed(None), passes, "{answer}: {probed:?}");
    }
}

#[tokio::test]
async fn informational_answers_are_ignored_when_asked() {
    let only_100 = Some("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(get_once(only_100, |probe| probe.ignore_1xx = true).await, Probed::Ignored);
    assert_eq!(cause(get_once(only_100, |_| {}).await), "answered 100 Continue and nothing else");
    let switching = Some("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
    assert_eq!(get_once(switching, |probe| probe.ignore_1xx = true).await, Probed::Ignored);
}

#[tokio::test]
async fn codes_and_bodies_of_readiness() {
    let busy = Some("HTTP/1.1 503 Busy\r\ncontent-type: text/x\r\ncontent-length: 5\r\n\r\nwait!");
    let keep = |codes: &'static [u16]| {
        move |probe: &mut HttpProbe| {
            probe.keep_body = true;
            probe.codes = codes.to_vec();
        }
    };
    let body = Some(Response { status: 503, content_type: "text/x".into(), body: "wait!".into() });
    assert_eq!(get_once(busy, keep(&[503])).await, Probed::Passed(body.clone()));
    let failed = Probed::Failed("HTTP status 503 Service Unavailable".into(), body);
    assert_eq!(get_once(busy, keep(&[200])).await, failed);
    let huge = Some("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx");
    let Probed::Passed(Some(kept)) = get_once(huge, keep(&[200])).await else { panic!("not read") };
    assert!(kept.body.starts_with("(body not read"), "{}", kept.body);
}

#[tokio::test]
async fn what_does_not_answer_fails_in_time() {
    let begun = Instant::now();
    assert_eq!(cause(get_once(None, |_| {}).await), "no answer within 0 s");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    assert!(cause(probed(Probe::Connect(closed)).await).contains("refused"));
    let mut http = http(closed);
    http.keep_body = true;
    let Probed::Failed(_, Some(response)) = probed(Probe::Http(http)).await else { panic!("no response") };
    assert!(response.status == 504 && response.body.starts_with("Marathon could not query http://127"));
}

#[tokio::test]
async fn connections_and_commands() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(probed(Probe::Connect(listener.local_addr().unwrap())).await, Probed::Passed(None));
    assert_eq!(cause(probed(Probe::Impossible("no port".into())).await), "no port");
    assert_eq!(cause(probed(Probe::Command("true".into())).await), "no such task");
    assert_eq!(probed(Probe::Simulated).await, Probed::Passed(None));
}

#[tokio::test]
async fn health_checks_go_on_and_readiness_stops_when_passed() {
    for (key, expected) in [(CheckKey::Health(0), 4), (CheckKey::Readiness(0), 1)] {
        let plan = Plan { key, ..plan(Probe::Simulated) };
        let results = AtomicUsize::new(0);
        let runtime = Arc::new(Hollow::new(HollowOptions::default()));
        let limit = Arc::new(Semaphore::new(1));
        let running = run(plan, task(1), runtime, limit, |_, _| {
            let go_on = results.fetch_add(1, Ordering::SeqCst) + 1 < 4;
            async move { go_on }
        });
        tokio::time::timeout(Duration::from_secs(10), running).await.expect("it ends");
        assert_eq!(results.load(Ordering::SeqCst), expected);
    }
}
