//! The protobuf messages of etcd's API that a benchmark needs, by hand: `PutRequest`, and what
//! `StatusResponse` says of the leader. Pure.

/// Bits of a key that say how the value is written.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// What a member says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) member: u64,
    pub(super) leader: u64,
    pub(super) index: u64,
}

/// `PutRequest { key = 1, value = 2 }`.
pub(super) fn put_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + value.len() + 12);
    for (number, bytes) in [(1, key), (2, value)] {
        push_varint(&mut message, number << 3 | BYTES);
        push_varint(&mut message, bytes.len() as u64);
        message.extend_from_slice(bytes);
    }
    message
}

/// `StatusResponse { header = 1 { member_id = 2 }, leader = 4, raftIndex = 5 }`.
pub(super) fn status_response(message: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    for (number, value) in fields(message)? {
        match (number, value) {
            (1, Value::Bytes(header)) => {
                let member = fields(header)?.into_iter().find(|(number, _)| *number == 2);
                status.member = member.map_or(0, |(_, value)| value.number());
            }
            (4, leader) => status.leader = leader.number(),
            (5, index) => status.index = index.number(),
            _ => {}
        }
    }
    Some(status)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }
}

/// The fields of a message; `None` when it is malformed or has kinds that etcd's answers do not have.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        let number = take_varint(&mut message)?;
        let value = match key & 7 {
            VARINT => Value::Number(number),
            BYTES => {
                let (bytes, rest) = message.split_at_checked(usize::try_from(number).ok()?)?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        found.push((key >> 3, value));
    }
    Some(found)
}

fn push_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_written_as_protobuf_says() {
        assert_eq!(put_request(b"k", b"val"), b"\x0a\x01k\x12\x03val");
        let long = put_request(b"k", &[7; 300]);
        assert_eq!(long[..6], [0x0a, 1, b'k', 0x12, 0xac, 0x02]);
    }

    #[test]
    fn a_status_is_read_and_a_broken_one_is_not() {
        // Header with cluster 1 and member 300; version "3.4"; size 5; leader 300; index 7.
        let message = b"\x0a\x05\x08\x01\x10\xac\x02\x12\x033.4\x18\x05\x20\xac\x02\x28\x07";
        let status = Status { member: 300, leader: 300, index: 7 };
        assert_eq!(status_response(message), Some(status));
        assert_eq!(status_response(b""), Some(Status::default()));
        for broken in [&b"\x0a\x05\x08"[..], b"\x20", b"\x20\xff", b"\x0d\x00\x00\x00\x00"] {
            assert_eq!(status_response(broken), None, "{broken:?}");
        }
    }
}
