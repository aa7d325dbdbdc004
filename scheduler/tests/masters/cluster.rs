//! Masters on free ports of this machine, by index; any of them may be gone.

use std::ops::Index;
use std::sync::Arc;
use std::time::Duration;

use gantry_scheduler::cluster::{MasterRole, MasterStatus, Options};
use gantry_scheduler::master::{Master, MasterError, Setup, Start};
use gantry_scheduler::state::{Command, Deploy, Expect, Outcome, PutApp};
use serde_json::json;
use spec::app::StoredApp;
use spec::features::Features;
use spec::ids::{AppId, DeploymentId, MasterId};
use tempfile::TempDir;
use uuid::Uuid;

/// More than any wait in these tests; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Apps that do not fit one piece of a snapshot.
const LARGE: usize = 4;

pub async fn until<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("never: {what}"))
}

pub struct Masters(Vec<Option<(Master, TempDir)>>);

impl Index<usize> for Masters {
    type Output = Master;

    fn index(&self, index: usize) -> &Master {
        &self.0[index].as_ref().expect("it is there").0
    }
}

/// Agents are not given up in any of these tests.
pub fn options(name: impl Into<String>) -> Options {
    Options { agent_timeout_millis: 600_000, ..Options::on_free_ports(name) }
}

impl Masters {
    /// Room for so many, none of them started.
    pub fn of(count: usize) -> Self {
        Self((0..count).map(|_| None).collect())
    }

    /// Three masters that vote.
    pub async fn three() -> Self {
        let mut masters = Self::of(3);
        masters.start(0, tempfile::tempdir().unwrap(), Start::Bootstrap).await;
        for index in 1..3 {
            // At any master: it says who leads.
            let join = Start::Join(vec![masters[index - 1].cluster().options.rpc]);
            masters.start(index, tempfile::tempdir().unwrap(), join).await;
        }
        let voter = |master: &&MasterStatus| master.role == MasterRole::Voter && master.info.is_some();
        masters.settled(|list| list.iter().filter(voter).count() == 3).await;
        masters
    }

    /// How a new master would join.
    pub fn join(&self) -> Start {
        Start::Join(self.0.iter().flatten().map(|(master, _)| master.cluster().options.rpc).collect())
    }

    /// Starts a master in a new directory and sees whether it gets up.
    pub async fn try_start(&self, name: &str, start: Start) -> Result<Master, MasterError> {
        let dir = tempfile::tempdir().unwrap();
        let setup = Setup { options: options(name), data_dir: dir.path().to_owned(), start, at_rest: || {} };
        until("it starts or is refused", Master::start(setup)).await
    }

    /// Starts the master of that number. One that crashed may still hold its files for a moment.
    pub async fn start(&mut self, index: usize, dir: TempDir, start: Start) {
        let starting = async {
            loop {
                let options = options(format!("m{}", index + 1));
                let setup =
                    Setup { options, data_dir: dir.path().to_owned(), start: start.clone(), at_rest: || {} };
                match Master::start(setup).await {
                    Ok(master) => return master,
                    Err(error @ MasterError::Join(_)) => panic!("{error}"),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        let master = until("it starts", starting).await;
        self.0[index] = Some((master, dir));
    }

    /// Ends a master without a word to anybody; its disk is what remains.
    pub fn crash(&mut self, index: usize) -> TempDir {
        self.0[index].take().expect("it is there").1
    }

    /// Ends a master in order.
    pub async fn stop_one(&mut self, index: usize) {
        let (master, _dir) = self.0[index].take().expect("it is there");
        until("it stops", master.stop()).await;
    }

    /// Ends what is left.
    pub async fn stop(self) {
        for (master, _dir) in self.0.into_iter().flatten() {
            until("it stops", master.stop()).await;
        }
    }

    /// Who leads, by its own word and that of a majority.
    pub async fn leader(&self) -> usize {
        let found = async {
            loop {
                for (index, master) in self.0.iter().enumerate() {
                    let Some((master, _)) = master else { continue };
                    let leads = master.cluster().leadership().borrow().leading;
                    if leads && master.cluster().current().await.is_ok() {
                        return index;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        until("somebody leads", found).await
    }

    /// The masters as the leader lists them, once they are as wanted.
    pub async fn settled(&self, wanted: impl Fn(&[MasterStatus]) -> bool) -> Vec<MasterStatus> {
        let settled = async {
            loop {
                let leader = self.leader().await;
                let list = self[leader].cluster().masters().await.unwrap_or_default();
                if wanted(&list) {
                    return list;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        until("the masters are as wanted", settled).await
    }

    /// The number of a master in the group.
    pub async fn id(&self, index: usize) -> MasterId {
        let rpc = self[index].cluster().options.rpc;
        let is_it = |master: &&MasterStatus| master.info.as_ref().is_some_and(|info| info.rpc == rpc);
        let list = self.settled(|list| list.iter().any(|master| is_it(&master))).await;
        list.iter().find(is_it).expect("it is there").id
    }

    /// Stores an app without tasks at the leader. `#large`: several, which are large.
    pub async fn write(&self, index: usize, id: &str) {
        for (id, label) in apps(id) {
            let document = json!({"id": id, "cmd": "true", "instances": 0, "labels": {"x": label}});
            let app = StoredApp(Arc::new(spec::app::create(&document, &Features::default()).unwrap()));
            let put = vec![PutApp { app, expect: Expect::Absent }];
            let deploy = Deploy { put, force: true, ..Deploy::new(DeploymentId(Uuid::new_v4())) };
            let outcome = until("it is written", self[index].cluster().ask(Command::Deploy(deploy))).await;
            assert!(matches!(outcome, Ok(Outcome::Deployed { .. })), "{outcome:?}");
        }
    }

    /// Waits until a master has an app.
    pub async fn knows(&self, index: usize, id: &str) {
        for (id, _) in apps(id) {
            let id = AppId::parse(&id).unwrap();
            let known = async {
                while self[index].cluster().state().app(&id).is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            until("it is known", known).await;
        }
    }
}

fn apps(id: &str) -> Vec<(String, String)> {
    match id.strip_suffix("#large") {
        Some(id) => (0..LARGE).map(|n| (format!("{id}-{n}"), "x".repeat(600_000))).collect(),
        None => vec![(id.to_owned(), String::new())],
    }
}
