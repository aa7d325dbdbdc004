//! How a segment looks: a header block, then frames, each of them one commit. A frame's checksum covers the
//! cluster, the segment, the frame's number and its contents, so that what is left of an earlier use of the file,
//! or came from another one, is never taken for a frame. Pure.
//!
//! Numbers are little-endian. Frame: length of the payload (4 bytes), checksum (4), sequence number xor the
//! segment's salt (8), payload, zeros up to a multiple of 8. Payload: length of the hard state (4), hard state,
//! then for each entry its length (4) and the entry. An empty payload says that the log was closed in order.

use protobuf::Message;
use raft::eraftpb::{Entry, HardState};
use uuid::Uuid;

/// Frames begin after it; a page, so that a frame shares no sector with it.
pub(super) const HEADER_BYTES: usize = 4096;
/// Length, checksum and sequence number.
pub(super) const HEAD_BYTES: usize = 16;
const ALIGN_BYTES: usize = 8;
const MAGIC: [u8; 8] = *b"GANTRYL1";
const SUM_BYTES: usize = 4;
/// Where the hard state begins in a header.
const STATE_AT: usize = 64;

/// The first block of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub cluster: Uuid,
    /// The segment's own number, as in its name.
    pub number: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Number of its first frame.
    pub sequence: u64,
    /// Drawn anew for each use of a file: what somebody puts into an entry cannot be made to look like a frame.
    pub salt: u64,
    /// As it was when the segment was begun.
    pub state: HardState,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let state = self.state.write_to_bytes().expect("a hard state has no required fields");
        let mut block = Vec::with_capacity(HEADER_BYTES);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(self.cluster.as_bytes());
        for number in [self.number, self.bytes, self.sequence, self.salt] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        block.extend_from_slice(&(state.len() as u64).to_le_bytes());
        block.extend_from_slice(&state);
        block.resize(HEADER_BYTES - SUM_BYTES, 0);
        block.extend_from_slice(&crc32fast::hash(&block).to_le_bytes());
        block
    }

    /// `None` unless it is the block that was written.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let (content, sum) = block.get(..HEADER_BYTES)?.split_last_chunk::<SUM_BYTES>()?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(content) || content[..MAGIC.len()] != MAGIC {
            return None;
        }
        let state_bytes = usize::try_from(number(content, 56)?).ok()?;
        let state = content.get(STATE_AT..)?.get(..state_bytes)?;
        Some(Self {
            cluster: Uuid::from_slice(content.get(8..24)?).ok()?,
            number: number(content, 24)?,
            bytes: number(content, 32)?,
            sequence: number(content, 40)?,
            salt: number(content, 48)?,
            state: HardState::parse_from_bytes(state).ok()?,
        })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Bytes of a frame with a payload of that length.
pub(super) fn frame_bytes(payload: usize) -> usize {
    (HEAD_BYTES + payload).next_multiple_of(ALIGN_BYTES)
}

/// Writes a frame into `buffer`, over whatever is there; [`Seal::seal`] is to follow.
pub(super) fn encode(buffer: &mut Vec<u8>, state: &HardState, entries: &[Entry]) {
    begin(buffer);
    put(buffer, state);
    entries.iter().for_each(|entry| put(buffer, entry));
}

/// A frame without payload.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEAD_BYTES, 0);
}

fn put(buffer: &mut Vec<u8>, message: &impl Message) {
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    message.write_to_vec(buffer).expect("raft's messages have no required fields, so encoding cannot fail");
    let length = (buffer.len() - at - 4) as u32;
    buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// The hard state and the entries of a payload that is not empty. `None`: this program did not write it.
pub(super) fn decode(mut payload: &[u8]) -> Option<(HardState, Vec<Entry>)> {
    let state = HardState::parse_from_bytes(take(&mut payload)?).ok()?;
    let mut entries = Vec::new();
    while !payload.is_empty() {
        entries.push(Entry::parse_from_bytes(take(&mut payload)?).ok()?);
    }
    Some((state, entries))
}

fn take<'a>(payload: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = payload.split_first_chunk()?;
    let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *payload = rest;
    Some(message)
}

/// What makes frames of one segment, and tells them from anything else.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    begun: crc32fast::Hasher,
    salt: u64,
}

impl Seal {
    pub(super) fn of(header: &Header) -> Self {
        let mut begun = crc32fast::Hasher::new();
        begun.update(header.cluster.as_bytes());
        begun.update(&header.number.to_le_bytes());
        begun.update(&header.salt.to_le_bytes());
        Self { begun, salt: header.salt }
    }

    fn sum(&self, sequence: u64, payload: &[u8]) -> u32 {
        let mut sum = self.begun.clone();
        sum.update(&sequence.to_le_bytes());
        sum.update(&(payload.len() as u64).to_le_bytes());
        sum.update(payload);
        sum.finalize()
    }

