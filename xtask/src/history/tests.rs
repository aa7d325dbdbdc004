//! Known histories, and random ones: whatever one register did in some order passes, and does not any more
//! once an answer is changed.

use proptest::prelude::*;

use super::register::step;
use super::*;

/// `(client, call, outcome, invoked, returned)` on one app.
type Row = (u32, Call, Outcome, u64, u64);

fn history(rows: &[Row]) -> Vec<Operation> {
    let operation = |&(client, call, outcome, invoked, returned): &Row| Operation {
        client,
        key: "/a".to_owned(),
        call,
        outcome,
        invoked,
        returned,
    };
    rows.iter().map(operation).collect()
}

const fn f(first: u64) -> Fields {
    [first, 0, 0]
}

const fn found(first: u64) -> Outcome {
    Outcome::Found(f(first))
}

use Call::{Create, Delete, Read, Set};
use Outcome::{Absent, Done, Exists, Failed, Unknown};

#[test]
fn known_histories() {
    let cases: &[(&str, bool, &[Row])] = &[
        ("nothing", true, &[]),
        ("a read of what is not there", true, &[(1, Read, Absent, 0, 1)]),
        ("a read out of nowhere", false, &[(1, Read, found(1), 0, 1)]),
        ("create, then read", true, &[(1, Create(f(1)), Done, 0, 1), (2, Read, found(1), 2, 3)]),
        (
            "a read during a write may see either",
            true,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 2), Done, 2, 9),
                (2, Read, found(1), 3, 4),
                (3, Read, found(2), 5, 6),
            ],
        ),
        (
            "new, then old again",
            false,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 2), Done, 2, 9),
                (3, Read, found(2), 3, 4),
                (2, Read, found(1), 5, 6),
            ],
        ),
        (
            "a stale read",
            false,
            &[(1, Create(f(1)), Done, 0, 1), (1, Set(0, 2), Done, 2, 3), (2, Read, found(1), 4, 5)],
        ),
        ("a read that lost the create", false, &[(1, Create(f(1)), Done, 0, 1), (2, Read, Absent, 2, 3)]),
        (
            "a lost update: two fields, one of them set back",
            false,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 5), Done, 2, 6),
                (2, Set(1, 7), Done, 3, 5),
                (3, Read, Outcome::Found([1, 7, 0]), 8, 9),
            ],
        ),
        (
            "two fields, both set",
            true,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 5), Done, 2, 6),
                (2, Set(1, 7), Done, 3, 5),
                (3, Read, Outcome::Found([5, 7, 0]), 8, 9),
            ],
        ),
        (
            "a failed write is read",
            false,
            &[(1, Create(f(1)), Done, 0, 1), (1, Set(0, 2), Failed, 2, 3), (2, Read, found(2), 4, 5)],
        ),
        (
            "a failed write is not read",
            true,
            &[(1, Create(f(1)), Done, 0, 1), (1, Set(0, 2), Failed, 2, 3), (2, Read, found(1), 4, 5)],
        ),
        (
            "an unknown write takes effect long after",
            true,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 2), Unknown, 2, 3),
                (2, Read, found(1), 4, 5),
                (2, Read, found(2), 60, 70),
            ],
        ),
        (
            "an unknown write takes effect before it was asked for",
            false,
            &[(1, Create(f(1)), Done, 0, 1), (2, Read, found(2), 2, 3), (1, Set(0, 2), Unknown, 4, 5)],
        ),
        (
            "an unknown write takes effect, and then not any more",
            false,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 2), Unknown, 2, 3),
                (2, Read, found(2), 4, 5),
                (2, Read, found(1), 6, 7),
            ],
        ),
        (
            "an unknown delete explains a second create",
            true,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Delete, Unknown, 2, 3),
                (2, Create(f(2)), Done, 4, 5),
                (2, Read, found(2), 6, 7),
            ],
        ),
        (
            "one unknown delete does not explain two",
            false,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Delete, Unknown, 2, 3),
                (2, Create(f(2)), Done, 4, 5),
                (2, Create(f(3)), Done, 6, 7),
            ],
        ),
        ("two creates", false, &[(1, Create(f(1)), Done, 0, 5), (2, Create(f(2)), Done, 1, 6)]),
        (
            "the second create is refused",
            true,
            &[(1, Create(f(1)), Done, 0, 5), (2, Create(f(2)), Exists, 1, 6)],
        ),
        (
            "both creates are refused",
            false,
            &[(1, Create(f(1)), Exists, 0, 5), (2, Create(f(2)), Exists, 1, 6)],
        ),
        (
            "a set of what is gone",
            false,
            &[(1, Create(f(1)), Done, 0, 1), (1, Delete, Done, 2, 3), (1, Set(0, 2), Done, 4, 5)],
        ),
        (
            "a set of what is gone is refused",
            true,
            &[(1, Create(f(1)), Done, 0, 1), (1, Delete, Done, 2, 3), (1, Set(0, 2), Absent, 4, 5)],
        ),
        (
            "writes seen in the wrong order by two readers",
            false,
            &[
                (1, Create(f(1)), Done, 0, 1),
                (1, Set(0, 2), Done, 2, 20),
                (2, Set(0, 3), Done, 2, 20),
                (3, Read, found(2), 3, 4),
                (3, Read, found(3), 5, 6),
                (4, Read, found(2), 7, 8),
            ],
        ),
    ];
    for (name, linearizable, rows) in cases {
        let found = check(&history(rows));
        assert_eq!(found.is_empty(), *linearizable, "{name}: {found:?}");
    }
}

