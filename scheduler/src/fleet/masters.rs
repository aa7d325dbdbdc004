//! What agents are told of the masters. Pure.

use std::net::SocketAddr;

use spec::protocol::{MASTERS_MAX, MasterMessage};

use crate::cluster::Leadership;
use crate::state::State;

/// First version of the protocol that speaks of masters.
const SINCE: u16 = 2;

/// Does an agent of this version understand what is said here?
pub fn understands(protocol: u16) -> bool {
    protocol >= SINCE
}

/// All masters, once they have said how they are reached; `None` before.
pub fn all(state: &State) -> Option<MasterMessage> {
    let known = || state.masters.values().take(MASTERS_MAX);
    let rpc: Vec<_> = known().map(|master| master.info.rpc).collect();
    let dns = known().map(|master| master.info.dns).collect();
    (!rpc.is_empty()).then_some(MasterMessage::Masters { rpc, dns })
}

/// Where masters answer DNS: every one of them, or at least the one that speaks.
pub fn dns(state: &State, own: SocketAddr) -> Vec<SocketAddr> {
    match all(state) {
        Some(MasterMessage::Masters { dns, .. }) => dns,
        _ => vec![own],
    }
}

/// Where the leader is, as far as this master knows. Masters are told apart by where their REST answers.
pub fn elsewhere(state: &State, leadership: &Leadership) -> MasterMessage {
    let is_leader = |http: &String| Some(http) == leadership.leader_http.as_ref();
    let leader = state.masters.values().find(|master| is_leader(&master.info.http));
    MasterMessage::Elsewhere { leader: leader.map(|master| master.info.rpc), term: leadership.term }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spec::ids::MasterId;
    use uuid::Uuid;

    use super::*;
    use crate::state::{MasterEntry, MasterInfo};

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn state(masters: u16) -> State {
        let mut state = State::default();
        for n in 1..=masters {
            let info = MasterInfo {
                name: format!("m{n}"),
                http: format!("m{n}:8080"),
                rpc: at(5_000 + n),
                dns: at(53 + n),
                version: String::new(),
            };
            let id = MasterId(u64::from(n));
            state.masters.insert(id, Arc::new(MasterEntry { id, ticket: Uuid::nil(), info }));
        }
        state
    }

    #[test]
    fn all_masters_are_named_up_to_a_bound() {
        assert_eq!(all(&state(0)), None);
        assert_eq!(dns(&state(0), at(9)), [at(9)]);
        let (rpc, dns_servers) = (vec![at(5_001), at(5_002)], vec![at(54), at(55)]);
        assert_eq!(all(&state(2)), Some(MasterMessage::Masters { rpc, dns: dns_servers.clone() }));
        assert_eq!(dns(&state(2), at(9)), dns_servers);
        let Some(MasterMessage::Masters { rpc, .. }) = all(&state(100)) else { panic!("nobody") };
        assert_eq!(rpc.len(), MASTERS_MAX);
    }

    #[test]
    fn the_leader_is_named_if_it_is_known() {
        for (leader_http, leader) in
            [(None, None), (Some("m2:8080"), Some(at(5_002))), (Some("elsewhere:8080"), None)]
        {
            let leadership = Leadership { term: 7, leading: false, leader_http: leader_http.map(Into::into) };
            let said = elsewhere(&state(3), &leadership);
            assert_eq!(said, MasterMessage::Elsewhere { leader, term: 7 }, "{leader_http:?}");
        }
    }
}
