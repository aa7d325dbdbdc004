//! The bytes of version 1 of the masters' protocol, as they were first written: later releases read them and
//! write the same. `WRITE_FIXTURES=1` writes the file if it does not exist.

use std::path::Path;

use raft::eraftpb::{Entry, MessageType};
use uuid::Uuid;

use super::wire::{self, Introduction, Opening, Purpose, Refusal, Reply};
use crate::consensus::Message;
use crate::masters::fixture::info;

const GROUP: Uuid = Uuid::from_u128(7);

fn openings() -> Vec<Opening> {
    let purposes = [Purpose::Messages, Purpose::Snapshot, Purpose::Greet, Purpose::Leave, Purpose::Current];
    let who = |to| Introduction { group: GROUP, from: 300, to, info: info("m2") };
    let mut openings = vec![Opening::Join { ticket: Uuid::from_u128(9), info: info("m3") }];
    openings.extend(purposes.map(|purpose| Opening::Member { who: who(Some(3)), purpose }));
    openings.push(Opening::Member { who: who(None), purpose: Purpose::Greet });
    openings
}

fn replies() -> Vec<Reply> {
    let refusals = [
        Refusal::Protocol { oldest: 1, newest: 2 },
        Refusal::Group(GROUP),
        Refusal::Removed,
        Refusal::Addressee(4),
        Refusal::Reason("why not".to_owned()),
    ];
    let mut replies = vec![
        Reply::Welcome { id: 3, info: info("m1") },
        Reply::Joined { id: 5, group: GROUP },
        Reply::Elsewhere("[::1]:5050".parse().unwrap()),
        Reply::Later,
        Reply::Left,
        Reply::Commit(1_000_000),
        Reply::Taken,
        Reply::Spoilt,
    ];
    replies.extend(refusals.map(Reply::Refused));
    replies
}

fn message() -> Message {
    let mut message = Message { from: 300, to: 3, term: 7, index: 8, commit: 9, ..Message::default() };
    message.set_msg_type(MessageType::MsgAppend);
    message.mut_entries().push(Entry { index: 9, term: 7, data: vec![1, 2, 3].into(), ..Entry::default() });
    message
}

/// Everything that masters write, one after the other.
fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    openings().iter().for_each(|opening| bytes.extend(wire::opening(opening).unwrap()));
    replies().iter().for_each(|reply| bytes.extend(wire::reply(reply, 1).unwrap()));
    assert!(wire::put_message(&mut bytes, &message()).unwrap());
    bytes.extend(wire::piece(Some(b"piece")));
    bytes.extend(wire::piece(None));
    bytes
}

/// Takes the next frame, after as many bytes of magic.
fn frame<'a>(bytes: &mut &'a [u8], magic: &[u8]) -> &'a [u8] {
    *bytes = bytes.strip_prefix(magic).expect("the magic bytes");
    let (length, rest) = bytes.split_first_chunk().expect("a length");
    let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *bytes = rest;
    frame
}

#[test]
fn version_1_is_written_and_read_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/peers-v1.bin");
    if std::env::var_os("WRITE_FIXTURES").is_some() && !path.exists() {
        std::fs::write(&path, written()).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    assert!(stored == written(), "what is written is not what was written");
    let mut rest = &stored[..];
    for opening in openings() {
        let read = wire::read_opening(frame(&mut rest, &wire::MAGIC)).unwrap();
        assert_eq!(read, Ok((opening, 1)));
    }
    for reply in replies() {
        assert_eq!(wire::read_reply(frame(&mut rest, &[])).unwrap(), reply);
    }
    assert_eq!(wire::read_message(frame(&mut rest, &[]), 300, 3).unwrap(), message());
    assert_eq!(wire::read_piece(frame(&mut rest, &[])).unwrap(), Some(&b"piece"[..]));
    assert_eq!(wire::read_piece(frame(&mut rest, &[])).unwrap(), None);
    assert!(rest.is_empty());
}

#[test]
fn versions_are_agreed_on() {
    let bytes = wire::opening(&openings()[0]).unwrap();
    let frame = &bytes[8..];
    // What the dialer speaks at most and at least, and what comes of it.
    for (newest, oldest, agreed) in [(1u16, 1u16, Some(1)), (9, 1, Some(1)), (9, 2, None), (0, 0, None)] {
        let mut said = [newest.to_le_bytes(), oldest.to_le_bytes()].concat();
        said.extend(&frame[4..]);
        // A later version may say more.
        said.extend([1, 2, 3]);
        let read = wire::read_opening(&said).unwrap();
        assert_eq!(read.as_ref().ok().map(|(_, version)| *version), agreed, "{newest} to {oldest}");
    }
}

#[test]
fn nonsense_is_an_error_and_nothing_worse() {
    let openings = wire::opening(&openings()[1]).unwrap();
    for length in 0..openings.len() - 8 {
        assert!(wire::read_opening(&openings[8..8 + length]).is_err(), "{length} bytes");
    }
    assert!(wire::read_reply(&[1]).is_err() && wire::read_reply(&[1, 0, 99]).is_err());
    assert!(wire::read_piece(&[]).is_err() && wire::read_piece(&[2]).is_err());
    assert!(wire::read_piece(&[1, 0]).is_err(), "an end with something in it");
    let mut bytes = Vec::new();
    wire::put_message(&mut bytes, &message()).unwrap();
    assert!(wire::read_message(&bytes[4..], 301, 3).is_err(), "of somebody else");
    assert!(wire::read_message(&bytes[4..], 300, 4).is_err(), "to somebody else");
    // Groups in groups, which a careless reader follows to the end of its stack: in place of a field that it knows,
    // and of one that it does not.
    assert!(wire::read_message(&[0x1b; 1 << 20], 300, 3).is_err());
    assert!(wire::read_message(&[0xa3, 0x06].repeat(1 << 19), 300, 3).is_err());
}