#[test]
fn apps_are_checked_apart_and_the_wrong_one_is_named() {
    let mut history = history(&[(1, Create(f(1)), Done, 0, 1), (2, Read, found(2), 2, 3)]);
    let mut other = history[0].clone();
    other.key = "/b".to_owned();
    history.push(other);
    let found = check(&history);
    assert_eq!(found.len(), 1);
    let text = found[0].to_string();
    assert!(text.starts_with("/a is not linearizable") && text.contains("read -> [2, 0, 0]"), "{text}");
}

#[test]
fn many_unknown_writes_are_no_burden() {
    // Sixty writes that may or may not have happened, and a reader that saw every third of them.
    let mut rows: Vec<Row> = vec![(0, Create(f(0)), Done, 0, 1)];
    for n in 1..=60 {
        rows.push((n, Set(0, u64::from(n)), Unknown, 10 + u64::from(n), 0));
        rows.push((99, Delete, Unknown, 10 + u64::from(n), 0));
        if n % 3 == 0 {
            rows.push((100, Read, found(u64::from(n)), 1000 + 2 * u64::from(n), 1001 + 2 * u64::from(n)));
        }
    }
    assert_eq!(check(&history(&rows)), []);
    rows.push((100, Read, found(61), 5000, 5001));
    assert_eq!(check(&history(&rows)).len(), 1);
}

#[test]
fn files_give_back_what_was_written() {
    let outcomes = [Done, Exists, Absent, found(7), Failed, Unknown];
    let calls = [Create([1, 2, u64::MAX]), Set(2, 9), Delete, Read];
    let rows: Vec<Row> =
        calls.iter().flat_map(|call| outcomes.map(|outcome| (3, *call, outcome, 1, 2))).collect();
    let history = history(&rows);
    let mut bytes = Vec::new();
    write(&mut bytes, &history).unwrap();
    assert_eq!(read(bytes.as_slice()).unwrap(), history);
    let error = format!("{:#}", read(&b"[1,\"/a\",[\"set\",9,1],[\"done\"],1,2]"[..]).unwrap_err());
    assert_eq!(error, "line 1: there is no field 9");
}

/// What a register does with random calls one after another, every value written once.
fn sequential(choices: &[(u8, bool)]) -> Vec<Operation> {
    let (mut state, mut rows, mut value): (State, Vec<Row>, u64) = (None, Vec::new(), 0);
    for (index, (choice, answered)) in choices.iter().enumerate() {
        value += 1;
        let call = match choice % 8 {
            0 => Create([value, value, value]),
            1 => Delete,
            2..=4 => Set(usize::from(choice % 3), value),
            _ => Read,
        };
        let outcomes = [Done, Exists, Absent, state.map_or(Failed, Outcome::Found)];
        let fits = |outcome: &Outcome| *outcome != Failed && step(state, call, *outcome).is_some();
        let outcome = outcomes.into_iter().find(fits).expect("a register answers everything");
        state = step(state, call, outcome).expect("it fits");
        let at = 10 * index as u64;
        let outcome = if *answered || call == Read { outcome } else { Unknown };
        rows.push((u32::from(choice % 4), call, outcome, at, at + 5));
    }
    history(&rows)
}

