//! Readers of what comes over the wire.

use serde::de::DeserializeOwned;
use serde_json as json;
use xiezhi_protocol::batch::{decode_events, encode_events, peek_events};
use xiezhi_protocol::codec::{Decoder, peek};
use xiezhi_protocol::enrol::{EnrolRequest, EnrolResponse, Problem, RenewRequest, Token};
use xiezhi_protocol::message::{
    Directive, DirectiveMessage, DirectiveOutcome, Goodbye, Hello, Refused, Status, Welcome,
};
use xiezhi_protocol::record;

/// Frames of one chain, each behind its length in two bytes. What decodes is encoded again as a
/// key frame and decodes to the same values under the same identity.
pub fn frames(bytes: &[u8]) {
    let mut decoder = Decoder::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (frame, after) = after.split_at(length);
        rest = after;
        let head = peek(frame);
        let Ok(info) = decoder.decode(frame, &mut |name| name.into()) else {
            continue;
        };
        let head = head.expect("a frame that decodes has a head");
        assert_eq!(
            (head.seq, head.checksum),
            (info.batch.seq, info.batch.checksum)
        );
        assert_eq!(decoder.values().count(), info.samples);
        let mut key = Vec::new();
        assert_eq!(decoder.encode_key(&mut key), Some(info.batch));
        let mut again = Decoder::new();
        let other = again
            .decode(&key, &mut |name| name.into())
            .expect("a key frame of our own");
        assert!(other.key);
        assert_eq!(other.batch, info.batch);
        let same = |decoder: &Decoder| -> Vec<(String, u64)> {
            decoder
                .values()
                .map(|(name, value)| (name.to_string(), value.to_bits()))
                .collect()
        };
        assert_eq!(same(&again), same(&decoder));
    }
}

/// An event batch. What is accepted can be written again and then says the same.
pub fn events(bytes: &[u8]) {
    let head = peek_events(bytes);
    let Ok((info, events)) = decode_events(bytes) else {
        return;
    };
    assert_eq!(head.expect("a batch that decodes has a head"), info);
    let mut again = Vec::new();
    // Text that JSON writes longer than it was read may exceed the bound.
    if encode_events(info.seq, info.time_ms, &events, &mut again).is_ok() {
        let (other, same) = decode_events(&again).expect("a batch of our own");
        assert_eq!((other.seq, other.time_ms), (info.seq, info.time_ms));
        assert_eq!(same, events);
    }
}

/// A stream of records: every byte is used once, and the records written again are the same.
pub fn records(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((kind, payload, used))) = record::read(rest) {
        assert!(used > payload.len() && used <= rest.len());
        if let Some(kind) = record::Kind::from_number(kind) {
            let mut again = Vec::new();
            record::write(&mut again, kind, payload);
            let found = record::read(&again).expect("a record of our own");
            assert_eq!(found, Some((kind as u8, payload, again.len())));
        }
        rest = rest.get(used..).unwrap_or_default();
    }
}

/// An acknowledgement.
pub fn acks(bytes: &[u8]) {
    if let Some(ack) = record::read_ack(bytes) {
        let mut again = Vec::new();
        record::write_ack(&mut again, &ack);
        assert_eq!(record::read_ack(&again), Some(ack));
    }
}

/// The JSON messages of a session and of enrolment.
pub fn messages(bytes: &[u8]) {
    read::<Hello>(bytes);
    read::<Welcome>(bytes);
    read::<Refused>(bytes);
    read::<Goodbye>(bytes);
    read::<Status>(bytes);
    read::<Directive>(bytes);
    read::<DirectiveMessage>(bytes);
    read::<DirectiveOutcome>(bytes);
    read::<EnrolRequest>(bytes);
    read::<EnrolResponse>(bytes);
    read::<RenewRequest>(bytes);
    read::<Problem>(bytes);
}

fn read<T: DeserializeOwned + serde::Serialize>(bytes: &[u8]) {
    if let Ok(message) = json::from_slice::<T>(bytes) {
        let text = json::to_string(&message).expect("what was read can be written");
        let again: T = json::from_str(&text).expect("what was written can be read");
        assert_eq!(
            json::to_string(&again).expect("what was read can be written"),
            text
        );
    }
}

/// An enrolment token as a person types it.
pub fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = Token::from_text(&text) {
        assert_eq!(Token::from_text(&token.to_text()), Ok(token));
    }
}
