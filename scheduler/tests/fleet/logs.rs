//! Task logs from an agent to a reader, through the master.

use gantry_scheduler::cluster::LogRequest;
use gantry_scheduler::master::Master;
use spec::ids::TaskId;
use spec::protocol::{AgentMessage, LOG_WINDOW, LogFile, MasterMessage, OpenLog};
use tokio::sync::mpsc;

use crate::NEVER;
use crate::peer::{PATIENCE, Peer, deploy, hello, master};

type Parts = mpsc::Receiver<Result<Vec<u8>, String>>;

async fn read(master: &Master, agent: &Peer, task: &TaskId) -> Parts {
    let (parts, reader) = mpsc::channel(1);
    let agent = agent.welcome.agent_id.clone();
    let request = LogRequest {
        task: task.clone(),
        agent,
        file: LogFile::Stderr,
        tail_lines: Some(5),
        follow: true,
        parts,
    };
    master.cluster().open_log(request).await.unwrap();
    reader
}

async fn part(reader: &mut Parts) -> Option<Result<Vec<u8>, String>> {
    tokio::time::timeout(PATIENCE, reader.recv()).await.expect("the log is stuck")
}

/// An agent with a task, and the request for its log as it arrives there.
async fn opened(master: &Master) -> (Peer, TaskId, Parts, OpenLog) {
    let (mut agent, _) = Peer::join_whole(master, hello()).await;
    deploy(master.cluster(), 1).await;
    let task = agent.wanted().await.run[0].task.clone();
    let reader = read(master, &agent, &task).await;
    let open = request(&mut agent).await;
    (agent, task, reader, open)
}

async fn request(agent: &mut Peer) -> OpenLog {
    loop {
        if let MasterMessage::OpenLog(open) = agent.next().await {
            return open;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_own_log_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, task, mut reader, open) = opened(&master).await;
    assert_eq!(
        (&open.task, open.file, open.tail_lines, open.follow),
        (&task, LogFile::Stderr, Some(5), true)
    );
    for n in 0..LOG_WINDOW {
        agent.say(AgentMessage::LogData { stream: open.stream, data: vec![n as u8] }).await;
    }
    // The reader has read nothing; another log and its end come through all the same.
    let mut other = read(&master, &agent, &task).await;
    let second = request(&mut agent).await;
    assert_ne!(second.stream, open.stream);
    agent.say(AgentMessage::LogData { stream: second.stream, data: b"x".to_vec() }).await;
    agent.say(AgentMessage::LogEnd { stream: second.stream, error: Some("no disk".to_owned()) }).await;
    assert_eq!(part(&mut other).await, Some(Ok(b"x".to_vec())));
    assert_eq!(part(&mut other).await, Some(Err("no disk".to_owned())));
    assert_eq!(part(&mut other).await, None);
    // What it reads is asked for again, never more.
    for n in 0..LOG_WINDOW {
        assert_eq!(part(&mut reader).await, Some(Ok(vec![n as u8])));
    }
    let mut more = 0;
    while more < LOG_WINDOW {
        if let MasterMessage::MoreLog { stream, parts } = agent.next().await {
            assert_eq!(stream, open.stream);
            more += parts;
        }
    }
    assert_eq!(more, LOG_WINDOW);
    agent.say(AgentMessage::LogEnd { stream: open.stream, error: None }).await;
    assert_eq!(part(&mut reader).await, None);
    master.stop().await;
}

#[tokio::test]
async fn an_agent_that_ignores_the_window_loses_that_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, task, mut reader, open) = opened(&master).await;
    for _ in 0..10 * LOG_WINDOW {
        agent.say(AgentMessage::LogData { stream: open.stream, data: vec![1] }).await;
    }
    let mut last = part(&mut reader).await.unwrap();
    while let Ok(data) = last {
        assert_eq!(data, [1]);
        last = part(&mut reader).await.expect("the end is not silent");
    }
    assert!(last.unwrap_err().contains("more than it was asked for"));
    // The session stands.
    read(&master, &agent, &task).await;
    assert_eq!(request(&mut agent).await.task, task);
    master.stop().await;
}

#[tokio::test]
async fn neither_end_waits_for_one_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    let (mut agent, task, reader, open) = opened(&master).await;
    drop(reader);
    loop {
        if let MasterMessage::CloseLog { stream } = agent.next().await {
            assert_eq!(stream, open.stream);
            break;
        }
    }
    let mut reader = read(&master, &agent, &task).await;
    request(&mut agent).await;
    let gone = agent.welcome.clone();
    drop(agent);
    assert!(part(&mut reader).await.unwrap().unwrap_err().contains("session ended"));
    // No session at all.
    let (parts, mut reader) = mpsc::channel(1);
    let agent = gone.agent_id;
    let request = LogRequest { task, agent, file: LogFile::Stdout, tail_lines: None, follow: false, parts };
    master.cluster().open_log(request).await.unwrap();
    assert!(part(&mut reader).await.unwrap().unwrap_err().contains("no session"));
    master.stop().await;
}
