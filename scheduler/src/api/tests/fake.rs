//! The masters as the API sees them, without any: answers what a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use spec::ids::MasterId;
use tokio::sync::mpsc;

use crate::cluster::{AskError, Cluster, MasterRole, MasterStatus, MastersError, MastersRequest};
use crate::consensus::{Commits, Turns};
use crate::state::MasterInfo;

#[derive(Default)]
pub(crate) struct Fake {
    /// Who there is.
    pub(crate) known: Mutex<Vec<MasterStatus>>,
    /// Why nothing is changed about them.
    pub(crate) refusal: Mutex<Option<MastersError>>,
    /// What was asked for.
    pub(crate) asked: Mutex<Vec<String>>,
    /// What every command and every read comes to.
    pub(crate) failure: Mutex<Option<AskError>>,
}

impl Fake {
    pub(crate) fn fails(&self) -> Option<AskError> {
        self.failure.lock().unwrap().clone()
    }

    pub(crate) fn fail(&self, with: Option<AskError>) {
        *self.failure.lock().unwrap() = with;
    }

    fn changed(&self, asked: String) -> Result<(), MastersError> {
        self.asked.lock().unwrap().push(asked);
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    pub(crate) async fn serve(
        self: Arc<Self>,
        cluster: Arc<Cluster>,
        mut requests: mpsc::Receiver<MastersRequest>,
    ) {
        while let Some(request) = requests.recv().await {
            match request {
                MastersRequest::Current(answer) => {
                    let leading = cluster.leadership().borrow().leading;
                    let failed = self.fails().or((!leading).then_some(AskError::NotLeader));
                    let _ = answer.send(failed.map_or(Ok(()), Err));
                }
                MastersRequest::List(answer) => {
                    let _ = answer.send(Ok(self.known.lock().unwrap().clone()));
                }
                MastersRequest::Remove { id, answer } => {
                    let _ = answer.send(self.changed(format!("remove {id}")));
                }
                MastersRequest::Transfer { to, answer } => {
                    let to = to.map_or("anyone".to_owned(), |to| to.to_string());
                    let _ = answer.send(self.changed(format!("transfer to {to}")));
                }
            }
        }
    }
}

/// Master `id` called `name`; the first leads.
pub(crate) fn master(id: u64, name: &str) -> MasterStatus {
    let address = |port: u16| ([127, 0, 0, id as u8], port).into();
    let info = MasterInfo {
        name: name.to_owned(),
        http: format!("127.0.0.{id}:8080"),
        rpc: address(5050),
        dns: address(53),
        version: "0.1.0".to_owned(),
    };
    let (role, leader) = (MasterRole::Voter, id == 1);
    MasterStatus {
        id: MasterId(id),
        info: Some(info),
        role,
        leader,
        reachable: Some(true),
        behind: Some(id - 1),
        log: leader.then(|| {
            let turns = Turns {
                snapshots: 2,
                held: Duration::from_millis(3),
                longest_writing: Duration::from_millis(12),
                longest: Duration::from_millis(15),
            };
            (Commits { count: 8, time: Duration::from_millis(1_250) }, turns)
        }),
    }
}
