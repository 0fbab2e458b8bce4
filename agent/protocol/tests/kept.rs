//! Formats that were released are read for ever: samples made by version 0.1 are decoded here.
//!
//! The files in `tests/kept` are never made again. A new format gets new files beside them; to make
//! those, run once with `XIEZHI_KEEP=1`, which writes only what is missing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use xiezhi_protocol::batch::{
    Stream, decode_events, encode_events, encode_signed_events, read_events,
};
use xiezhi_protocol::codec::{Decoder, Encoder};
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::message::{Ack, Hello, Welcome};
use xiezhi_protocol::poll::{
    About, DeviceState, Poll, PollColumn, PollTable, PollValue, PortAbout, encode_poll, read_poll,
};
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_protocol::record;
use xiezhi_protocol::report::Report;
use xiezhi_protocol::signature::{BatchSignature, Statement};

fn kept(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kept")
        .join(name);
    if !path.exists() && std::env::var_os("XIEZHI_KEEP").is_some() {
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn report(step: u8) -> Report {
    let mut report = Report::new();
    report.start(1_790_000_000_000 + 15_000 * i64::from(step));
    let value = f64::from(step);
    report.push("node_load1", &[], 0.25 + value).unwrap();
    report
        .push("node_memory_MemFree_bytes", &[], 4096.0 * (1000.0 - value))
        .unwrap();
    report
        .push("xiezhi_ratio", &[("site", "甘01")], 1.0 / 3.0 + value)
        .unwrap();
    if step == 2 {
        report
            .push("node_network_up", &[("device", "eth\"0\"")], 1.0)
            .unwrap();
    }
    report
}

#[test]
fn sample_frames_of_version_1_are_read() {
    let mut encoder = Encoder::new(15_000);
    let mut decoder = Decoder::new();
    for step in 0..3u8 {
        let mut made = Vec::new();
        encoder.encode(u64::from(step) + 7, &report(step), &mut made);
        let bytes = kept(&format!("frame-v1-{step}.bin"), || made);
        let info = decoder.decode(&bytes, &mut |name| name.into()).unwrap();
        assert_eq!(info.batch.seq, u64::from(step) + 7);
        let wanted = report(step);
        assert_eq!(info.batch.time_ms, wanted.time_ms());
        let read: Vec<(String, u64)> = decoder
            .values()
            .map(|(name, value)| (name.to_string(), value.to_bits()))
            .collect();
        let wanted: Vec<(String, u64)> = wanted
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_bits()))
            .collect();
        assert_eq!(read, wanted);
    }
}

fn events() -> Vec<Event> {
    vec![
        Event::new(
            1_790_000_000_123,
            kinds::LOGIN,
            Severity::Info,
            "张三 logged in",
        )
        .with("user", "zhangsan"),
        Event::new(
            1_790_000_000_456,
            kinds::SUDO_FAILED,
            Severity::Warning,
            "refused",
        ),
    ]
}

#[test]
fn event_batches_of_version_1_are_read() {
    let events = events();
    let bytes = kept("events-v1.bin", || {
        let mut bytes = Vec::new();
        encode_events(42, 1_790_000_001_000, &events, &mut bytes).unwrap();
        bytes
    });
    let (info, read) = decode_events(&bytes).unwrap();
    assert_eq!((info.seq, info.time_ms), (42, 1_790_000_001_000));
    assert_eq!(read, events);
}

/// What is signed of the kept batch.
fn statement(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    let statement = Statement {
        host: "17",
        epoch: 3,
        stream: Stream::Security,
        seq: 42,
        time_ms: 1_790_000_001_000,
        content_sha256: digest.as_ref().try_into().unwrap(),
    };
    statement.to_text()
}

#[test]
fn signed_event_batches_of_version_2_are_read_and_verify() {
    use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let bytes = kept("events-v2.bin", || {
        let sign = |content: &[u8]| {
            let signature = key.sign(statement(content).as_bytes());
            Some(BatchSignature {
                host: "17".to_owned(),
                epoch: 3,
                bytes: signature.as_ref().try_into().unwrap(),
            })
        };
        let mut bytes = Vec::new();
        encode_signed_events(42, 1_790_000_001_000, &events(), &mut bytes, sign).unwrap();
        bytes
    });
    let read = read_events(&bytes).unwrap();
    assert_eq!((read.info.seq, read.info.time_ms), (42, 1_790_000_001_000));
    assert_eq!(read.events, events());
    let signature = read.signature.unwrap();
    assert_eq!((signature.host.as_str(), signature.epoch), ("17", 3));
    let public = UnparsedPublicKey::new(&ED25519, key.public_key());
    let text = statement(&read.content);
    public.verify(text.as_bytes(), &signature.bytes).unwrap();
}

#[test]
fn acknowledgements_of_version_1_are_read() {
    let mut ranges = RangeSet::new();
    ranges.insert_range(5, 900);
    ranges.insert_range(1000, 1003);
    let ack = Ack {
        stream: Stream::Events,
        epoch: 3,
        ranges,
    };
    let bytes = kept("ack-v1.bin", || {
        let mut bytes = Vec::new();
        record::write_ack(&mut bytes, &ack);
        bytes
    });
    assert_eq!(record::read_ack(&bytes), Some(ack));
}

fn poll() -> Poll {
    let column = |name: &str, counter, values: &[Option<PollValue>]| PollColumn {
        name: name.to_owned(),
        counter,
        values: values.to_vec(),
    };
    let port = PortAbout {
        name: "eth0".to_owned(),
        alias: "法庭".to_owned(),
        ..PortAbout::default()
    };
    let octets = [Some(PollValue::Unsigned(1 << 63)), None];
    let mixed = [Some(PollValue::Integer(-7)), Some(PollValue::Real(0.1))];
    Poll {
        device: "core-1".to_owned(),
        time_ms: 1_790_000_000_000,
        part: (0, 1),
        about: Some(About {
            state: DeviceState::Answered,
            facts: [("serial".to_owned(), "0000".to_owned())].into(),
            ports: vec![port],
            ..About::default()
        }),
        tables: vec![
            PollTable {
                labels: Vec::new(),
                rows: vec![Vec::new()],
                columns: vec![column("up", false, &[Some(PollValue::Integer(1))])],
            },
            PollTable {
                labels: vec!["ifName".to_owned()],
                rows: vec![vec!["eth0".to_owned()], vec!["eth1".to_owned()]],
                columns: vec![
                    column("ifHCInOctets", true, &octets),
                    column("ifMixed", false, &mixed),
                ],
            },
        ],
    }
}

#[test]
fn polls_of_version_1_are_read() {
    let poll = poll();
    let bytes = kept("poll-v1.bin", || {
        let mut content = Vec::new();
        poll.encode_content(&mut content).unwrap();
        let mut bytes = Vec::new();
        encode_poll(42, poll.time_ms, &content, &mut bytes).unwrap();
        bytes
    });
    let (info, read) = read_poll(&bytes).unwrap();
    assert_eq!((info.seq, info.time_ms), (42, 1_790_000_000_000));
    assert_eq!(read, poll);
}

#[test]
fn control_messages_of_older_and_newer_peers_are_read() {
    let newer = r#"{"protocol":9,"version":"9.0","hostname":"h","something_new":{"a":[1]}}"#;
    let hello: Hello = serde_json::from_str(newer).unwrap();
    assert_eq!((hello.protocol, hello.hostname.as_str()), (9, "h"));
    let older: Welcome = serde_json::from_str(r#"{"protocol":1,"session":"s"}"#).unwrap();
    assert_eq!((older.session.as_str(), older.bandwidth), ("s", None));
}
