//! What an app, a task and a port are called in DNS (Mesos-DNS reference, section 3). Pure text in, text out.
//!
//! An app answers under two names: its path reversed and joined with dashes (`/shop/api` is `api-shop`), and
//! the *dotted twin* `api.shop`, which people use too. Both come in three shapes: the host name, the service
//! label of SRV records, and the canonical name of one task.

use spec::ids::{AgentId, AppId, TaskId};

use crate::sha1::sha1;

/// What a label may hold (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// Enough for the tail of any agent id of ours (`s` and a number), and it leaves room for the app's name.
const AGENT_MAX: usize = 20;

/// The first five characters of z-base-32 of the SHA-1 of a task id.
pub type TaskHash = [u8; 5];

/// Makes a DNS label of any text, as Mesos-DNS does in its default mode: ASCII letters to lower case; `.` and
/// `_` become `-`; everything else that no host name may hold is dropped; no dash at either end; 63 at most.
pub fn label(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        'a'..='z' | '0'..='9' => Some(c),
        'A'..='Z' => Some(c.to_ascii_lowercase()),
        '-' | '.' | '_' => Some('-'),
        _ => None,
    });
    let clean: String = kept.collect();
    cut(clean.trim_start_matches('-'), LABEL_MAX)
}

/// At most `max` bytes without a dash at the end. Where the cut leaves dashes, they go and what follows them
/// moves up: an oddity of Mesos-DNS that its own tests pin.
fn cut(text: &str, max: usize) -> String {
    let mut head = text.to_owned();
    while head.len() > max {
        let rest = head.split_off(max);
        head.truncate(head.trim_end_matches('-').len());
        if head.len() == max {
            return head;
        }
        head.push_str(rest.trim_start_matches('-'));
    }
    head.truncate(head.trim_end_matches('-').len());
    head
}

/// The host names of an app without framework and domain: the dashed one, and the dotted one where it differs
/// and can be asked for at all.
pub fn hosts(app: &AppId) -> impl Iterator<Item = String> {
    let dotted = app.mesos_name();
    let dashed = label(&dotted);
    let speakable = dotted != dashed && dotted.split('.').all(|part| (1..=LABEL_MAX).contains(&part.len()));
    std::iter::once(dashed).chain(speakable.then_some(dotted))
}

/// The label of a host name in SRV owners: `_api-shop`, `_api.shop`. The underscore counts: a label of 63
/// loses its last character (Mesos-DNS leaves 64, which cannot be asked for).
pub fn service(host: &str) -> String {
    match host.split_once('.') {
        Some((first, rest)) => format!("_{}.{rest}", cut(first, LABEL_MAX - 1)),
        None => format!("_{}", cut(host, LABEL_MAX - 1)),
    }
}

/// The name of one task: `api-shop-<hash>-<agent>`, `api.shop-<hash>-<agent>`. The label is shortened where
/// the whole would be too long (Mesos-DNS then leaves SRV queries without any answer).
pub fn canonical(host: &str, hash: &TaskHash, agent: &str) -> String {
    let suffix = format!("-{}-{agent}", hash_text(hash));
    let (front, last) = match host.rfind('.') {
        Some(dot) => host.split_at(dot + 1),
        None => ("", host),
    };
    format!("{front}{}{suffix}", cut(last, LABEL_MAX - suffix.len()))
}

/// The part of an agent id that stands in canonical names: lower case, after the last dash (`...-S12` is
/// `s12`).
pub fn agent_tail(agent: &AgentId) -> String {
    let tail = agent.as_str().rsplit('-').next().unwrap_or_default();
    cut(&label(tail), AGENT_MAX)
}

/// The hash of a task id in its canonical name.
pub fn task_hash(task: &TaskId) -> TaskHash {
    hash_of(&task.to_string())
}

fn hash_of(text: &str) -> TaskHash {
    const Z_BASE_32: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let digest = sha1(text.as_bytes());
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    std::array::from_fn(|i| Z_BASE_32[(bits >> (27 - 5 * i)) as usize & 31])
}

/// The hash as text.
pub fn hash_text(hash: &TaskHash) -> &str {
    std::str::from_utf8(hash).expect("z-base-32 is ASCII")
}

/// The hash that a canonical name ends with, if it has the shape of one: `web-fdmwe-s0` is `fdmwe`.
pub fn hash_in(name: &str) -> Option<TaskHash> {
    let (front, _) = name.rsplit_once('-')?;
    let (_, hash) = front.rsplit_once('-')?;
    hash.as_bytes().try_into().ok()
}

/// `shop.prod.api` for `api.prod.shop`: with the root first, what lies below a name lies together in order.
pub fn root_first(name: &str) -> String {
    name.rsplit('.').collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(app: &str) -> Vec<String> {
        hosts(&AppId::parse(app).unwrap()).collect()
    }

    #[test]
    fn labels_are_those_of_mesos_dns() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../tests/data/mesos-dns.json")).unwrap();
        let cases = file["labels"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            assert_eq!(label(case[0].as_str().unwrap()), case[1].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn hashes_are_those_of_mesos_dns() {
        for (id, hash) in [
            ("test", "iffe9"),
            ("toy-store.b8db9f73-562f-11e4-a088-c20493233aa5", "go588"),
            ("liquor-store.b8db9f73-562f-11e4-a088-c20493233aa5", "4dfjd"),
            ("car-store.43758382-562f-11e4-a088-c20493233aa5", "zinaz"),
            ("shop_prod_api.instance-11111111-2222-3333-4444-555555555555._app.1", "h53w7"),
        ] {
            assert_eq!(hash_text(&hash_of(id)), hash, "{id}");
        }
    }

    #[test]
    fn groups_are_reversed_and_have_a_dotted_twin() {
        assert_eq!(host("/web"), ["web"]);
        assert_eq!(host("/shop/prod/api"), ["api-prod-shop", "api.prod.shop"]);
        assert_eq!(host("/a.b/c"), ["c-a-b", "c.a.b"]);
        let long = "x".repeat(64);
        assert_eq!(
            host(&format!("/{long}")),
            ["x".repeat(63)],
            "a dotted twin that no query can hold is left out"
        );
    }

    #[test]
    fn shapes_of_a_name() {
        assert_eq!(service("api.prod.shop"), "_api.prod.shop");
        assert_eq!(service("web"), "_web");
        assert_eq!(canonical("api.prod.shop", b"h53w7", "s0"), "api.prod.shop-h53w7-s0");
        assert_eq!(hash_in("api.prod.shop-h53w7-s0"), Some(*b"h53w7"));
        assert_eq!((hash_in("web"), hash_in("a-b-c")), (None, None));
        assert_eq!(agent_tail(&AgentId::new("0a1b2c3d-0000-4000-8000-000000000001-S12")), "s12");
        assert_eq!(agent_tail(&AgentId::new("Laptop")), "laptop");
    }

    #[test]
    fn no_label_is_ever_too_long() {
        let long = "y".repeat(63);
        assert_eq!(service(&long).len(), 63);
        assert_eq!(canonical(&long, b"h53w7", "s123456").len(), 63);
        assert!(canonical(&long, b"h53w7", "s123456").ends_with("y-h53w7-s123456"));
        let dashes = format!("{}--------z", "y".repeat(50));
        assert_eq!(canonical(&dashes, b"h53w7", "s0"), format!("{}z-h53w7-s0", "y".repeat(50)));
    }
}
