//! What is refused when somebody asks for a change of the masters, as a sentence. Pure.

use uuid::Uuid;

use super::view::View;
use crate::state::MasterInfo;

/// May a master of that name join? One that was given a number before gets the same one again, unless it has
/// had a log meanwhile: a member must never forget what it has voted for.
pub fn may_join(view: &View<'_>, info: &MasterInfo, ticket: Uuid) -> Result<(), String> {
    for entry in view.state.masters.values() {
        let id = entry.id.0;
        if entry.ticket == ticket {
            let had_log = view.standing(id).is_some_and(|standing| standing.matched > 0);
            return if had_log || view.is_voter(id) {
                Err("its join ticket has been used: start it with an empty data directory".to_owned())
            } else {
                Ok(())
            };
        }
        if entry.info.name == info.name && view.is_member(id) && view.is_active(id) {
            return Err(format!(
                "a master called {} is there already, at {}: take another --name, or stop that one first",
                info.name, entry.info.rpc
            ));
        }
    }
    Ok(())
}

/// May that master be taken out? Not when the rest could not go on.
pub fn may_leave(view: &View<'_>, id: u64) -> Result<(), String> {
    let voters = &view.status.members.voters;
    if !voters.contains(&id) {
        return Ok(());
    }
    let rest: Vec<u64> = voters.iter().copied().filter(|voter| *voter != id).collect();
    if rest.is_empty() {
        return Err(format!(
            "{} is the only master that votes: without it there is no cluster",
            view.name(id)
        ));
    }
    if view.has_majority(&rest) {
        return Ok(());
    }
    let away: Vec<String> = rest.iter().filter(|id| !view.is_active(**id)).map(|id| view.name(*id)).collect();
    Err(format!(
        "Without {} too few masters would be left that can be reached: {} away. Bring back or remove {} first",
        view.name(id),
        if let [one] = &away[..] { format!("{one} is") } else { format!("{} are", away.join(", ")) },
        if away.len() == 1 { "it" } else { "them" },
    ))
}

/// Who shall lead instead of this master; `None`: it is meant itself, and leads already.
pub fn successor(view: &View<'_>, to: Option<u64>) -> Result<Option<u64>, String> {
    let voters = &view.status.members.voters;
    match to {
        Some(to) if to == view.own => Ok(None),
        Some(to) if !voters.contains(&to) => {
            Err(format!("Master {} does not vote, so it cannot lead", view.name(to)))
        }
        Some(to) if !view.is_active(to) => Err(format!("Master {} cannot be reached", view.name(to))),
        Some(to) => Ok(Some(to)),
        None => {
            let able = voters.iter().filter(|id| **id != view.own && view.is_active(**id));
            let furthest = able.max_by_key(|id| view.standing(**id).map(|standing| standing.matched));
            furthest.map(|id| Some(*id)).ok_or_else(|| "There is no other master that could lead".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masters::fixture::{Bench, info};

    #[test]
    fn who_may_join() {
        // Masters 1 to 3 vote, 3 is away; 4 was added and has not come yet; 5 is a learner that is there.
        let bench = Bench::new(&[1, 2, 3], &[4, 5]).away(&[3, 4]);
        let other = Uuid::from_u128(99);
        for (name, ticket, word) in [
            ("m9", other, None),
            ("m3", other, None),
            ("m4", other, None),
            ("m4", Uuid::from_u128(4), None),
            ("m2", other, Some("--name")),
            ("m1", other, Some("--name")),
            ("m5", other, Some("--name")),
            ("m5", Uuid::from_u128(5), Some("empty data directory")),
            ("m3", Uuid::from_u128(3), Some("empty data directory")),
        ] {
            let judged = bench.view(|view| may_join(view, &info(name), ticket));
            match word {
                None => assert_eq!(judged, Ok(()), "{name}"),
                Some(word) => assert!(judged.as_ref().unwrap_err().contains(word), "{name}: {judged:?}"),
            }
        }
    }

    #[test]
    fn who_may_leave() {
        // Voters, who of them is away, who leaves, and a word of the refusal.
        for (voters, away, leaves, word) in [
            (&[1, 2, 3][..], &[][..], 3, None),
            (&[1, 2, 3], &[3], 3, None),
            (&[1, 2, 3], &[3], 2, Some("m3 is away")),
            (&[1, 2, 3], &[3], 1, Some("m3 is away")),
            (&[1, 2, 3, 4, 5], &[4, 5], 2, Some("m4, m5 are away")),
            (&[1, 2, 3, 4, 5], &[4, 5], 4, None),
            (&[1, 2], &[], 2, None),
            (&[1, 2], &[], 1, None),
            (&[1], &[], 1, Some("only master")),
            // No member at all: nothing is lost.
            (&[1], &[], 7, None),
        ] {
            let bench = Bench::new(voters, &[]).away(away);
            let judged = bench.view(|view| may_leave(view, leaves));
            match word {
                None => assert_eq!(judged, Ok(()), "{leaves} of {voters:?}"),
                Some(word) => assert!(judged.as_ref().unwrap_err().contains(word), "{judged:?}"),
            }
        }
    }

    #[test]
    fn who_may_lead() {
        let bench = Bench::new(&[1, 2, 3, 4], &[5]).away(&[4]).matched(2, 90).matched(3, 95);
        for (to, expected) in [(None, Ok(Some(3))), (Some(2), Ok(Some(2))), (Some(1), Ok(None))] {
            assert_eq!(bench.view(|view| successor(view, to)), expected);
        }
        for (to, word) in [(4, "reached"), (5, "vote"), (9, "vote")] {
            assert!(bench.view(|view| successor(view, Some(to))).unwrap_err().contains(word));
        }
        assert!(Bench::new(&[1], &[]).view(|view| successor(view, None)).unwrap_err().contains("no other"));
    }
}
