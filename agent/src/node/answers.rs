//! What masters answer to an opening, and what is kept of who they are.

use std::net::SocketAddr;

use spec::protocol::{MASTERS_MAX, Standing, VERSION, Welcome};
use tracing::{debug, info, warn};

use super::{AgentError, Node};

impl Node {
    /// The master does not lead.
    pub(super) fn on_elsewhere(&mut self, leader: Option<SocketAddr>, term: u64) -> Result<(), AgentError> {
        let Some(master) = self.line.opening() else { return Ok(()) };
        self.hang_up();
        debug!(%master, ?leader, term, "a master that does not lead");
        self.line.search.elsewhere(master, leader, term, self.core.fence().term);
        self.dial_on()
    }

    /// Between this master and this agent it cannot be. Another one may know better: a master of a cluster that was
    /// restored since refuses agents that it has no business with.
    pub(super) fn on_refused(&mut self, reason: String) -> Result<(), AgentError> {
        let Some(master) = self.line.opening() else { return Ok(()) };
        self.hang_up();
        warn!(%master, reason, "this agent and a master do not belong together");
        self.line.search.refused(master, reason);
        self.dial_on()
    }

    /// Who the masters are is kept before it is used.
    pub(super) async fn on_masters(
        &mut self,
        rpc: &[SocketAddr],
        mut dns: Vec<SocketAddr>,
    ) -> Result<(), AgentError> {
        dns.truncate(MASTERS_MAX);
        let mut identity = self.identity.clone();
        if self.line.search.learn(rpc) {
            info!(masters = ?self.line.search.learned(), "the masters of the cluster");
        }
        identity.masters = self.line.search.learned().to_vec();
        if let Some((known, _)) = &mut identity.dns {
            *known = dns;
        }
        if identity != self.identity {
            self.save(identity).await?;
            self.tell_resolver();
        }
        Ok(())
    }

    fn tell_resolver(&self) {
        if let Some((masters, domain)) = &self.identity.dns {
            self.resolver.learn(masters, domain);
        }
    }

    pub(super) async fn on_welcome(&mut self, welcome: Welcome) -> Result<(), AgentError> {
        if let Some(reason) = self.mismatch(&welcome) {
            return self.on_refused(reason);
        }
        if welcome.fence.standing(self.core.fence()) == Standing::Deposed {
            warn!(theirs = ?welcome.fence, obeyed = ?self.core.fence(), "an old leader; trying another master");
            return self.on_end().await;
        }
        let mut identity = self.identity.clone();
        identity.agent_id = Some(welcome.agent_id);
        identity.cluster_id = Some(welcome.cluster_id);
        identity.dns = Some((welcome.dns, welcome.dns_domain));
        self.save(identity).await?;
        self.tell_resolver();
        self.line.stand(welcome.fence.term);
        info!(agent = %self.agent_id(), cluster = %welcome.cluster_id, "joined");
        Ok(())
    }

    /// Why the agent does not obey a leader that takes it, as a person should read it.
    fn mismatch(&self, welcome: &Welcome) -> Option<String> {
        let (theirs, obeyed) = (welcome.fence, self.core.fence());
        let dir = self.options.data_dir.display();
        if welcome.protocol != VERSION {
            return Some(format!(
                "the master speaks protocol {}, this agent {VERSION}: upgrade the masters first",
                welcome.protocol
            ));
        }
        if let Some(ours) = self.identity.cluster_id.filter(|ours| *ours != welcome.cluster_id) {
            return Some(format!(
                "this agent belongs to cluster {ours}, the masters to cluster {}: point --masters at its own \
                 cluster, or remove {dir} to join as a new agent",
                welcome.cluster_id
            ));
        }
        match theirs.standing(obeyed) {
            Standing::Current | Standing::Deposed => None,
            Standing::SetBack | Standing::Bygone => Some(format!(
                "the masters went back: this agent has obeyed epoch {}, term {}, log index {}, and the leader is at \
                 epoch {}, term {}, log index {}: start masters whose log goes on, restore a backup with \
                 `clusterctl restore`, or remove {dir} to join as a new agent",
                obeyed.epoch(),
                obeyed.term,
                obeyed.index,
                theirs.epoch(),
                theirs.term,
                theirs.index
            )),
        }
    }
}
