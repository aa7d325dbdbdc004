//! Puts records into an answer, and an answer into a message of the size that the asker can take. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::packet::{self, Query};

/// The size of UDP answers that passes every network without fragments (DNS flag day 2020); larger offers of
/// the asker are not taken.
pub const UDP_SIZE_MAX: u16 = 1232;

/// The priority and weight of every SRV record (Mesos-DNS' defaults).
const SRV_PRIORITY: u16 = 0;
const SRV_WEIGHT: u16 = 1;

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `NXDomain` when there is no such name, else `NoError` (or `Refused` for a name of another zone).
    pub code: ResponseCode,
    /// The records asked for.
    pub answers: Vec<Record>,
    /// The SOA when there is no answer.
    pub authority: Vec<Record>,
    /// Addresses of the targets of SRV and NS records.
    pub additional: Vec<Record>,
}

impl Answer {
    pub(crate) fn code(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authority: Vec::new(), additional: Vec::new() }
    }

    pub(crate) fn of(answers: Vec<Record>) -> Self {
        Self { answers, ..Self::code(ResponseCode::NoError) }
    }
}

/// Where an SRV record points.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) name: Name,
    pub(crate) addresses: Vec<IpAddr>,
}

/// All that a name has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    addresses: Vec<IpAddr>,
    services: Vec<Target>,
}

impl Data {
    /// Equal addresses count once: instances on one agent give one record.
    pub(crate) fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut addresses: Vec<IpAddr> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self { addresses, services: Vec::new() }
    }

    /// Equal targets count once: a port published as `tcp` twice, say.
    pub(crate) fn services(services: impl IntoIterator<Item = Target>) -> Self {
        let mut services: Vec<Target> = services.into_iter().collect();
        services.sort_by(|a, b| (a.port, &a.name).cmp(&(b.port, &b.name)));
        services.dedup_by(|a, b| (a.port, &a.name) == (b.port, &b.name));
        Self { addresses: Vec::new(), services }
    }

    /// The records of one kind in the order of `seed`. `ANY` gets the least that RFC 8482 allows: one HINFO
    /// that says so, and no lever for floods.
    pub(crate) fn answer(mut self, owner: &Name, kind: RecordType, ttl: u32, seed: u64) -> Answer {
        let record = |data| Record::from_rdata(owner.clone(), ttl, data);
        match kind {
            RecordType::A | RecordType::AAAA => {
                shuffle(&mut self.addresses, seed);
                let data = self.addresses.into_iter().map(address);
                Answer::of(data.filter(|data| data.record_type() == kind).map(record).collect())
            }
            RecordType::SRV => {
                shuffle(&mut self.services, seed);
                let service =
                    |t: &Target| RData::SRV(SRV::new(SRV_PRIORITY, SRV_WEIGHT, t.port, t.name.clone()));
                let answers = self.services.iter().map(service).map(record).collect();
                Answer { additional: addresses_of(&self.services, ttl), ..Answer::of(answers) }
            }
            RecordType::ANY if !(self.addresses.is_empty() && self.services.is_empty()) => {
                Answer::of(vec![record(RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new())))])
            }
            _ => Answer::of(Vec::new()),
        }
    }
}

fn addresses_of(targets: &[Target], ttl: u32) -> Vec<Record> {
    let mut seen = std::collections::HashSet::new();
    let fresh = targets.iter().filter(|target| seen.insert(&target.name));
    let record = |name: &Name, ip: &IpAddr| Record::from_rdata(name.clone(), ttl, address(*ip));
    fresh.flat_map(|target| target.addresses.iter().map(move |ip| record(&target.name, ip))).collect()
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// The SOA stands at the apex, whatever was asked (Mesos-DNS gives it the name of the question, which
/// resolvers refuse to cache by).
pub(crate) fn soa(apex: &Name, serial: u32, ttl: u32, negative_ttl: u32) -> Record {
    let (refresh, retry, expire) = (60, 600, 86_400);
    let (mname, rname) = (below(apex, &["ns1"]), below(apex, &["root", "ns1"]));
    let soa = SOA::new(mname, rname, serial, refresh, retry, expire, negative_ttl);
    Record::from_rdata(apex.clone(), ttl, RData::SOA(soa))
}

/// The one name of all name servers, and their addresses.
pub(crate) fn name_servers(apex: &Name, addresses: Vec<IpAddr>, ttl: u32) -> Answer {
    let name = below(apex, &["ns1"]);
    let additional =
        addresses.into_iter().map(|ip| Record::from_rdata(name.clone(), ttl, address(ip))).collect();
    let answers = vec![Record::from_rdata(apex.clone(), ttl, RData::NS(NS(name)))];
    Answer { additional, ..Answer::of(answers) }
}

/// A name of ours below the apex; the apex itself where the domain is so long that it would not fit.
fn below(apex: &Name, labels: &[&str]) -> Name {
    let add = |name: Name, label: &&str| name.prepend_label(label.as_bytes()).unwrap_or(name);
    labels.iter().rev().fold(apex.clone(), add)
}

/// Fisher and Yates with SplitMix64: the order of the answers is all the load balancing there is.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for i in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        items.swap(i, ((mixed ^ (mixed >> 31)) % (i as u64 + 1)) as usize);
    }
}

/// The message for an answer, at most `limit` bytes. What is too long first loses the additional section,
/// which is a courtesy; then answers from the end, and says so with TC. `None` only if not even the question
/// fits, which `limit` of 512 and more rules out.
pub fn encode(query: &Query, answer: Answer, limit: usize) -> Option<Vec<u8>> {
    let mut message = Message::new(query.id, MessageType::Response, OpCode::Query);
    message.metadata.authoritative = answer.code != ResponseCode::Refused;
    message.metadata.recursion_desired = query.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = answer.code;
    message.add_query(Question::query(query.name.clone(), query.kind));
    message.edns = query.edns.is_some().then(|| {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_SIZE_MAX);
        edns
    });
    message.answers = answer.answers;
    message.authorities = answer.authority;
    message.additionals = answer.additional;
    fit(message, limit)
}

fn fit(mut message: Message, limit: usize) -> Option<Vec<u8>> {
    // The encoder cuts at 64 KiB by itself, without the OPT at the end: that is not "short enough" either.
    let uncut = |message: &Message, bytes: &[u8]| message.metadata.truncation || !packet::is_truncated(bytes);
    let short_enough = |message: &Message| {
        message.to_vec().ok().filter(|bytes| bytes.len() <= limit && uncut(message, bytes))
    };
    if let Some(bytes) = short_enough(&message) {
        return Some(bytes);
    }
    message.additionals.clear();
    if let Some(bytes) = short_enough(&message) {
        return Some(bytes);
    }
    message.metadata.truncation = true;
    message.authorities.clear();
    let all = std::mem::take(&mut message.answers);
    let (mut best, mut low, mut high) = (short_enough(&message), 0, all.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        message.answers = all[..middle].to_vec();
        match short_enough(&message) {
            Some(bytes) => (best, low) = (Some(bytes), middle),
            None => high = middle - 1,
        }
    }
    best
}
