//! Snapshots: everything comes back, and nothing that is not a whole snapshot is believed.

use proptest::prelude::*;

use super::*;

/// A state with something of everything.
pub(super) fn full() -> State {
    let (mut bench, tasks) = Bench::with_running(app("/web", json!({"instances": 4, "cpus": 0.1})));
    bench.say(&tasks[0], TaskState::Failed);
    bench.run(Command::KillTasks { tasks: tasks[1..2].to_vec(), wipe: false, reason: KillReason::Asked });
    bench.settle(vec![app("/gone", json!({"cmd": "old"}))]);
    bench.place("/gone", 1, &[31_000]);
    let put = vec![app("/web", json!({"instances": 5, "cmd": "new"})), app("/x/y", json!({}))];
    let change = Deploy { remove: vec![id("/gone")], kill: tasks[2..3].to_vec(), ..bench.change(put) };
    bench.run(Command::Deploy(change));
    bench.place("/web", 1, &[31_001]);
    bench.run(Command::LoseAgent { id: bench.agent(1) });
    bench.state
}

fn chunks(state: &State) -> Vec<Vec<u8>> {
    state.snapshot().collect()
}

#[test]
fn everything_comes_back() {
    let state = full();
    assert_eq!(violations(&state), [""; 0]);
    let back = State::restore(&chunks(&state)).unwrap();
    assert_eq!(back, state);
    assert_eq!(violations(&back), [""; 0]);
    assert_eq!(State::restore(&chunks(&State::default())), Ok(State::default()));
}

#[test]
fn definitions_and_ids_are_shared_again() {
    let state = State::restore(&chunks(&full())).unwrap();
    for task in state.tasks.values() {
        assert!(share_ids(&state, task), "{}", task.id);
    }
    let entry = &state.apps[&id("/web")];
    for task in state.tasks_of(&id("/web")) {
        assert!(Arc::ptr_eq(&task.app, entry.version(task.app.version).unwrap()));
    }
    assert!(Arc::ptr_eq(&entry.app, entry.version(entry.app.version).unwrap()));
}

/// Are the ids of its app and its agent the very texts that its definition and the state have?
fn share_ids(state: &State, task: &Task) -> bool {
    let (app, agent) = (task.app.id.as_str(), state.agents[&task.agent].id.as_str());
    std::ptr::eq(app, task.id.app().as_str()) && std::ptr::eq(agent, task.agent.as_str())
}

#[test]
fn tasks_that_are_placed_share_their_ids() {
    let mut bench = Bench::new(1);
    bench.settle(vec![app("/web", json!({}))]);
    // As every master reads it from the log: each placement has texts of its own.
    let agent = AgentId::new(bench.agent(0).as_str());
    bench.run(Command::Place(vec![Placement { agent, ..bench.placement("/web", 0, 31_000) }]));
    let tasks = bench.tasks("/web");
    assert_eq!(tasks.len(), 1);
    assert!(share_ids(&bench.state, bench.task(&tasks[0])));
}

#[test]
fn an_original_that_is_no_longer_kept_is_written_whole() {
    let mut bench = Bench::new(0);
    bench.settle(vec![app("/web", json!({}))]);
    let remove = Deploy { remove: vec![id("/web")], ..bench.change(vec![]) };
    bench.run(Command::Deploy(remove));
    assert!(bench.state.apps.is_empty());
    assert_eq!(State::restore(&chunks(&bench.state)).unwrap(), bench.state);
}

#[test]
fn chunks_are_bounded_and_records_may_be_larger() {
    let mut bench = Bench::new(0);
    let padding = "x".repeat(700_000);
    for n in 0..5 {
        bench.settle(vec![app("/web", json!({"cmd": format!("{n}{padding}")}))]);
    }
    let chunks = chunks(&bench.state);
    assert!(chunks.len() > 3 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
    assert_eq!(State::restore(&chunks).unwrap(), bench.state);
    for missing in 0..chunks.len() {
        let mut cut = chunks.clone();
        cut.remove(missing);
        assert!(State::restore(&cut).is_err(), "chunk {missing} is missing");
    }
    let mut swapped = chunks;
    swapped.swap(1, 2);
    assert_eq!(State::restore(&swapped), Err(SnapshotError::Damaged(1)));
}

#[test]
fn what_is_no_snapshot_is_told_apart() {
    assert_eq!(State::restore::<Vec<u8>>(&[]), Err(SnapshotError::Truncated));
    assert_eq!(State::restore(&[b"hello, world".to_vec()]), Err(SnapshotError::Foreign));
    let mut future = chunks(&full());
    future[0][4] = 9;
    assert_eq!(State::restore(&future), Err(SnapshotError::Format(9)));
}

/// A chunk that is sealed correctly round a stream that is not.
fn sealed(share: &[u8]) -> Vec<u8> {
    let mut chunk = b"GSNP\x02\x00\x00\x00\x00\x00".to_vec();
    chunk.extend(share);
    let crc = crc32fast::hash(&chunk);
    chunk.extend(crc.to_le_bytes());
    chunk
}

#[test]
fn a_record_without_what_it_refers_to_is_refused() {
    let whole = chunks(&full()).remove(0);
    let mut share = &whole[10..whole.len() - 4];
    let mut records = Vec::new();
    while let Some((length, rest)) = share.split_first_chunk() {
        let (record, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        records.push([&length[..], record].concat());
        share = rest;
    }
    assert!(State::restore(&[sealed(&records.concat())]).is_ok());
    // The second one names the masters: snapshots of format 1 have none.
    for missing in (0..records.len()).filter(|missing| *missing != 1) {
        let mut fewer = records.clone();
        fewer.remove(missing);
        assert!(State::restore(&[sealed(&fewer.concat())]).is_err(), "record {missing} is missing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damage_is_noticed(at in any::<prop::sample::Index>(), by in 1..=255u8, cut in any::<bool>()) {
        let mut chunks = chunks(&full());
        let place = at.index(chunks[0].len());
        if cut { chunks[0].truncate(place) } else { chunks[0][place] ^= by }
        prop_assert!(State::restore(&chunks).is_err());
    }

    #[test]
    fn nonsense_that_is_sealed_correctly_does_no_harm(share in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(State::restore(&[sealed(&share)]).is_err());
    }

    #[test]
    fn damaged_records_never_panic(at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let whole = chunks(&full()).remove(0);
        let mut share = whole[10..whole.len() - 4].to_vec();
        let place = at.index(share.len());
        share[place] ^= by;
        if let Ok(state) = State::restore(&[sealed(&share)]) {
            violations(&state);
        }
    }

    #[test]
    fn entries_that_are_nonsense_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        bytes.insert(0, 3);
        let _ = Batch::decode(&bytes);
        bytes[0] = 4;
        prop_assert_eq!(Batch::decode(&bytes), Err(BatchError::Format(4)));
    }
}
