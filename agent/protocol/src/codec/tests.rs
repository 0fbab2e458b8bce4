//! Frames against a plain map of series to values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::report::Report;

type Values = BTreeMap<String, f64>;

fn report(time_ms: i64, values: &Values) -> Report {
    let mut report = Report::new();
    report.start(time_ms);
    for (series, value) in values {
        report.push_series(series, *value).unwrap();
    }
    report
}

fn intern(name: &str) -> SeriesName {
    name.into()
}

fn decoded(decoder: &Decoder) -> Values {
    decoder
        .values()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}

fn values_strategy() -> impl Strategy<Value = Vec<Values>> {
    let value = prop_oneof![
        4 => (-1_000_000i64..1_000_000).prop_map(|n| n as f64 / 100.0),
        2 => (0i64..1 << 40).prop_map(|n| (n * 1024) as f64),
        1 => prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL,
    ];
    let name = (0u8..40).prop_map(|n| match n {
        0..20 => format!("node_{n}_bytes"),
        _ => format!("node_cpu_seconds_total{{cpu=\"{n}\"}}"),
    });
    prop::collection::vec(prop::collection::btree_map(name, value, 0..30), 1..20)
}

proptest! {
    #[test]
    fn every_report_comes_back_exactly(reports in values_strategy(), restart_at in 0usize..20) {
        let mut encoder = Encoder::new(15_000);
        let mut decoder = Decoder::new();
        for (index, values) in reports.iter().enumerate() {
            if index == restart_at {
                encoder.restart();
            }
            let seq = index as u64 + 1;
            let mut frame = Vec::new();
            let time_ms = 1_700_000_000_000 + 15_000 * seq as i64 + (index as i64 % 3);
            let sent = encoder.encode(seq, &report(time_ms, values), &mut frame);
            let info = decoder.decode(&frame, &mut intern).unwrap();
            prop_assert_eq!(info.batch, sent);
            prop_assert_eq!(info.samples, values.len());
            prop_assert_eq!(&decoded(&decoder), values);
            let head = peek(&frame).unwrap();
            prop_assert_eq!((head.seq, head.key, head.checksum), (seq, info.key, sent.checksum));
        }
    }

    #[test]
    fn a_chain_taken_up_in_the_middle_keeps_every_checksum(reports in values_strategy(), cut in 0usize..20) {
        let mut encoder = Encoder::new(15_000);
        let mut reader = Decoder::new();
        let mut late: Option<Decoder> = None;
        for (index, values) in reports.iter().enumerate() {
            let seq = index as u64 + 1;
            let mut frame = Vec::new();
            let sent = encoder.encode(seq, &report(seq as i64, values), &mut frame);
            reader.decode(&frame, &mut intern).unwrap();
            if let Some(late) = &mut late {
                let info = late.decode(&frame, &mut intern).unwrap();
                prop_assert_eq!(info.batch, sent);
                prop_assert_eq!(&decoded(late), values);
            }
            if index == cut {
                let mut key = Vec::new();
                prop_assert_eq!(reader.encode_key(&mut key), Some(sent));
                let mut fresh = Decoder::new();
                let info = fresh.decode(&key, &mut intern).unwrap();
                prop_assert!(info.key);
                prop_assert_eq!(info.batch, sent);
                late = Some(fresh);
            }
        }
    }

    #[test]
    fn a_glance_sees_what_decoding_would(reports in values_strategy(), split in 0usize..20, damage in any::<prop::sample::Index>()) {
        let mut encoder = Encoder::new(15_000);
        let mut frames = Vec::new();
        for (index, values) in reports.iter().enumerate() {
            let mut frame = Vec::new();
            let time_ms = 15_000 * index as i64 + (index as i64 % 3);
            encoder.encode(index as u64 + 1, &report(time_ms, values), &mut frame);
            frames.push(frame);
        }
        let mut decoder = Decoder::new();
        let split = split.min(frames.len() - 1);
        for frame in &frames[..=split] {
            decoder.decode(frame, &mut intern).unwrap();
        }
        let wanted: Vec<usize> = (0..decoder.columns().len()).step_by(2).collect();
        let mut seen = Vec::new();
        let rest = frames[split + 1..].iter().map(Vec::as_slice);
        let _ended = decoder.glance(rest, &wanted, &mut |time_ms, values| seen.push((time_ms, values.to_vec())));
        let mut follower = decoder.clone();
        for ((time_ms, values), frame) in seen.iter().zip(&frames[split + 1..]) {
            let info = follower.decode(frame, &mut intern).unwrap();
            prop_assert_eq!(info.batch.time_ms, *time_ms);
            let expected: Vec<_> = wanted.iter().map(|&place| follower.columns()[place].value()).collect();
            prop_assert_eq!(&expected, values);
        }
        // It ends only where columns are named.
        if let Some(next) = frames.get(split + 1 + seen.len()) {
            let before = follower.columns().len();
            let info = follower.decode(next, &mut intern).unwrap();
            prop_assert!(info.key || follower.columns().len() > before);
        }
        if let Some(frame) = frames.get(split + 1) {
            let mut broken = frame.clone();
            let place = damage.index(broken.len());
            broken[place] ^= 0x41;
            let _ended = decoder.glance(std::iter::once(broken.as_slice()), &wanted, &mut |_, _| {});
        }
    }

    #[test]
    fn damaged_frames_are_refused_and_never_panic(
        reports in values_strategy(), position in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let mut encoder = Encoder::new(15_000);
        let mut decoder = Decoder::new();
        let last = reports.len() - 1;
        for (index, values) in reports.iter().enumerate() {
            let mut frame = Vec::new();
            encoder.encode(index as u64 + 1, &report(index as i64, values), &mut frame);
            if index == last {
                let at = position.index(frame.len());
                frame[at] ^= 1 << bit;
                if let Ok(info) = decoder.decode(&frame, &mut intern) {
                    // Only what carries no content may change unseen: the interval and the packing.
                    prop_assert_eq!(&decoded(&decoder), values);
                    prop_assert_eq!(info.batch.seq, index as u64 + 1);
                }
            } else {
                decoder.decode(&frame, &mut intern).unwrap();
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), key in any::<bool>()) {
        let mut frame = vec![FRAME_VERSION, u8::from(key)];
        frame.extend(bytes);
        let mut decoder = Decoder::new();
        drop(decoder.decode(&frame, &mut intern));
    }
}

fn some(pairs: &[(&str, f64)]) -> Values {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value))
        .collect()
}

