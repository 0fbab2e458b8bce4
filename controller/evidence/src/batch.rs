//! Whether a batch of events is what its host's agent signed.

use xiezhi_model::Signature;
use xiezhi_protocol::batch::{ReadEvents, Stream};
use xiezhi_protocol::signature::Statement;

use crate::hash::Hash;
use crate::signature::PublicKey;

/// The text that the agent signed, if it signed: to be shown beside the signature.
#[must_use]
pub fn signed_text(stream: Stream, batch: &ReadEvents) -> Option<String> {
    let signature = batch.signature.as_ref()?;
    let statement = Statement {
        host: &signature.host,
        epoch: signature.epoch,
        stream,
        seq: batch.info.seq,
        time_ms: batch.info.time_ms,
        content_sha256: Hash::of(&batch.content).0,
    };
    Some(statement.to_text())
}

/// Judges a batch of `stream` by the key that its host recorded when it enrolled, 64 hex digits.
///
/// The host and the epoch that the signature names are not compared with those under which the batch
/// is counted: a controller that was restored counts it in a later epoch, and a machine that enrolled
/// anew is another host with the same key (`docs/adr/007`).
#[must_use]
pub fn judge(evidence_key: &str, stream: Stream, batch: &ReadEvents) -> Signature {
    let (Some(signature), Some(text)) = (&batch.signature, signed_text(stream, batch)) else {
        return Signature::Missing;
    };
    let signed = PublicKey::from_hex(evidence_key)
        .is_some_and(|key| key.has_signed(text.as_bytes(), &signature.bytes));
    if signed {
        Signature::Good
    } else {
        Signature::Bad
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use xiezhi_protocol::batch::read_events;

    use super::*;

    /// A batch as version 0.1 signed it, with the key of seed 7.
    const KEPT: &[u8] = include_bytes!("../../../agent/protocol/tests/kept/events-v2.bin");

    fn key(seed: u8) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        HEXLOWER.encode(pair.public_key().as_ref())
    }

    #[test]
    fn a_kept_batch_holds_for_its_key_and_stream_only() {
        let batch = read_events(KEPT).unwrap();
        assert_eq!(judge(&key(7), Stream::Security, &batch), Signature::Good);
        assert_eq!(judge(&key(8), Stream::Security, &batch), Signature::Bad);
        assert_eq!(judge("", Stream::Security, &batch), Signature::Bad);
        assert_eq!(judge(&key(7), Stream::Events, &batch), Signature::Bad);
    }

    #[test]
    fn any_other_host_epoch_number_time_or_content_is_not_what_was_signed() {
        let change: [fn(&mut ReadEvents); 5] = [
            |batch| batch.info.seq += 1,
            |batch| batch.info.time_ms += 1,
            |batch| batch.content.push(b' '),
            |batch| batch.signature.as_mut().unwrap().epoch += 1,
            |batch| batch.signature.as_mut().unwrap().host.push('0'),
        ];
        for (index, change) in change.iter().enumerate() {
            let mut batch = read_events(KEPT).unwrap();
            change(&mut batch);
            let judged = judge(&key(7), Stream::Security, &batch);
            assert_eq!(judged, Signature::Bad, "{index}");
        }
        let mut unsigned = read_events(KEPT).unwrap();
        unsigned.signature = None;
        let judged = judge(&key(7), Stream::Security, &unsigned);
        assert_eq!(judged, Signature::Missing);
        assert_eq!(signed_text(Stream::Security, &unsigned), None);
    }
}
