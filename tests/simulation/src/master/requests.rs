//! Clients' requests at a master: what the API makes of them. A plan is made from the state as it is here, and
//! made anew when that has changed meanwhile.

use scheduler::cluster::AskError;
use scheduler::state::{Command, Deploy, Expect, KillReason, Outcome, PutApp, Refusal, State};
use spec::app::{App, StoredApp};
use spec::ids::DeploymentId;

use super::{Asker, Life};
use crate::bus::{Bus, Event};
use crate::client::{Reply, Request, What};

/// As the API has it.
const ATTEMPTS: u32 = 5;

/// A request under way through the log.
#[derive(Clone, Debug)]
pub struct Ticket {
    request: Request,
    attempts: u32,
    /// The id that its change has, if it is one.
    deployment: Option<DeploymentId>,
}

impl Life {
    /// A request arrives.
    pub fn request(&mut self, request: Request, bus: &mut Bus) {
        if !self.told.2 {
            return self.reply(&request, Reply::NotLeader, bus);
        }
        if matches!(request.what, What::Read) {
            let ticket = self.wish(Asker::Read(Box::new(request)));
            self.node.read_index(ticket);
            return self.wake(bus);
        }
        self.attempt(request, 1, bus);
    }

    /// A majority says that this master led when it was asked: it may say what it knows.
    pub(super) fn read_answered(&mut self, request: &Request, confirmed: bool, bus: &mut Bus) {
        let seen = Reply::Seen(self.state().index);
        self.reply(request, if confirmed { seen } else { Reply::NotLeader }, bus);
    }

    fn attempt(&mut self, request: Request, attempts: u32, bus: &mut Bus) {
        let id = DeploymentId(bus.uuid());
        match plan(&self.state(), &request, id) {
            Some(command) => {
                let deployment = matches!(command, Command::Deploy(_)).then_some(id);
                self.ask(Asker::Client(Box::new(Ticket { request, attempts, deployment })), command, bus);
            }
            None => self.reply(&request, Reply::Refused, bus),
        }
    }

    pub(super) fn client_answered(
        &mut self,
        ticket: Ticket,
        outcome: Result<Outcome, AskError>,
        bus: &mut Bus,
    ) {
        let Ticket { request, attempts, deployment } = ticket;
        let reply = match outcome {
            Ok(Outcome::Refused(Refusal::Changed(_) | Refusal::AppExists(_))) if attempts < ATTEMPTS => {
                return self.attempt(request, attempts + 1, bus);
            }
            Ok(Outcome::Refused(_)) => Reply::Refused,
            Ok(Outcome::Deployed { id, version }) => {
                bus.checks.acknowledged(bus.now, self.id, self.told.0, id, version);
                Reply::Acknowledged
            }
            Ok(_) => Reply::Acknowledged,
            Err(AskError::NotLeader | AskError::Busy | AskError::TooLarge { .. }) => {
                deployment.into_iter().for_each(|id| bus.checks.surely_not(bus.now, id));
                Reply::NotLeader
            }
            Err(AskError::TimedOut | AskError::Closed) => Reply::Unknown,
        };
        self.reply(&request, reply, bus);
    }

    fn reply(&mut self, request: &Request, reply: Reply, bus: &mut Bus) {
        let millis = bus.latency();
        bus.after(millis, Event::Reply(request.client, request.number, reply));
    }
}

/// The command that a request means in this state; `None`: it means nothing there.
fn plan(state: &State, request: &Request, id: DeploymentId) -> Option<Command> {
    let mut deploy = Deploy { force: request.force, ..Deploy::new(id) };
    match &request.what {
        What::Put(app) => deploy.put.push(put(state, App::clone(app))),
        What::PutMany(apps) => deploy.put.extend(apps.iter().map(|app| put(state, App::clone(app)))),
        What::Scale(app, instances) => {
            let entry = state.app(app)?;
            deploy.put.push(put(state, App { instances: *instances, ..App::clone(&entry.app) }));
        }
        What::Restart(app) => deploy.restart.push(app.clone()),
        What::Remove(app) => deploy.remove.push(state.app(app)?.app.id.clone()),
        What::RemoveGroup(path) => {
            deploy.remove.extend(state.apps_below(path).map(|entry| entry.app.id.clone()));
            if deploy.remove.is_empty() {
                return None;
            }
        }
        What::Kill { app, nth, wipe } => {
            let tasks: Vec<_> = state.tasks_of(app).collect();
            let task = tasks.get(nth.checked_rem(tasks.len())?)?;
            let (tasks, reason) = (vec![task.id.clone()], KillReason::Asked);
            return Some(Command::KillTasks { tasks, wipe: *wipe, reason });
        }
        What::KillAndScale { app, nth } => {
            let entry = state.app(app)?;
            let tasks: Vec<_> = state.tasks_of(app).collect();
            deploy.kill.push(tasks.get(nth.checked_rem(tasks.len())?)?.id.clone());
            let instances = entry.app.instances.saturating_sub(1);
            deploy.put.push(put(state, App { instances, ..App::clone(&entry.app) }));
        }
        What::Cancel => {
            return Some(Command::CancelDeployment { id: *state.deployments.keys().next()? });
        }
        What::Revert => {
            let id = *state.deployments.keys().next()?;
            return Some(Command::RevertDeployment { id, deployment: deploy.id });
        }
        What::Read => return None,
        What::ResetDelay(app) => return Some(Command::ResetDelay { app: app.clone() }),
    }
    Some(Command::Deploy(deploy))
}

fn put(state: &State, app: App) -> PutApp {
    let expect = state.app(&app.id).map_or(Expect::Absent, |entry| Expect::Version(entry.app.version));
    PutApp { app: StoredApp(app.into()), expect }
}
