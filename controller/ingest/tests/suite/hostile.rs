//! Frames that no agent of ours would send, byte by byte: what is bad in them is left out or refused,
//! counted, and the next frame goes on.

use std::io::Write as _;

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::codec::{FRAME_VERSION, varint};
use xiezhi_protocol::record::Kind;

use crate::agent::{Agent, Down};
use crate::port::Port;

/// A key frame with these names and bits of values, under a checksum that fits.
fn key_frame(seq: u64, time_ms: i64, columns: &[(String, u64)]) -> Vec<u8> {
    frame_of(seq, time_ms, columns, &pack(columns))
}

/// Names as a frame holds them: lengths and deflated bytes.
fn pack(columns: &[(String, u64)]) -> Vec<u8> {
    let mut names = Vec::new();
    for (name, _) in columns {
        varint::write(&mut names, 0);
        varint::write(&mut names, name.len() as u64);
        names.extend_from_slice(name.as_bytes());
    }
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&names).unwrap();
    let packed = packed.finish().unwrap();
    let mut out = Vec::new();
    varint::write(&mut out, packed.len() as u64);
    varint::write(&mut out, names.len() as u64);
    out.extend_from_slice(&packed);
    out
}

fn frame_of(seq: u64, time_ms: i64, columns: &[(String, u64)], packed: &[u8]) -> Vec<u8> {
    let mut frame = vec![FRAME_VERSION, 1];
    varint::write(&mut frame, seq);
    varint::write_signed(&mut frame, time_ms);
    varint::write(&mut frame, 15_000);
    varint::write(&mut frame, columns.len() as u64);
    frame.extend_from_slice(packed);
    for (_, bits) in columns {
        // Present, as the bits of the number.
        frame.push(0x80 | 15);
        frame.extend_from_slice(&bits.to_le_bytes());
    }
    frame.extend_from_slice(&checksum(seq, time_ms, columns).to_le_bytes());
    frame
}

/// As the codec's own, written again: a test that used its code could not tell when it changes.
fn checksum(seq: u64, time_ms: i64, columns: &[(String, u64)]) -> u32 {
    let mix = |mut value: u64| {
        value ^= value >> 30;
        value = value.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value ^= value >> 27;
        value = value.wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let hash = |name: &str| {
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let parts = columns
        .iter()
        .map(|(name, bits)| mix(hash(name) ^ bits.rotate_left(31)));
    let sum = parts.fold(0u64, u64::wrapping_add);
    let all = mix(sum ^ mix(seq) ^ mix(time_ms as u64).rotate_left(17) ^ columns.len() as u64);
    (all ^ (all >> 32)) as u32
}

fn names_kept(port: &Port, host: i64) -> Vec<String> {
    let kept = port.series.range(host, 0, i64::MAX, &|_| true).unwrap();
    kept.iter().map(|one| one.series.to_string()).collect()
}

async fn goes_on(agent: &mut Agent, seq: u64, port: &Port) {
    let columns = [("fine".to_owned(), 1.0_f64.to_bits())];
    agent.send(Kind::LiveSamples, &key_frame(seq, port.now_ms(), &columns));
    agent.flush();
    loop {
        match agent.down.next().await {
            Down::Ack(ack) if ack.stream == Stream::Samples => {
                let ranges = ack.ranges.ranges();
                if ranges.iter().any(|&(_, last)| last >= seq) {
                    return;
                }
            }
            Down::End => panic!("the session ended"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_no_numbers_are_left_out_and_counted() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 7.0];
    let columns: Vec<_> = (0..)
        .zip(values)
        .map(|(number, value)| (format!("m{number}"), value.to_bits()))
        .collect();
    agent.send(Kind::LiveSamples, &key_frame(1, port.now_ms(), &columns));
    goes_on(&mut agent, 2, &port).await;
    assert_eq!(names_kept(&port, identity.host.0), ["fine", "m3"]);
    assert!(port.counter("xiezhi_ingest_refused_total") >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_a_megabyte_costs_its_own_series_only() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let long = format!("m{{path=\"{}\"}}", "x".repeat(1 << 20));
    let one = 1.0_f64.to_bits();
    let near = ("near".to_owned(), one);
    let packed = pack(&[(long, one), near.clone()]);
    // A name that is too long counts as an empty one.
    let columns = [(String::new(), one), near];
    let frame = frame_of(1, port.now_ms(), &columns, &packed);
    agent.send(Kind::LiveSamples, &frame);
    goes_on(&mut agent, 2, &port).await;
    assert_eq!(names_kept(&port, identity.host.0), ["fine", "near"]);
    assert!(port.counter("xiezhi_ingest_refused_total") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_unpack_are_refused_with_the_reason() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let columns = [("m".to_owned(), 0)];
    // Lengths of what is packed and of what it was, and bytes that are no deflate, or end early.
    for (seq, packed) in [(1, &b"\x04\x03\xff\xff\xff\xff"[..]), (2, b"\x00\x03")] {
        let frame = frame_of(seq, port.now_ms(), &columns, packed);
        agent.send(Kind::LiveSamples, &frame);
        let refused = agent.down.next().await.refused();
        assert_eq!(refused.seq, Some(seq), "{refused:?}");
        assert!(!refused.reason.is_empty());
    }
    goes_on(&mut agent, 3, &port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_label_values_of_one_host_leave_room_for_others() {
    let port = Port::start().await;
    let (one, two) = (port.enrol("one").await, port.enrol("two").await);
    let (mut agent, mut other) = (port.session(&one).await, port.session(&two).await);
    for seq in 1..=100_u64 {
        let column = |number: u64| {
            let text = format!("runaway{{id=\"{}\"}}", seq * 10_000 + number);
            (text, 1.0_f64.to_bits())
        };
        let columns: Vec<_> = (0..10_000).map(column).collect();
        agent.send(Kind::LiveSamples, &key_frame(seq, port.now_ms(), &columns));
    }
    goes_on(&mut other, 1, &port).await;
    goes_on(&mut agent, 101, &port).await;
    assert_eq!(names_kept(&port, two.host.0), ["fine"]);
    let stats = port.series.stats();
    assert!(stats.refused_series > 0, "{stats:?}");
    assert!(stats.memory_bytes < 500 << 20, "{stats:?}");
}
