//! DNS messages as bytes: what a forwarder must read and change without taking them apart. Pure, and total:
//! every slice of bytes is either understood or refused.

use std::ops::Range;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

use crate::answer::UDP_SIZE_MAX;

#[cfg(test)]
mod tests;

/// UDP answers to askers that offer nothing (RFC 1035, section 4.2.1).
pub const UDP_SIZE_MIN: u16 = 512;

const HEADER: usize = 12;
const NAME_MAX: usize = 255;
const OPT: u16 = 41;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// UDP or TCP: how a question came, and so how far its answer may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// One datagram each way.
    Udp,
    /// Length-prefixed messages.
    Tcp,
}

/// What the OPT record of a query says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdnsOffer {
    /// The UDP size that the asker can take.
    pub size: u16,
    /// Zero is the only one there is.
    pub version: u8,
    /// Wants signatures.
    pub dnssec_ok: bool,
}

/// A query with exactly one question.
#[derive(Clone, Debug)]
pub struct Query {
    /// To be repeated in the answer.
    pub id: u16,
    /// To be repeated in the answer.
    pub recursion_desired: bool,
    /// As the asker spelled it.
    pub name: Name,
    /// The kind of records asked for.
    pub kind: RecordType,
    /// Present if the query had an OPT record.
    pub edns: Option<EdnsOffer>,
}

impl Query {
    /// How long the answer may be.
    pub fn limit(&self, via: Via) -> usize {
        match (via, self.edns) {
            (Via::Tcp, _) => usize::from(u16::MAX),
            (Via::Udp, Some(edns)) => usize::from(edns.size.clamp(UDP_SIZE_MIN, UDP_SIZE_MAX)),
            (Via::Udp, None) => usize::from(UDP_SIZE_MIN),
        }
    }
}

/// Why a packet is no query to be answered from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No answer at all: too short for a header, or itself an answer, with which two servers could play
    /// ping-pong.
    Silence,
    /// An answer with this code.
    Code(ResponseCode),
}

/// Reads a query; one question only, as every server in the world does.
pub fn read(packet: &[u8]) -> Result<Query, Refusal> {
    if packet.len() < HEADER || is_reply(packet) {
        return Err(Refusal::Silence);
    }
    if packet[2] >> 3 & 0xF != 0 {
        return Err(Refusal::Code(ResponseCode::NotImp));
    }
    let malformed = Refusal::Code(ResponseCode::FormErr);
    let question = question(packet).ok_or(malformed)?;
    let records = records(packet).ok_or(malformed)?;
    let edns = edns(packet, &records).ok_or(malformed)?;
    if edns.is_some_and(|edns| edns.version > 0) {
        return Err(Refusal::Code(ResponseCode::BADVERS));
    }
    if ![CLASS_IN, CLASS_ANY].contains(&question.class) {
        return Err(Refusal::Code(ResponseCode::Refused));
    }
    Ok(Query {
        id: u16_at(packet, 0).ok_or(malformed)?,
        recursion_desired: packet[2] & 1 != 0,
        name: question.name.ok_or(malformed)?,
        kind: RecordType::from(question.kind),
        edns,
    })
}

/// The answer to a packet that has none of its own: its id and question, and a code.
pub fn error(packet: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut reply = echo(packet, code);
    let offered = records(packet).and_then(|records| edns(packet, &records)).flatten();
    if offered.is_some() || code.high() > 0 {
        let [size_high, size_low] = UDP_SIZE_MAX.to_be_bytes();
        let [kind_high, kind_low] = OPT.to_be_bytes();
        reply.extend([0, kind_high, kind_low, size_high, size_low, code.high(), 0, 0, 0, 0, 0]);
        set_u16(&mut reply, 10, 1);
    }
    reply
}

/// The answer that sends an asker on UDP over to TCP.
pub fn truncated(packet: &[u8]) -> Vec<u8> {
    let mut reply = error(packet, ResponseCode::NoError);
    reply[2] |= 2;
    reply
}

/// Header and question only.
fn echo(packet: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    let given = packet.len().min(4);
    reply[..given].copy_from_slice(&packet[..given]);
    reply[2] = 0x80 | (reply[2] & 0x79);
    reply[3] = 0x80 | (reply[3] & 0x10) | code.low();
    if let Some(question) = question(packet) {
        reply.extend_from_slice(&packet[question.bytes]);
        set_u16(&mut reply, 4, 1);
    }
    reply
}

/// The id.
pub fn id(packet: &[u8]) -> Option<u16> {
    u16_at(packet, 0)
}

/// Changes the id.
pub fn set_id(packet: &mut [u8], id: u16) {
    set_u16(packet, 0, id);
}

