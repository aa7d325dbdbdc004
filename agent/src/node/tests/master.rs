//! The master's end of the protocol, one message at a time. Also used by the tests of the whole agent.

#![allow(missing_docs, dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use spec::ids::{AgentId, TaskId};
use spec::protocol::{
    AgentMessage, FRAME_BYTES_MAX, Fence, Hello, MAGIC, MasterMessage, Measured, TaskReport, TaskState,
    Usage, VERSION, Welcome,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use uuid::Uuid;

/// More than any wait in these tests; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

type Frames = Framed<TcpStream, LengthDelimitedCodec>;

pub struct Master(TcpListener);

/// One agent's connection.
pub struct Peer {
    stream: Frames,
    pub hello: Hello,
    /// Highest number of a report seen.
    pub seq: u64,
    seen: Vec<TaskReport>,
    /// What its tasks use.
    pub used: BTreeMap<TaskId, Measured>,
}

impl Master {
    pub async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection that says hello.
    pub async fn accept(&self) -> Peer {
        self.accept_until(|_| true).await
    }

    /// The next connection whose hello is as wanted; others are closed.
    pub async fn accept_until(&self, wanted: impl Fn(&Hello) -> bool) -> Peer {
        let accepting = async {
            loop {
                if let Some(peer) = self.accept_one().await.filter(|peer| wanted(&peer.hello)) {
                    return peer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, accepting).await.expect("no agent came")
    }

    /// The next connection asks who leads, and this is answered.
    pub async fn answer_who_leads(&self, answer: MasterMessage) {
        let (mut stream, message) = tokio::time::timeout(PATIENCE, self.open()).await.expect("nobody asked");
        assert_eq!(message, Some(AgentMessage::WhoLeads));
        send(&mut stream, answer).await;
    }

    async fn open(&self) -> (Frames, Option<AgentMessage>) {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut magic = [0; 4];
        // Nothing is read from who hangs up at once.
        let greeted = stream.read_exact(&mut magic).await.is_ok();
        assert!(!greeted || magic == MAGIC);
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
        let mut stream = Framed::new(stream, codec);
        let frame = stream.next().await.and_then(Result::ok);
        let message = frame.map(|frame| postcard::from_bytes(&frame).unwrap());
        (stream, message)
    }

    async fn accept_one(&self) -> Option<Peer> {
        let (stream, Some(AgentMessage::Hello(hello))) = self.open().await else { return None };
        let seq = hello.tasks.iter().map(|report| report.seq).max().unwrap_or(0);
        Some(Peer { stream, hello: *hello, seq, seen: Vec::new(), used: BTreeMap::new() })
    }
}

async fn send(stream: &mut Frames, message: MasterMessage) {
    stream.send(Bytes::from(postcard::to_allocvec(&message).unwrap())).await.unwrap();
}

impl Peer {
    pub async fn send(&mut self, message: MasterMessage) {
        send(&mut self.stream, message).await;
    }

    /// As the leader of term 1.
    pub async fn welcome(&mut self, index: u64) {
        self.welcome_of(1, index).await;
    }

    pub async fn welcome_of(&mut self, term: u64, index: u64) {
        self.welcome_to(Uuid::from_u128(1), Fence { term, index }).await;
    }

    pub async fn welcome_to(&mut self, cluster_id: Uuid, fence: Fence) {
        self.send(MasterMessage::Welcome(Welcome {
            protocol: VERSION,
            agent_id: AgentId::new("c-S1"),
            cluster_id,
            fence,
            dns: Vec::new(),
            dns_domain: "mesos".to_owned(),
        }))
        .await;
    }

    /// The next message; beats are answered and left out.
    async fn next(&mut self) -> AgentMessage {
        loop {
            let frame =
                tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("the agent is silent");
            let frame = frame.expect("the agent has gone").unwrap();
            match postcard::from_bytes(&frame).unwrap() {
                AgentMessage::Beat => self.send(MasterMessage::Beat).await,
                message => return self.noted(message).await,
            }
        }
    }

    /// What is used is noted, and answered.
    async fn noted(&mut self, message: AgentMessage) -> AgentMessage {
        let usage = match &message {
            AgentMessage::Usage(usage) => {
                self.used.clear();
                usage
            }
            AgentMessage::UsageChanges(usage) => usage,
            _ => return message,
        };
        self.used.extend(usage.tasks.iter().cloned());
        self.send(MasterMessage::Beat).await;
        message
    }

    /// The first report that this task is in this state.
    pub async fn until(&mut self, task: &TaskId, state: TaskState) -> TaskReport {
        self.report(|report| report.task == *task && report.state == state).await
    }

    /// The first report so far, or from now on, that is as wanted.
    pub async fn report(&mut self, wanted: impl Fn(&TaskReport) -> bool) -> TaskReport {
        if let Some(report) = self.seen.iter().find(|report| wanted(report)) {
            return report.clone();
        }
        loop {
            let AgentMessage::Status(reports) = self.next().await else {
                continue;
            };
            for report in reports {
                assert!(report.seq > self.seq, "numbers grow");
                self.seq = report.seq;
                self.seen.push(report);
            }
            if let Some(report) = self.seen.iter().find(|report| wanted(report)) {
                return report.clone();
            }
        }
    }

    pub async fn usage(&mut self) -> Usage {
        loop {
            if let AgentMessage::Usage(usage) | AgentMessage::UsageChanges(usage) = self.next().await {
                return usage;
            }
        }
    }

    /// A whole log.
    pub async fn log(&mut self, wanted: u64) -> (String, Option<String>) {
        let mut text = Vec::new();
        loop {
            match self.next().await {
                AgentMessage::LogData { stream, data } if stream == wanted => text.extend(data),
                AgentMessage::LogEnd { stream, error } if stream == wanted => {
                    return (String::from_utf8(text).unwrap(), error);
                }
                _ => {}
            }
        }
    }
}
