//! The agent's end of the protocol, one message at a time, and a master to say it to.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gantry_scheduler::cluster::{Cluster, Options};
use gantry_scheduler::master::{Master, Setup, Start};
use gantry_scheduler::state::{Command, Deploy, Expect, Outcome, PutApp, State};
use serde_json::json;
use spec::app::StoredApp;
use spec::features::Features;
use spec::ids::{AppId, DeploymentId, TaskId};
use spec::protocol::{
    AgentInfo, AgentMessage, FRAME_BYTES_MAX, Fence, Hello, MAGIC, MasterMessage, Runtimes, TaskReport,
    TaskState, VERSION, Wanted, Welcome,
};
use spec::resources::Resources;
use spec::time::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use uuid::Uuid;

/// More than any wait in these tests; reached only when something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub type Frames = Framed<TcpStream, LengthDelimitedCodec>;

/// A master on free ports that counts an agent as lost after `agent_timeout_millis`.
pub async fn master(dir: &Path, agent_timeout_millis: u64) -> Master {
    let options = Options { agent_timeout_millis, ..Options::on_free_ports("m1") };
    let master =
        Master::start(Setup { options, data_dir: dir.to_owned(), start: Start::Bootstrap, at_rest: || {} })
            .await
            .unwrap();
    let mut leadership = master.cluster().leadership();
    leadership.wait_for(|now| now.leading).await.unwrap();
    until(master.cluster(), "the cluster has a name", |state| !state.cluster_id.is_nil()).await;
    master
}