/// Is this an answer, and not a question?
pub fn is_reply(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Was something cut off?
pub fn is_truncated(packet: &[u8]) -> bool {
    packet.get(2).is_some_and(|flags| flags & 2 != 0)
}

/// The code of an answer, without the part in the OPT.
pub fn code(packet: &[u8]) -> ResponseCode {
    ResponseCode::from(0, packet.get(3).unwrap_or(&0) & 0xF)
}

/// What tells questions apart, for a cache: the question in lower case, whether there is an OPT, and the
/// flags that change the answer (checking disabled, DNSSEC wanted). `None` for what should not be cached.
pub fn cache_key(packet: &[u8]) -> Option<Vec<u8>> {
    let question = question(packet)?;
    let offer = edns(packet, &records(packet)?)?;
    let mut key = packet[question.bytes].to_ascii_lowercase();
    // Lower-casing moved the type and class as well; put them back.
    let tail = key.len() - 4;
    key[tail..tail + 2].copy_from_slice(&question.kind.to_be_bytes());
    key[tail + 2..].copy_from_slice(&question.class.to_be_bytes());
    key.push(
        packet[3] & 0x10 | u8::from(offer.is_some()) | u8::from(offer.is_some_and(|o| o.dnssec_ok)) << 1,
    );
    Some(key)
}

/// Do an answer and a question belong together? Id, and question up to upper and lower case.
pub fn answers(reply: &[u8], query: &[u8]) -> bool {
    let same_question = || {
        let (theirs, ours) = (question(reply)?, question(query)?);
        Some(reply[theirs.bytes].eq_ignore_ascii_case(&query[ours.bytes]))
    };
    is_reply(reply) && id(reply) == id(query) && same_question().unwrap_or(false)
}

/// Makes a kept answer the answer to another query with the same cache key: id, spelling of the name and the
/// wish for recursion are the asker's.
pub fn readdress(reply: &mut [u8], query: &[u8]) {
    let (Some(theirs), Some(ours)) = (question(reply), question(query)) else {
        return;
    };
    if theirs.bytes.len() == ours.bytes.len() {
        reply[theirs.bytes].copy_from_slice(&query[ours.bytes]);
    }
    reply[..2].copy_from_slice(&query[..2]);
    reply[2] = (reply[2] & 0xFE) | (query[2] & 1);
}

/// The least time to live of all records; `None` without records, or if the answer makes no sense.
pub fn ttl_min(packet: &[u8]) -> Option<u32> {
    let records = records(packet)?;
    records.iter().filter(|record| record.kind != OPT).map(|record| record.ttl(packet)).min()
}

/// Rewrites the time to live of every record.
pub fn map_ttls(packet: &mut [u8], change: impl Fn(u32) -> u32) {
    for record in records(packet).unwrap_or_default().iter().filter(|record| record.kind != OPT) {
        let ttl = change(record.ttl(packet));
        packet[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl.to_be_bytes());
    }
}

/// An answer that another server made, if the asker can take it; else the one that sends it over to TCP. Here
/// the whole offer counts: how much of it is wise was that server's choice.
pub fn fitting(reply: Vec<u8>, query: &[u8], via: Via) -> Vec<u8> {
    let offer = records(query).and_then(|records| edns(query, &records)).flatten();
    let most = offer.map_or(UDP_SIZE_MIN, |offer| offer.size.max(UDP_SIZE_MIN));
    if via == Via::Tcp || reply.len() <= most.into() { reply } else { truncated(query) }
}

struct Question {
    /// Name, type and class.
    bytes: Range<usize>,
    /// `None` if hickory finds the labels wrong.
    name: Option<Name>,
    kind: u16,
    class: u16,
}

/// The question, if there is exactly one. Its name must not be compressed: there is nothing before it.
fn question(packet: &[u8]) -> Option<Question> {
    if u16_at(packet, 4)? != 1 {
        return None;
    }
    let (mut at, mut labels) = (HEADER, Vec::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || at + length - HEADER >= NAME_MAX {
            return None;
        }
        labels.push(packet.get(at..at + length)?);
        at += length;
    }
    let (kind, class) = (u16_at(packet, at)?, u16_at(packet, at + 2)?);
    Some(Question { bytes: HEADER..at + 4, name: Name::from_labels(labels).ok(), kind, class })
}

struct Found {
    kind: u16,
    class: u16,
    ttl_at: usize,
}

impl Found {
    fn ttl(&self, packet: &[u8]) -> u32 {
        packet[self.ttl_at..].iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    }
}

/// Every record after the question, in order; `None` if the packet ends too early.
fn records(packet: &[u8]) -> Option<Vec<Found>> {
    let mut at = question(packet)?.bytes.end;
    let count: usize = [6, 8, 10].into_iter().map(|at| u16_at(packet, at).map_or(0, usize::from)).sum();
    let mut found = Vec::new();
    for _ in 0..count {
        at = after_name(packet, at)?;
        found.push(Found { kind: u16_at(packet, at)?, class: u16_at(packet, at + 2)?, ttl_at: at + 4 });
        at += 10 + usize::from(u16_at(packet, at + 8)?);
        if at > packet.len() {
            return None;
        }
    }
    Some(found)
}

/// The OPT record, if there is one; `None` if there are several, which is an error (RFC 6891, section 6.1.1).
fn edns(packet: &[u8], records: &[Found]) -> Option<Option<EdnsOffer>> {
    let mut all = records.iter().filter(|record| record.kind == OPT);
    let offer = all.next().map(|opt| {
        let [_, version, flags, _] = opt.ttl(packet).to_be_bytes();
        EdnsOffer { size: opt.class, version, dnssec_ok: flags & 0x80 != 0 }
    });
    all.next().is_none().then_some(offer)
}

fn after_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xC0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

fn set_u16(packet: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = packet.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}
