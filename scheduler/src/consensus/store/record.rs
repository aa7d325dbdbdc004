//! How a record looks on disk: a CRC32 over its key and its bytes, then the bytes. With the key in the sum,
//! a record that ended up in another's place is found out.

/// Bytes of a checksum.
pub(super) const SUM_BYTES: usize = 4;

/// `bytes` with their checksum in front.
pub(super) fn seal(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SUM_BYTES + bytes.len());
    sealed.extend_from_slice(&sum(key, bytes).to_le_bytes());
    sealed.extend_from_slice(bytes);
    sealed
}

/// The bytes of a sealed record, unless it is damaged.
pub(super) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (head, bytes) = sealed.split_first_chunk::<SUM_BYTES>()?;
    (u32::from_le_bytes(*head) == sum(key, bytes)).then_some(bytes)
}

/// The checksum of `bytes` in the place that `key` names.
pub(super) fn sum(key: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_or_a_changed_place_is_found_out() {
        let sealed = seal(b"7", b"payload");
        assert_eq!(unseal(b"7", &sealed), Some(&b"payload"[..]));
        assert_eq!(unseal(b"8", &sealed), None);
        for at in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert_eq!(unseal(b"7", &damaged), None, "bit {at}");
        }
        assert_eq!(unseal(b"7", &sealed[..sealed.len() - 1]), None);
        assert_eq!(unseal(b"7", b"abc"), None);
    }
}
