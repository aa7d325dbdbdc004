//! Clients: each owns some apps and changes them all the time, one change after the other, and knows of each
//! whether it was acknowledged, refused, or is of unknown fate.

use std::sync::Arc;

use serde_json::{Value, json};
use spec::app::App;
use spec::features::Features;
use spec::ids::AppId;

use crate::bus::{Bus, Event};
use crate::net::Place;
use crate::queue::Millis;

/// How long a client waits for an answer.
const PATIENCE_MILLIS: Millis = 6_000;

/// What a client wants.
#[derive(Clone, Debug)]
pub enum What {
    /// Create an app or replace its definition.
    Put(Arc<App>),
    /// The same with several, as one change.
    PutMany(Vec<Arc<App>>),
    /// Change the number of instances.
    Scale(AppId, u32),
    /// Start every task anew.
    Restart(AppId),
    /// Remove an app.
    Remove(AppId),
    /// Remove all apps below a path.
    RemoveGroup(String),
    /// End one task.
    Kill {
        /// Of this app.
        app: AppId,
        /// Which.
        nth: usize,
        /// Its instance goes too.
        wipe: bool,
    },
    /// End one task and want one less.
    KillAndScale {
        /// Of this app.
        app: AppId,
        /// Which.
        nth: usize,
    },
    /// End some deployment where it stands.
    Cancel,
    /// Undo some deployment.
    Revert,
    /// Forget an app's launch delay.
    ResetDelay(AppId),
    /// See everything that was acknowledged before.
    Read,
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub client: usize,
    /// Tells requests of one client apart.
    pub number: u64,
    /// What.
    pub what: What,
    /// Over running deployments.
    pub force: bool,
    /// What was acknowledged, or seen by a reader, before it was first asked.
    pub floor: u64,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done, for good.
    Acknowledged,
    /// The state as of this index.
    Seen(u64),
    /// It is not done.
    Refused,
    /// It is not done; another master may do it.
    NotLeader,
    /// Perhaps it is done.
    Unknown,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    number: usize,
    masters: Vec<u64>,
    turn: usize,
    asked: u64,
    waiting: Option<Request>,
    tries: u32,
    /// It asks for nothing more.
    pub done: bool,
}

/// Instances of an app: no more than there are agents in the smallest cluster, for what is UNIQUE.
const INSTANCES_MAX: u32 = 3;
/// Apps of one client.
const APPS: usize = 3;

impl Client {
    /// A client that knows these masters.
    pub fn new(number: usize, masters: Vec<u64>) -> Self {
        Self { number, masters, turn: number, asked: 0, waiting: None, tries: 0, done: false }
    }

    /// Does it wait for an answer?
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// The masters that there are.
    pub fn learn(&mut self, masters: Vec<u64>) {
        self.masters = masters;
    }

    /// Does the next thing.
    pub fn act(&mut self, bus: &mut Bus) {
        if self.waiting.is_some() || self.done {
            return;
        }
        self.asked += 1;
        let (what, force) = self.think(bus);
        bus.note(Place::Client(self.number), format_args!("asks {} {}", self.asked, Words(&what)));
        let floor = bus.checks.floor();
        self.waiting = Some(Request { client: self.number, number: self.asked, what, force, floor });
        self.tries = 0;
        self.send(bus);
    }

    fn send(&mut self, bus: &mut Bus) {
        let Some(request) = self.waiting.clone() else { return };
        let master = self.masters[self.turn % self.masters.len()];
        if bus.net.passes(Place::Client(self.number), Place::Master(master)) {
            let millis = bus.latency();
            bus.after(millis, Event::Request(master, Box::new(request)));
        }
        bus.after(PATIENCE_MILLIS, Event::Patience(self.number, self.asked * 100 + u64::from(self.tries)));
    }

    /// An answer arrives. What was surely not done is asked of another master.
    pub fn answered(&mut self, number: u64, reply: Reply, bus: &mut Bus) {
        let Some(floor) =
            self.waiting.as_ref().filter(|asked| asked.number == number).map(|asked| asked.floor)
        else {
            return;
        };
        match reply {
            Reply::NotLeader if self.tries < 20 && !self.done => {
                self.tries += 1;
                self.turn += 1;
                return self.send(bus);
            }
            Reply::Seen(index) => {
                bus.figures.reads += 1;
                bus.checks.seen(bus.now, self.number, floor, index);
            }
            Reply::Acknowledged => bus.figures.acknowledged += 1,
            Reply::Refused | Reply::NotLeader => bus.figures.refused += 1,
            Reply::Unknown => bus.figures.unknown += 1,
        }
        bus.note(Place::Client(self.number), format_args!("hears {number}: {reply:?}"));
        self.rest(bus);
    }

