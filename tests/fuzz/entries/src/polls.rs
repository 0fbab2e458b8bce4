//! The reader of what hosts read of devices.

use xiezhi_protocol::codec::varint;
use xiezhi_protocol::poll::{
    About, Poll, PollColumn, PollTable, PollValue, PortAbout, encode_poll, peek_poll, read_poll,
};

/// A batch of a poll as it is, and its bytes as the body of one whose lengths and checksum are right, since
/// a fuzzer would guess neither. What is accepted can be written again and then says the same.
pub fn polls(bytes: &[u8]) {
    read(bytes);
    let mut content = vec![1, 0, 1];
    varint::write(&mut content, bytes.len() as u64);
    // A stored block: deflate's own frame around bytes as they are.
    for (index, block) in bytes.chunks(0xffff).enumerate() {
        let is_last = (index + 1) * 0xffff >= bytes.len();
        content.push(u8::from(is_last));
        let length = block.len() as u16;
        content.extend_from_slice(&length.to_le_bytes());
        content.extend_from_slice(&(!length).to_le_bytes());
        content.extend_from_slice(block);
    }
    let mut whole = Vec::new();
    if encode_poll(1, 2, &content, &mut whole).is_ok() {
        read(&whole);
    }
}

fn read(bytes: &[u8]) {
    let head = peek_poll(bytes);
    let Ok((info, poll)) = read_poll(bytes) else {
        return;
    };
    assert_eq!(head.expect("a batch that is read has a head"), info);
    let mut content = Vec::new();
    // Text that JSON writes longer than it was read may exceed the bound.
    if poll.encode_content(&mut content).is_ok() {
        let mut again = Vec::new();
        encode_poll(info.seq, info.time_ms, &content, &mut again).expect("a batch of our own");
        let (other, same) = read_poll(&again).expect("a batch of our own");
        assert_eq!((other.seq, other.time_ms), (info.seq, info.time_ms));
        assert_eq!(same, poll);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let column = |name: &str, counter, values: &[Option<PollValue>]| PollColumn {
        name: name.to_owned(),
        counter,
        values: values.to_vec(),
    };
    let about = About {
        profile: "generic".to_owned(),
        facts: [("model".to_owned(), "甘".to_owned())].into(),
        ports: vec![PortAbout::default()],
        ..About::default()
    };
    let (whole, real) = (PollValue::Unsigned(1 << 63), PollValue::Real(0.5));
    let poll = Poll {
        device: "core-1".to_owned(),
        time_ms: 2,
        part: (0, 1),
        about: Some(about),
        tables: vec![
            PollTable {
                labels: Vec::new(),
                rows: vec![Vec::new()],
                columns: vec![column("up", false, &[Some(PollValue::Integer(1))])],
            },
            PollTable {
                labels: vec!["ifName".to_owned()],
                rows: vec![vec!["eth0".to_owned()], vec![String::new()]],
                columns: vec![
                    column("ifHCInOctets", true, &[Some(whole), None]),
                    column("ifMixed", false, &[Some(whole), Some(real)]),
                ],
            },
        ],
    };
    let mut content = Vec::new();
    poll.encode_content(&mut content).expect("a poll");
    let mut batch = Vec::new();
    encode_poll(7, 2, &content, &mut batch).expect("a batch");
    let body = b"\x06core-1\0\x01\x01\x06ifName\x01\x04eth0\x02\x05\x01a\x07\x0b\x01b\x01\x00\x01";
    vec![batch, body.to_vec()]
}
