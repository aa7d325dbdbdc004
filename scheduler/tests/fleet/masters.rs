//! What agents are told of the masters, each in the words that its version knows.

use std::net::SocketAddr;

use gantry_scheduler::cluster::Leadership;
use gantry_scheduler::master::Master;
use gantry_scheduler::state::{Command, MasterInfo, Outcome};
use spec::ids::MasterId;
use spec::protocol::{AgentMessage, Hello, MasterMessage, VERSION, VERSION_MIN};

use super::*;
use crate::peer::ask;

fn at(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

/// Says how a master is reached.
async fn introduce(master: &Master, id: u64) {
    let port = u16::try_from(id).unwrap();
    let info = MasterInfo {
        name: format!("m{id}"),
        http: format!("m{id}:8080"),
        rpc: at(5_000 + port),
        dns: at(53 + port),
        version: String::new(),
    };
    let command = Command::SetMaster { id: MasterId(id), info };
    assert_eq!(master.cluster().ask(command).await, Ok(Outcome::Done));
}

fn named(message: &MasterMessage, port: u16) -> bool {
    matches!(message, MasterMessage::Masters { rpc, .. } if rpc.contains(&at(port)))
}

#[tokio::test]
async fn agents_are_told_of_all_masters_and_of_those_that_come() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    introduce(&master, 7).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    assert_eq!(agent.welcome.protocol, VERSION);
    assert!(agent.welcome.dns.contains(&at(60)));
    agent.until(|message| named(message, 5_007)).await;
    introduce(&master, 8).await;
    agent.until(|message| named(message, 5_008) && named(message, 5_007)).await;
    master.stop().await;
}

#[tokio::test]
async fn an_agent_of_version_1_hears_nothing_that_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    introduce(&master, 7).await;
    let (mut agent, _) = Peer::join_whole(&master, Hello { protocol: VERSION_MIN, ..hello() }).await;
    assert_eq!(agent.welcome.protocol, VERSION_MIN);
    assert!(agent.welcome.dns.contains(&at(60)), "the resolver asks all masters all the same");
    introduce(&master, 8).await;
    // What is told in order: whatever was said of masters would have come before this.
    deploy(master.cluster(), 1).await;
    let placed = agent.until(|message| !matches!(message, MasterMessage::Beat)).await;
    assert!(matches!(placed, MasterMessage::Wanted(_)), "{placed:?}");
    follow(&master);
    let closed = Peer::knock(&master, Hello { protocol: VERSION_MIN, ..hello() }).await;
    assert!(matches!(closed, Err(None)), "closed without a word");
    master.stop().await;
}

/// Makes it a master that follows master 7.
fn follow(master: &Master) {
    let leader_http = Some("m7:8080".to_owned());
    master.cluster().set_leadership(Leadership { term: 99, leading: false, leader_http });
}

#[tokio::test]
async fn who_does_not_lead_says_who_does() {
    let dir = tempfile::tempdir().unwrap();
    let master = master(dir.path(), NEVER).await;
    introduce(&master, 7).await;
    let (mut agent, _) = Peer::join_whole(&master, hello()).await;
    follow(&master);
    agent.closed().await;
    let elsewhere = MasterMessage::Elsewhere { leader: Some(at(5_007)), term: 99 };
    let Err(Some(answer)) = Peer::knock(&master, hello()).await else { panic!("welcomed") };
    assert_eq!(answer, elsewhere);
    assert_eq!(ask(&master, AgentMessage::WhoLeads).await, Some(elsewhere));
    master.stop().await;
}