fn choices() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((any::<u8>(), prop::bool::weighted(0.9)), 1..80)
}

proptest! {
    #[test]
    fn what_a_register_did_passes(choices in choices(), widths in prop::collection::vec(0_u64..60, 80)) {
        let mut history = sequential(&choices);
        prop_assert_eq!(check(&history), []);
        // Calls that are known for longer overlap; the order in which they took effect is still one.
        for (operation, width) in history.iter_mut().zip(widths) {
            operation.invoked = operation.invoked.saturating_sub(width);
            operation.returned += width;
        }
        prop_assert_eq!(check(&history), []);
    }

    #[test]
    fn a_changed_read_does_not(choices in choices(), which in any::<prop::sample::Index>()) {
        let mut history = sequential(&choices);
        let reads: Vec<usize> = history.iter().enumerate()
            .filter(|(_, operation)| matches!(operation.outcome, Outcome::Found(_)))
            .map(|(index, _)| index)
            .collect();
        prop_assume!(!reads.is_empty());
        let read = &mut history[*which.get(&reads)];
        read.outcome = match read.outcome {
            // No value is written twice, and none above a million.
            Outcome::Found([first, second, third]) => Outcome::Found([first, second, third + 1_000_000]),
            other => other,
        };
        prop_assert_eq!(check(&history).len(), 1);
    }

    #[test]
    fn a_lost_acknowledged_write_does_not(choices in choices()) {
        let mut history = sequential(&choices);
        // The value that the last read saw was acknowledged; now the read sees the one before it.
        let Some(last) = history.iter().rposition(|one| matches!(one.outcome, Outcome::Found(_))) else {
            return Ok(());
        };
        let write = history[..last].iter().rposition(|one| matches!((one.call, one.outcome), (Set(..), Done)));
        let Some(write) = write else { return Ok(()) };
        prop_assume!(history[write..last].iter().all(|one| !matches!(one.call, Create(_) | Delete)));
        let (Set(field, value), Outcome::Found(mut fields)) = (history[write].call, history[last].outcome) else {
            unreachable!("chosen so");
        };
        prop_assume!(fields[field] == value);
        // The value below is that of the operation before; were its end unknown, it might come after the write.
        prop_assume!(write == 0 || history[write - 1].outcome != Unknown);
        fields[field] -= 1;
        history[last].outcome = Outcome::Found(fields);
        prop_assert!(!check(&history).is_empty());
    }
}

/// The definition itself, by trying every order: slow, and so obviously right.
fn by_definition(left: &[Operation], state: State) -> bool {
    if left.iter().all(|one| matches!(one.outcome, Unknown | Failed)) {
        return true;
    }
    left.iter().enumerate().any(|(index, next)| {
        let is_next = left.iter().all(|other| other.outcome == Failed || other.deadline() >= next.invoked);
        let after = step(state, next.call, next.outcome);
        let mut rest = left.to_vec();
        rest.remove(index);
        is_next && after.is_some_and(|after| by_definition(&rest, after))
    })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let call = prop_oneof![
        (1_u64..3).prop_map(|value| Create([value, 1, 1])),
        (0_usize..2, 1_u64..4).prop_map(|(field, value)| Set(field, value)),
        Just(Delete),
        Just(Read),
    ];
    (call, 0_u8..10, (1_u64..4, 1_u64..4), 0_u64..12, 0_u64..8).prop_map(
        |(call, outcome, (first, second), invoked, length)| {
            let outcome = match (call, outcome) {
                (_, 0) => Failed,
                (_, 1..=3) => Unknown,
                (Create(_), 4..=5) => Exists,
                (Read, 6..) => Outcome::Found([first, second, 1]),
                (Set(..) | Delete | Read, 4..=5) => Absent,
                _ => Done,
            };
            Operation { client: 0, key: "/a".to_owned(), call, outcome, invoked, returned: invoked + length }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn the_short_search_agrees_with_the_definition(history in prop::collection::vec(any_operation(), 0..7)) {
        prop_assert_eq!(check(&history).is_empty(), by_definition(&history, None));
    }
}
