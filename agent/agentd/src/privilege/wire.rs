//! Packets on the socket pair between worker and warden.
//!
//! The socket keeps packet boundaries (`SOCK_SEQPACKET`), so several helpers can answer on it at
//! once without mixing. A request has a fixed size; an answer is a head and at most
//! [`MAX_PAYLOAD`] bytes. Both carry a version: after an upgrade the old warden starts helpers of
//! its own executable (`/proc/self/exe`), so the two always agree.

use xiezhi_collect::security::privileged::{ASK_WORDS, Ask};

/// Version of both packets.
const VERSION: u8 = 1;
/// Bytes of a request.
pub(super) const REQUEST: usize = 16 + 8 * ASK_WORDS;
/// Bytes of an answer's head.
pub(super) const HEAD: usize = 16;
/// Most bytes of an answer's payload in one packet.
pub(super) const MAX_PAYLOAD: usize = 16 * 1024;

/// What an answer packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of the answer.
    Data,
    /// The answer is complete.
    Done,
    /// There will be no answer; the payload says why.
    Failed,
}

/// A request packet.
pub(super) fn encode_request(id: u64, ask: &Ask) -> [u8; REQUEST] {
    let mut packet = [0; REQUEST];
    let words = [u64::from(VERSION), id].into_iter().chain(ask.encode());
    for (bytes, word) in packet.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    packet
}

/// Reads a request packet; anything that is not exactly one is refused.
pub(super) fn decode_request(packet: &[u8]) -> Option<(u64, Ask)> {
    if packet.len() != REQUEST {
        return None;
    }
    let mut words = packet
        .chunks_exact(8)
        .filter_map(|bytes| bytes.first_chunk::<8>())
        .map(|b| u64::from_le_bytes(*b));
    if words.next()? != u64::from(VERSION) {
        return None;
    }
    let id = words.next()?;
    let mut ask = [0; ASK_WORDS];
    for word in &mut ask {
        *word = words.next()?;
    }
    Some((id, Ask::decode(ask)?))
}

/// The head of an answer packet.
pub(super) fn encode_head(id: u64, kind: Kind) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let kind: u64 = match kind {
        Kind::Data => 1,
        Kind::Done => 2,
        Kind::Failed => 3,
    };
    let words = [u64::from(VERSION) | kind << 8, id];
    for (bytes, word) in head.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    head
}

/// Reads an answer packet.
pub(super) fn decode_answer(packet: &[u8]) -> Option<(u64, Kind, &[u8])> {
    let (head, payload) = packet.split_at_checked(HEAD)?;
    let (first, id) = head.split_at_checked(8)?;
    let [version, kind, ..] = *first.first_chunk::<8>()?;
    let kind = match kind {
        1 => Kind::Data,
        2 => Kind::Done,
        3 => Kind::Failed,
        _ => return None,
    };
    (version == VERSION).then_some((u64::from_le_bytes(*id.first_chunk::<8>()?), kind, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_come_back_as_they_went() {
        let packet = encode_request(7, &Ask::SetuidScan);
        assert_eq!(decode_request(&packet), Some((7, Ask::SetuidScan)));
        let mut answer = encode_head(7, Kind::Failed).to_vec();
        answer.extend(b"why");
        assert_eq!(decode_answer(&answer), Some((7, Kind::Failed, &b"why"[..])));
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_answer(&bytes);
            if let Some((id, ask)) = decode_request(&bytes) {
                prop_assert_eq!(encode_request(id, &ask).to_vec(), bytes);
            }
        }
    }
}
