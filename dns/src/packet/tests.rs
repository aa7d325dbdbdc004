//! Every slice of bytes is understood or refused; what is understood is what others write.

use super::*;
use crate::testing::query;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn reads_what_hickory_writes() {
    let packet = query("Web.marathon.mesos.", RecordType::SRV, Some(4096));
    let read = read(&packet).unwrap();
    assert_eq!((read.name.to_string().as_str(), read.kind), ("Web.marathon.mesos.", RecordType::SRV));
    assert_eq!((read.limit(Via::Udp), read.limit(Via::Tcp)), (1232, 65_535));
    assert_eq!(super::read(&query("a.", RecordType::A, None)).unwrap().limit(Via::Udp), 512);
}

#[test]
fn what_is_no_query_is_refused_as_it_should_be() {
    let good = query("web.mesos.", RecordType::A, Some(1232));
    let changed = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        read(&packet).map(|_| ()).unwrap_err()
    };
    assert_eq!(changed(2, 0x80), Refusal::Silence);
    assert_eq!(changed(2, 5 << 3), Refusal::Code(ResponseCode::NotImp));
    assert_eq!(changed(5, 0), Refusal::Code(ResponseCode::FormErr));
    assert_eq!(changed(5, 2), Refusal::Code(ResponseCode::FormErr));
    assert_eq!(changed(HEADER, 0xC0), Refusal::Code(ResponseCode::FormErr));
    let class = HEADER + 11 + 3;
    assert_eq!(changed(class, 3), Refusal::Code(ResponseCode::Refused));
    let version = good.len() - 5;
    assert_eq!(changed(version, 1), Refusal::Code(ResponseCode::BADVERS));
    assert!(matches!(read(&good[..11]), Err(Refusal::Silence)));
    assert!(matches!(read(&good[..20]), Err(Refusal::Code(ResponseCode::FormErr))));
}

#[test]
fn errors_repeat_id_question_and_offer() {
    use hickory_proto::op::Message;
    let packet = query("web.mesos.", RecordType::A, Some(1232));
    let reply = Message::from_vec(&error(&packet, ResponseCode::ServFail)).unwrap();
    assert_eq!(
        (reply.metadata.id, reply.metadata.response_code),
        (id(&packet).unwrap(), ResponseCode::ServFail)
    );
    assert!(reply.metadata.recursion_desired && reply.edns.is_some());
    assert_eq!(reply.queries[0].name().to_string(), "web.mesos.");
    let plain = error(&query("web.mesos.", RecordType::A, None), ResponseCode::Refused);
    assert!(Message::from_vec(&plain).unwrap().edns.is_none());
    assert_eq!(
        Message::from_vec(&error(&packet, ResponseCode::BADVERS)).unwrap().edns.unwrap().rcode_high(),
        1
    );
    assert!(is_truncated(&truncated(&packet)));
}

#[test]
fn cache_keys_forget_spelling_and_id_and_nothing_else() {
    let key = |name, kind, size| cache_key(&query(name, kind, size)).unwrap();
    let one = key("web.mesos.", RecordType::A, None);
    assert_eq!(one, key("WEB.mesos.", RecordType::A, None));
    // Type 65 is an upper-case letter to an eye that only sees bytes.
    assert_ne!(key("web.mesos.", RecordType::HTTPS, None), key("web.mesos.", RecordType::Unknown(97), None));
    for other in [
        key("web.mesos.", RecordType::AAAA, None),
        key("wab.mesos.", RecordType::A, None),
        key("web.mesos.", RecordType::A, Some(1232)),
    ] {
        assert_ne!(one, other);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..600)) {
        all_functions(&bytes);
    }

    #[test]
    fn any_damage_is_survived(hits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = query("_http._web._tcp.marathon.mesos.", RecordType::SRV, Some(4096));
        for (at, value) in hits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        all_functions(&bytes);
    }
}

fn all_functions(bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    let good = query("web.mesos.", RecordType::A, Some(1232));
    let _ = (read(bytes).is_ok(), cache_key(bytes), ttl_min(bytes), code(bytes));
    let _ = fitting(vec![0; 2000], bytes, Via::Udp);
    assert!(is_reply(&error(bytes, ResponseCode::ServFail)));
    let _ = (answers(bytes, &good), answers(&good, bytes), is_truncated(bytes));
    map_ttls(&mut copy, |ttl| ttl / 2);
    set_id(&mut copy, 7);
    readdress(&mut copy, &good);
    assert_eq!(copy.len(), bytes.len());
}
