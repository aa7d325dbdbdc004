//! Packets that the tests of several modules share, also those with real sockets. Only compiled for tests.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A query as a client sends it.
pub fn query(name: &str, kind: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(0x4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.edns = edns.map(|size| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns
    });
    message.to_vec().unwrap()
}

/// The answer of a resolver to a query for addresses.
pub fn reply(query: &[u8], addresses: impl IntoIterator<Item = [u8; 4]>, ttl: u32) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap();
    message.metadata.message_type = MessageType::Response;
    let name = message.queries[0].name().clone();
    for address in addresses {
        message.add_answer(Record::from_rdata(name.clone(), ttl, RData::A(A(address.into()))));
    }
    message.to_vec().unwrap()
}
