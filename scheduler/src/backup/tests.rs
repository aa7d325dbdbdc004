//! A backup is read as it was written, and nothing else is taken for one.

use std::path::Path;

use proptest::prelude::*;
use spec::time::Timestamp;
use uuid::Uuid;

use super::*;

fn head() -> Head {
    let at = Timestamp::from_millis(1_577_836_800_123);
    Head { cluster_id: Uuid::from_u128(7), term: (3 << 32) + 5, index: 99, at, version: "0.1.0".to_owned() }
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    write(&head(), chunks.iter().cloned()).flatten().collect()
}

/// The head and the pieces, or why not.
fn read(bytes: &[u8]) -> Result<(Head, Vec<Vec<u8>>), BackupError> {
    let mut reader = Reader::open(bytes)?;
    let mut pieces = Vec::new();
    while let Some(piece) = reader.piece()? {
        pieces.push(piece);
    }
    assert!(reader.piece()?.is_none(), "the end is the end");
    Ok((reader.head().clone(), pieces))
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).expect_err("it is refused").to_string()
}

proptest! {
    #[test]
    fn what_was_written_is_read(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)) {
        prop_assert_eq!(read(&file(&chunks)).unwrap(), (head(), chunks));
    }

    #[test]
    fn any_cut_and_any_changed_bit_is_refused(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        garbage in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let whole = file(&chunks);
        for length in 0..whole.len() {
            prop_assert!(read(&whole[..length]).is_err(), "cut to {}", length);
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&damaged).is_err(), "bit {}", bit);
        }
        prop_assert!(read(&[whole, garbage].concat()).is_err());
    }

    #[test]
    fn other_bytes_are_no_backup(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let chunks = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let parts: Vec<Vec<u8>> = write(&head(), chunks.iter().cloned()).collect();
    let of = |order: &[usize]| order.iter().flat_map(|part| parts[*part].clone()).collect::<Vec<u8>>();
    let mut newer = of(&[0, 1, 2, 3, 4]);
    newer[8] = 9;
    let mut changed = of(&[0, 1, 2, 3, 4]);
    let third = of(&[0, 1, 2]).len() + 6;
    changed[third] ^= 1;
    let mut huge = of(&[0]);
    huge.extend([PIECE, 0xff, 0xff, 0xff, 0xff]);
    for (bytes, said) in [
        (b"".to_vec(), "no backup"),
        (b"{\"message\": \"No leader\"}".to_vec(), "no backup"),
        (newer, "format 9, this version reads up to 1"),
        (of(&[0, 1, 2]), "cut short after 2 pieces"),
        (of(&[0, 1, 2, 3]), "cut short after 3 pieces"),
        (changed, "damaged after 2 good pieces"),
        (huge, "damaged after 0 good pieces"),
        (of(&[0, 1, 3, 2, 4]), "damaged after 1 good pieces"),
        (of(&[0, 1, 1, 2, 3, 4]), "damaged after 1 good pieces"),
        (of(&[0, 1, 2, 4]), "damaged after 2 good pieces"),
        (of(&[0, 1, 2, 3, 4, 4]), "followed by bytes"),
    ] {
        let refused = refusal(&bytes);
        assert!(refused.contains(said), "{refused:?}, not {said:?}");
    }
    assert_eq!(read(&of(&[0, 1, 2, 3, 4])).unwrap().1, chunks);
}

/// Written by format 1 and never written again; `WRITE_FIXTURES=1` writes a file that does not exist yet.
#[test]
fn a_backup_of_format_1_is_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let path = fixtures.join("backup-v1.gantry");
    if std::env::var_os("WRITE_FIXTURES").is_some() && !path.exists() {
        let state = State::restore(&[std::fs::read(fixtures.join("state-v1.snapshot")).unwrap()]).unwrap();
        let head = Head::of(&state, (3 << 32) + 5, Timestamp::from_millis(1_577_836_800_123));
        std::fs::write(&path, write(&head, state.snapshot()).flatten().collect::<Vec<u8>>()).unwrap();
    }
    let reader = Reader::open(std::fs::File::open(&path).unwrap()).unwrap();
    let head = reader.head().clone();
    assert_eq!(
        (head.cluster_id, head.term, head.version.as_str()),
        (Uuid::from_u128(7), (3 << 32) + 5, "0.1.0")
    );
    assert_eq!(head.at, Timestamp::from_millis(1_577_836_800_123));
    let state = reader.state().unwrap();
    assert_eq!((state.index, state.apps.len(), state.agents.len()), (head.index, 3, 2));
    assert!(!state.tasks.is_empty());
}

#[test]
fn the_head_must_belong_to_the_state() {
    let state = State { cluster_id: Uuid::from_u128(7), index: 100, ..State::default() };
    let read = |head: &Head| {
        let bytes: Vec<u8> = write(head, state.snapshot()).flatten().collect();
        Reader::open(&bytes[..]).unwrap().state()
    };
    assert_eq!(read(&Head { index: 100, ..head() }).unwrap(), state);
    assert!(matches!(read(&head()), Err(BackupError::Contradiction)));
    assert!(matches!(
        read(&Head { cluster_id: Uuid::nil(), index: 100, ..head() }),
        Err(BackupError::Contradiction)
    ));
}

#[test]
fn a_successor_gives_no_number_twice() {
    let old = State {
        index: 100,
        next_agent: 3,
        last_master: 0,
        cluster_id: Uuid::from_u128(7),
        ..State::default()
    };
    let new = successor(old.clone());
    assert_eq!((new.cluster_id, new.last_master), (old.cluster_id, 2), "1 was the founder");
    assert!(new.index > old.index && new.next_agent > old.next_agent);
    assert_eq!(successor(State { last_master: 5, ..old }).last_master, 6);
}

#[test]
fn a_survivor_is_alone_and_gives_no_number_twice() {
    use crate::state::{MasterEntry, MasterInfo};
    let address = "127.0.0.1:1".parse().unwrap();
    let master = |id, name: &str| {
        let info = MasterInfo {
            name: name.to_owned(),
            http: "127.0.0.1:2".to_owned(),
            rpc: address,
            dns: address,
            version: "1".to_owned(),
        };
        let id = spec::ids::MasterId(id);
        (id, std::sync::Arc::new(MasterEntry { id, ticket: Uuid::nil(), info }))
    };
    let masters = [master(1, "m1"), master(2, "m2"), master(3, "m3")].into_iter().collect();
    let old = State { index: 100, next_agent: 3, last_master: 3, masters, ..State::default() };
    let new = survivor(old, "m2");
    assert_eq!((new.index, new.last_master), (100, 3));
    assert!(new.next_agent > 3);
    let names: Vec<&str> = new.masters.values().map(|master| master.info.name.as_str()).collect();
    assert_eq!(names, ["m2"]);
}