    /// Completes the frame in `buffer`. Its payload is shorter than 4 GiB.
    pub(super) fn seal(&self, buffer: &mut Vec<u8>, sequence: u64) {
        let payload = buffer.len() - HEAD_BYTES;
        let sum = self.sum(sequence, &buffer[HEAD_BYTES..]);
        buffer[..4].copy_from_slice(&(payload as u32).to_le_bytes());
        buffer[4..8].copy_from_slice(&sum.to_le_bytes());
        buffer[8..HEAD_BYTES].copy_from_slice(&(sequence ^ self.salt).to_le_bytes());
        buffer.resize(frame_bytes(payload), 0);
    }

    /// The payload of the frame that `bytes` begin with, if it is the one with that number, and whole.
    pub(super) fn open<'a>(&self, bytes: &'a [u8], sequence: u64) -> Option<&'a [u8]> {
        if number(bytes, 8)? ^ self.salt != sequence {
            return None;
        }
        self.whole(bytes, sequence)
    }

    fn whole<'a>(&self, bytes: &'a [u8], sequence: u64) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        let payload = bytes.get(HEAD_BYTES..)?.get(..length)?;
        (self.sum(sequence, payload) == sum).then_some(payload)
    }

    /// Whether a whole frame with a later number than `sequence` is anywhere in `bytes`, at a place where frames
    /// may begin: then what is wrong before it is no write that was cut short.
    pub(super) fn goes_on(&self, bytes: &[u8], sequence: u64) -> bool {
        // So many frames fit in there.
        let later = sequence + 1..=sequence + (bytes.len() / HEAD_BYTES) as u64 + 1;
        (0..bytes.len()).step_by(ALIGN_BYTES).map(|at| &bytes[at..]).any(|rest| {
            let found = number(rest, 8).map(|masked| masked ^ self.salt);
            found.is_some_and(|found| later.contains(&found) && self.whole(rest, found).is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let state = HardState { term: 7, vote: 2, commit: 9, ..HardState::default() };
        Header {
            cluster: Uuid::from_u128(5),
            number: 3,
            bytes: 65_536,
            sequence: 40,
            salt: 0x1234_5678_9abc,
            state,
        }
    }

    fn frame(seal: &Seal, sequence: u64, texts: &[&str]) -> Vec<u8> {
        let entry =
            |text: &&str| Entry { index: 4, term: 2, data: text.to_string().into(), ..Entry::default() };
        let mut buffer = Vec::new();
        encode(&mut buffer, &header().state, &texts.iter().map(entry).collect::<Vec<_>>());
        seal.seal(&mut buffer, sequence);
        buffer
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_every_bit_of_it_counts() {
        let block = header().encode();
        assert_eq!((block.len(), Header::decode(&block)), (HEADER_BYTES, Some(header())));
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(Header::decode(&block[..100]), None);
        assert_eq!(Header::decode(&[0; HEADER_BYTES]), None);
    }

    #[test]
    fn a_frame_is_itself_in_its_own_place_only() {
        let seal = Seal::of(&header());
        let whole = frame(&seal, 41, &["one", "another one"]);
        assert_eq!(whole.len() % ALIGN_BYTES, 0);
        let payload = seal.open(&whole, 41).unwrap();
        assert_eq!(frame_bytes(payload.len()), whole.len());
        let (state, entries) = decode(payload).unwrap();
        assert_eq!((state, entries.len(), &*entries[1].data), (header().state, 2, &b"another one"[..]));
        assert!(seal.open(&whole, 42).is_none() && seal.open(&whole[..whole.len() - 8], 41).is_none());
        for other in [
            Header { number: 4, ..header() },
            Header { cluster: Uuid::from_u128(6), ..header() },
            Header { salt: 1, ..header() },
        ] {
            assert!(Seal::of(&other).open(&whole, 41).is_none());
        }
        for bit in 0..(HEAD_BYTES + payload.len()) * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(seal.open(&damaged, 41).is_none(), "bit {bit}");
        }
        let mut closing = Vec::new();
        begin(&mut closing);
        seal.seal(&mut closing, 42);
        assert_eq!(seal.open(&closing, 42), Some(&[][..]));
    }

    #[test]
    fn what_follows_tells_damage_from_a_write_that_was_cut_short() {
        let seal = Seal::of(&header());
        let (broken, next) = (vec![1; 64], frame(&seal, 43, &["next"]));
        assert!(seal.goes_on(&[&broken[..], &next, &[0; 100]].concat(), 42));
        assert!(!seal.goes_on(&[&broken[..], &next, &[0; 100]].concat(), 43), "not a later one");
        assert!(!seal.goes_on(&[&broken[..], &next[..next.len() - 8]].concat(), 42), "not a whole one");
        let stale = frame(&Seal::of(&Header { number: 1, salt: 77, ..header() }), 43, &["stale"]);
        assert!(!seal.goes_on(&[&broken[..], &stale].concat(), 42), "of an earlier use");
    }

    #[test]
    fn payloads_of_nonsense_are_refused() {
        for payload in [&[][..], &[1], &[9, 0, 0, 0, 1], &[0, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff]] {
            assert!(decode(payload).is_none(), "{payload:?}");
        }
        assert_eq!(decode(&[0; 4]), Some((HardState::default(), Vec::new())));
    }
}