#[test]
fn a_delta_without_its_predecessor_is_refused_and_harms_nothing() {
    let mut encoder = Encoder::new(15_000);
    let frames: Vec<Vec<u8>> = (1..=3u64)
        .map(|seq| {
            let mut frame = Vec::new();
            encoder.encode(
                seq,
                &report(seq as i64, &some(&[("a", seq as f64)])),
                &mut frame,
            );
            frame
        })
        .collect();
    let mut decoder = Decoder::new();
    decoder.decode(&frames[0], &mut intern).unwrap();
    let error = decoder.decode(&frames[2], &mut intern).unwrap_err();
    assert!(matches!(error, FrameError::ChainBroken { seq: 3 }));
    decoder.decode(&frames[1], &mut intern).unwrap();
    decoder.decode(&frames[2], &mut intern).unwrap();
}

#[test]
fn a_chain_ends_after_its_longest_length_and_at_a_gap() {
    let mut encoder = Encoder::new(15_000);
    let values = some(&[("a", 1.0)]);
    let mut keys = Vec::new();
    for seq in (1..=u64::from(MAX_CHAIN) + 1).chain([1000]) {
        let mut frame = Vec::new();
        encoder.encode(seq, &report(seq as i64, &values), &mut frame);
        if peek(&frame).unwrap().key {
            keys.push(seq);
        }
    }
    assert_eq!(keys, [1, u64::from(MAX_CHAIN) + 1, 1000]);
}

#[test]
fn a_value_that_is_no_number_costs_only_itself() {
    // Written by hand: an honest encoder never sends one.
    let mut content = checksum::Content::default();
    content.add(checksum::name_hash("bad"), f64::NAN.to_bits());
    content.add(checksum::name_hash("good"), 2.0f64.to_bits());
    content.add(checksum::name_hash("no name!"), 3.0f64.to_bits());
    let mut frame = vec![FRAME_VERSION, FLAG_KEY, 9, 10, 5];
    schema::write(&mut frame, 3, ["bad", "good", "no name!"].into_iter());
    encoder::write_value(
        &mut frame,
        value::Scale::RAW,
        true,
        f64::NAN.to_bits() as i64,
    );
    for value in [2.0, 3.0] {
        let scale = value::Scale::choose(value, false);
        encoder::write_value(&mut frame, scale, true, scale.integer(value).unwrap());
    }
    frame.extend(content.finish(9, 5).to_le_bytes());
    let mut decoder = Decoder::new();
    let info = decoder.decode(&frame, &mut intern).unwrap();
    assert_eq!((info.samples, info.refused), (1, 2));
    assert_eq!(decoded(&decoder), some(&[("good", 2.0)]));
}

#[test]
fn a_bomb_of_names_is_refused_before_it_is_unpacked() {
    let mut frame = vec![FRAME_VERSION, FLAG_KEY, 1, 2, 5];
    varint::write(&mut frame, 1_000_000);
    frame.extend([0; 4]);
    let error = Decoder::new().decode(&frame, &mut intern).unwrap_err();
    assert!(matches!(error, FrameError::TooManySeries));
}