    /// It has waited for long enough: nobody knows what became of it.
    pub fn give_up(&mut self, mark: u64, bus: &mut Bus) {
        if self.waiting.is_none() || mark != self.asked * 100 + u64::from(self.tries) {
            return;
        }
        bus.note(Place::Client(self.number), format_args!("hears nothing of {}", self.asked));
        bus.figures.unknown += 1;
        self.turn += 1;
        self.rest(bus);
    }

    fn rest(&mut self, bus: &mut Bus) {
        self.waiting = None;
        let millis = if bus.chance(300) { bus.between(1, 50) } else { bus.between(200, 3_000) };
        bus.after(millis, Event::Act(self.number));
    }

    fn app(&self, bus: &mut Bus) -> AppId {
        let name = ["web", "db", "jobs/batch"][bus.rng.usize(0..APPS)];
        AppId::parse(&format!("/c{}/{name}", self.number)).expect("a path")
    }

    fn think(&self, bus: &mut Bus) -> (What, bool) {
        let (id, force) = (self.app(bus), bus.chance(600));
        let nth = bus.rng.usize(0..16);
        let what = match bus.rng.u32(0..115) {
            0..40 => What::Put(self.definition(&id, bus)),
            40..46 => {
                let other = self.app(bus);
                let mut apps = vec![self.definition(&id, bus)];
                if other != id {
                    apps.push(self.definition(&other, bus));
                }
                What::PutMany(apps)
            }
            46..60 => What::Scale(id, bus.rng.u32(0..=INSTANCES_MAX)),
            60..68 => What::Restart(id),
            68..76 => What::Remove(id),
            76..78 => What::RemoveGroup(format!("/c{}", self.number)),
            78..88 => What::Kill { app: id, nth, wipe: bus.chance(300) },
            88..93 => What::KillAndScale { app: id, nth },
            93..95 => What::Cancel,
            95..97 => What::Revert,
            97..100 => What::ResetDelay(id),
            _ => What::Read,
        };
        (what, force)
    }

    /// A definition that the cluster can always run, whatever else does.
    fn definition(&self, id: &AppId, bus: &mut Bus) -> Arc<App> {
        let rng = &mut bus.rng;
        let mut document = json!({
            "id": id.as_str(),
            "cmd": format!("run {}", rng.u32(0..1000)),
            "cpus": f64::from(rng.u32(1..5)) / 10.0,
            "mem": 32 * rng.u32(1..4),
            "instances": rng.u32(0..=INSTANCES_MAX),
            "backoffSeconds": 1,
            "maxLaunchDelaySeconds": 4,
            "taskKillGracePeriodSeconds": rng.u32(1..4),
            "portDefinitions": vec![json!({"port": 0, "protocol": "tcp", "name": "p0"}); usize::from(rng.bool())],
        });
        if rng.u32(0..3) == 0 {
            document["upgradeStrategy"] = json!({"minimumHealthCapacity": f64::from(rng.u32(0..3)) / 2.0,
                       "maximumOverCapacity": f64::from(rng.u32(0..3)) / 2.0});
        }
        match rng.u32(0..6) {
            0 => {
                document["constraints"] = json!([["hostname", "UNIQUE"]]);
                document["upgradeStrategy"] = json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0});
            }
            1 => document["constraints"] = json!([["hostname", "MAX_PER", "3"]]),
            2 => document["constraints"] = json!([["rack", "GROUP_BY"]]),
            _ => {}
        }
        if rng.u32(0..3) == 0 {
            document["healthChecks"] = json!([{
                "protocol": "COMMAND", "command": {"value": "true"}, "gracePeriodSeconds": 3,
                "intervalSeconds": 2, "timeoutSeconds": 2, "maxConsecutiveFailures": 2
            }]);
        }
        match rng.u32(0..4) {
            0 => {
                document["unreachableStrategy"] =
                    json!({"inactiveAfterSeconds": 5, "expungeAfterSeconds": 12})
            }
            1 => {
                document["unreachableStrategy"] =
                    json!({"inactiveAfterSeconds": 1, "expungeAfterSeconds": 30})
            }
            _ => {}
        }
        if rng.bool() {
            image(&mut document);
        }
        Arc::new(spec::app::create(&document, &Features::default()).expect("a valid definition"))
    }
}

/// The same as a container of an image.
fn image(document: &mut Value) {
    document["container"] = json!({"type": "DOCKER", "docker": {"image": "registry/app:1"}});
}

struct Words<'a>(&'a What);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            What::Put(app) => write!(f, "put {} x{}", app.id.as_str(), app.instances),
            What::PutMany(apps) => {
                write!(
                    f,
                    "put {:?}",
                    apps.iter().map(|app| (app.id.as_str(), app.instances)).collect::<Vec<_>>()
                )
            }
            other => write!(f, "{other:?}"),
        }
    }
}