/// Waits until the state is as wanted.
pub async fn until(cluster: &Cluster, what: &str, wanted: impl Fn(&State) -> bool) -> Arc<State> {
    let mut news = cluster.subscribe();
    let waiting = async {
        loop {
            let state = cluster.state();
            if wanted(&state) {
                return state;
            }
            let _ = news.recv().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Deploys `/web` with as many tasks.
pub async fn deploy(cluster: &Cluster, instances: u32) {
    let document = json!({"id": "/web", "cmd": "sleep 100", "cpus": 0.1, "mem": 32, "instances": instances,
        "portDefinitions": [{"port": 0}],
        "unreachableStrategy": {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600}});
    let app = spec::app::create(&document, &Features::default()).unwrap();
    let known = cluster.state().app(&app.id).map(|entry| entry.app.version);
    let put = PutApp { app: StoredApp(Arc::new(app)), expect: known.map_or(Expect::Absent, Expect::Version) };
    let id = DeploymentId(Uuid::new_v4());
    let command = Command::Deploy(Deploy { put: vec![put], force: true, ..Deploy::new(id) });
    let outcome = cluster.ask(command).await.unwrap();
    assert!(matches!(outcome, Outcome::Deployed { .. }), "{outcome:?}");
}

pub fn app() -> AppId {
    AppId::parse("/web").unwrap()
}

/// How a new agent opens.
pub fn hello() -> Hello {
    Hello {
        protocol: VERSION,
        agent_id: None,
        cluster_id: None,
        fence: Fence::default(),
        info: AgentInfo {
            hostname: "a".to_owned(),
            ip: Ipv4Addr::LOCALHOST.into(),
            capacity: Resources { cpus_milli: 4000, mem_mib: 4096, disk_mib: 10_000, gpus: 0 },
            ports: vec![(31_000, 32_000)],
            attributes: Default::default(),
            runtimes: Runtimes::default(),
            version: "test".to_owned(),
        },
        tasks: Vec::new(),
    }
}

/// How that agent opens when it comes back.
pub fn hello_again(welcome: &Welcome, tasks: Vec<TaskReport>) -> Hello {
    let (agent_id, cluster_id) = (Some(welcome.agent_id.clone()), Some(welcome.cluster_id));
    Hello { agent_id, cluster_id, fence: welcome.fence, tasks, ..hello() }
}

pub fn report(task: &TaskId, seq: u64, state: TaskState) -> TaskReport {
    TaskReport {
        task: task.clone(),
        seq,
        state,
        at: Timestamp::default(),
        message: String::new(),
        addresses: Vec::new(),
        health: Vec::new(),
        readiness: Vec::new(),
        unhealthy_kill: false,
    }
}

/// A connection that has said the magic word.
pub async fn connect(master: &Master) -> Frames {
    let mut stream = TcpStream::connect(master.cluster().options.rpc).await.unwrap();
    stream.write_all(&MAGIC).await.unwrap();
    Framed::new(stream, LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec())
}

/// One agent's connection.
pub struct Peer {
    stream: Frames,
    pub welcome: Welcome,
}

impl Peer {
    /// Says hello and is welcomed.
    pub async fn join(master: &Master, hello: Hello) -> Self {
        match Self::knock(master, hello).await {
            Ok(peer) => peer,
            Err(other) => panic!("not welcome: {other:?}"),
        }
    }

    /// Says hello; what comes back if it is no welcome (`None`: the connection was closed).
    pub async fn knock(master: &Master, hello: Hello) -> Result<Self, Option<MasterMessage>> {
        let mut stream = connect(master).await;
        say(&mut stream, AgentMessage::Hello(Box::new(hello))).await;
        match hear(&mut stream).await {
            Some(MasterMessage::Welcome(welcome)) => Ok(Self { stream, welcome }),
            other => Err(other),
        }
    }

    /// Says hello and gets the complete set.
    pub async fn join_whole(master: &Master, hello: Hello) -> (Self, Wanted) {
        let mut peer = Self::join(master, hello).await;
        let wanted = peer.wanted().await;
        assert!(wanted.complete);
        (peer, wanted)
    }

    pub async fn say(&mut self, message: AgentMessage) {
        say(&mut self.stream, message).await;
    }

    /// Reports one task and waits until that is acknowledged.
    pub async fn report(&mut self, report: TaskReport) {
        let seq = report.seq;
        self.say(AgentMessage::Status(vec![report])).await;
        loop {
            if let MasterMessage::Acknowledged { seq: up_to } = self.next().await {
                return assert_eq!(up_to, seq);
            }
        }
    }

    /// The next message that is no beat, and not about masters.
    pub async fn next(&mut self) -> MasterMessage {
        self.until(|message| !matches!(message, MasterMessage::Masters { .. })).await
    }

    /// The next message that is no beat and as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&MasterMessage) -> bool) -> MasterMessage {
        loop {
            let message = hear(&mut self.stream).await.expect("the master has gone");
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The next word on what should run.
    pub async fn wanted(&mut self) -> Wanted {
        loop {
            if let MasterMessage::Wanted(wanted) = self.next().await {
                return wanted;
            }
        }
    }

    /// Waits until the master closes the connection.
    pub async fn closed(&mut self) {
        while hear(&mut self.stream).await.is_some() {}
    }

    /// Waits for a beat of the master; what else it says is left out.
    pub async fn beat(&mut self) {
        while heard(&mut self.stream).await.expect("the master has gone") != MasterMessage::Beat {}
    }

    /// Beats until dropped, from a task of its own.
    pub fn live(mut self) -> tokio_util::task::AbortOnDropHandle<()> {
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                self.say(AgentMessage::Beat).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }))
    }
}

/// Opens with one message and hears the answer.
pub async fn ask(master: &Master, message: AgentMessage) -> Option<MasterMessage> {
    let mut stream = connect(master).await;
    say(&mut stream, message).await;
    hear(&mut stream).await
}

async fn say(stream: &mut Frames, message: AgentMessage) {
    // The other side may have closed: then the next reading says so.
    let _ = stream.send(Bytes::from(postcard::to_allocvec(&message).unwrap())).await;
}

/// The next message that is no beat; `None` when the connection was closed.
pub async fn hear(stream: &mut Frames) -> Option<MasterMessage> {
    loop {
        match heard(stream).await? {
            MasterMessage::Beat => {}
            message => return Some(message),
        }
    }
}

async fn heard(stream: &mut Frames) -> Option<MasterMessage> {
    let frame = tokio::time::timeout(PATIENCE, stream.next()).await.expect("the master is silent");
    Some(postcard::from_bytes(&frame?.ok()?).unwrap())
}
