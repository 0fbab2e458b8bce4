//! Tests of polls: what goes comes back, within bounds, and damage is told.

use proptest::prelude::*;

use super::*;

fn about() -> About {
    About {
        state: DeviceState::Partial,
        problem: "deadline".to_owned(),
        address: "10.62.0.9:161".to_owned(),
        profile: "h3c-switch".to_owned(),
        profile_version: 3,
        kind: "switch".to_owned(),
        label_zh: "华三交换机".to_owned(),
        name: "甘-core".to_owned(),
        facts: [("serial".to_owned(), "0000".to_owned())].into(),
        uptime_s: Some(86_400),
        every_s: 60,
        ports: (1..=3).map(port).collect(),
        left_out: [("counter_went_back".to_owned(), 2)].into(),
        ..About::default()
    }
}

fn port(number: usize) -> PortAbout {
    PortAbout {
        name: format!("GigabitEthernet1/0/{number}"),
        alias: "法庭".to_owned(),
        speed: 1_000_000_000,
        enabled: true,
        state: "up".to_owned(),
        ..PortAbout::default()
    }
}

/// A switch of so many ports, a few scalars and a table with holes.
fn switch(ports: usize) -> Poll {
    let octets = |port: usize| Some(PollValue::Unsigned(u64::MAX - (port as u64) * 977_131));
    let column = |name: &str, counter, values| PollColumn {
        name: name.to_owned(),
        counter,
        values,
    };
    let names = |port: usize| vec![format!("GigabitEthernet1/0/{port}"), "法庭".to_owned()];
    Poll {
        device: "core-1".to_owned(),
        time_ms: 1_790_000_000_000,
        part: (0, 1),
        about: Some(about()),
        tables: vec![
            PollTable {
                labels: Vec::new(),
                rows: vec![Vec::new()],
                columns: vec![
                    column("up", false, vec![Some(PollValue::Integer(1))]),
                    column("temperature", false, vec![Some(PollValue::Real(-1.5))]),
                    column("absent", false, vec![None]),
                ],
            },
            PollTable {
                labels: vec!["ifName".to_owned(), "ifAlias".to_owned()],
                rows: (0..ports).map(names).collect(),
                columns: vec![
                    column("ifHCInOctets", true, (0..ports).map(octets).collect()),
                    column(
                        "ifMixed",
                        false,
                        (0..ports)
                            .map(|port| match port % 4 {
                                0 => None,
                                1 => Some(PollValue::Integer(-7)),
                                2 => Some(PollValue::Real(0.1)),
                                _ => octets(port),
                            })
                            .collect(),
                    ),
                ],
            },
        ],
    }
}

fn batch(poll: &Poll) -> Vec<u8> {
    let mut content = Vec::new();
    poll.encode_content(&mut content).unwrap();
    let mut bytes = Vec::new();
    encode_poll(9, poll.time_ms, &content, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_poll_comes_back_as_it_went() {
    let poll = switch(21);
    let bytes = batch(&poll);
    let (info, read) = read_poll(&bytes).unwrap();
    assert_eq!((info.seq, info.time_ms), (9, poll.time_ms));
    assert_eq!(peek_poll(&bytes).unwrap(), info);
    assert_eq!(read, poll);
    assert_eq!(read.samples(), 2 + 21 + 15);
}

#[test]
fn damage_of_any_bit_is_told() {
    let bytes = batch(&switch(5));
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            let read = read_poll(&damaged);
            assert!(
                read.is_err(),
                "byte {position} of {}, bit {bit}",
                bytes.len()
            );
        }
    }
    for length in 0..bytes.len() {
        assert!(read_poll(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_poll_that_is_too_large_becomes_parts_that_hold_all_of_it() {
    let mut poll = switch(4_000);
    // Text that no deflating makes small.
    for (number, row) in poll.tables[1].rows.iter_mut().enumerate() {
        let mut seed = number as u64;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from_u32(0x4e00 + (seed >> 40) as u32 % 20_000).unwrap()
        });
        row[1] = noise.take(60).collect();
    }
    let whole = poll.encode_content(&mut Vec::new());
    assert!(
        matches!(whole, Err(PollError::TooLarge("bytes"))),
        "{whole:?}"
    );
    let contents = poll.encode_parts().unwrap();
    assert!(contents.len() > 1);
    let parts: Vec<Poll> = contents
        .iter()
        .map(|content| {
            assert!(content.len() <= MAX_POLL_BYTES);
            let mut bytes = Vec::new();
            encode_poll(1, poll.time_ms, content, &mut bytes).unwrap();
            read_poll(&bytes).unwrap().1
        })
        .collect();
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part.part, (number as u16, parts.len() as u16));
        assert_eq!(part.about.is_some(), number == 0);
    }
    let rows: Vec<_> = (parts.iter().flat_map(|part| &part.tables))
        .filter(|table| !table.labels.is_empty())
        .flat_map(|table| table.rows.clone())
        .collect();
    assert_eq!(rows, poll.tables[1].rows);
    let samples: usize = parts.iter().map(Poll::samples).sum();
    assert_eq!(samples, poll.samples());
    let small = switch(10).encode_parts().unwrap();
    let mut same = Vec::new();
    switch(10).encode_content(&mut same).unwrap();
    assert_eq!(small, [same], "what fits is one content");
}

#[test]
fn what_a_reader_would_refuse_is_refused_when_it_is_written() {
    let refused = |change: fn(&mut Poll)| {
        let mut poll = switch(3);
        change(&mut poll);
        let mut out = vec![7];
        let error = poll.encode_content(&mut out).unwrap_err();
        assert_eq!(out, [7], "nothing half written");
        error.to_string()
    };
    insta::assert_snapshot!(
        [
            refused(|poll| poll.device = "../etc".to_owned()),
            refused(|poll| poll.device = "x".repeat(64)),
            refused(|poll| poll.device = "link:".to_owned()),
            refused(|poll| poll.device = "link:link:x".to_owned()),
            refused(|poll| poll.part = (1, 1)),
            refused(|poll| poll.tables[1].labels[0] = "__name__".to_owned()),
            refused(|poll| poll.tables[1].columns[0].name = "if-in".to_owned()),
            refused(|poll| poll.tables[1].columns[0].name = "x".repeat(201)),
            refused(|poll| drop(poll.tables[1].rows[1].pop())),
            refused(|poll| poll.tables[1].columns[1].values.truncate(2)),
            refused(|poll| poll.tables[0].columns[1].values[0] = Some(PollValue::Real(f64::NAN))),
            refused(|poll| poll.tables = vec![PollTable::default(); MAX_TABLES + 1]),
            refused(|poll| {
                let row = vec!["x".to_owned(); 2];
                poll.tables[1].rows = vec![row; MAX_SERIES_PER_POLL + 1];
            }),
        ]
        .join("\n")
    );
}

#[test]
fn a_link_has_the_place_of_a_device_and_no_devices_name() {
    let mut poll = switch(1);
    poll.device = link_source("core-1");
    let back = read_poll(&batch(&poll)).unwrap().1;
    assert_eq!(link_of(&back.device), Some("core-1"));
    assert_eq!(link_of("core-1"), None);
    assert!(!is_device_name(&back.device));
}

#[test]
fn texts_are_cut_and_carry_no_control_characters() {
    let mut poll = switch(1);
    poll.tables[1].rows[0][1] = "a\u{1b}[31m".to_owned() + &"院".repeat(1_000);
    poll.about.as_mut().unwrap().description = "two\nlines".to_owned();
    let ports = vec![port(1); MAX_PORTS + 5];
    poll.about.as_mut().unwrap().ports = ports;
    let read = read_poll(&batch(&poll)).unwrap().1;
    let alias = &read.tables[1].rows[0][1];
    assert!(alias.starts_with("a [31m院") && alias.len() <= MAX_TEXT_BYTES);
    let about = read.about.unwrap();
    assert_eq!(about.description, "two lines");
    assert_eq!(about.ports.len(), MAX_PORTS);
}

#[test]
fn what_a_newer_agent_says_of_a_device_is_read() {
    let newer =
        r#"{"state":"asleep","something_new":{"a":[1]},"ports":[{"name":"eth0","lanes":4}]}"#;
    let about: About = serde_json::from_str(newer).unwrap();
    assert_eq!(about.state, DeviceState::Unknown);
    assert_eq!(about.ports[0].name, "eth0");
    let many = format!(r#"{{"ports":[{}{{}}]}}"#, "{},".repeat(MAX_PORTS));
    let error = serde_json::from_str::<About>(&many).unwrap_err();
    assert!(error.to_string().contains("at most 2000"), "{error}");
    let facts: Vec<_> = (0..=MAX_FACTS).map(|n| format!(r#""f{n}":"x""#)).collect();
    let many = format!(r#"{{"facts":{{{}}}}}"#, facts.join(","));
    assert!(serde_json::from_str::<About>(&many).is_err());
}

#[test]
fn a_body_that_unfolds_without_end_is_refused() {
    let mut content = vec![POLL_VERSION, 0, 1];
    crate::codec::varint::write(&mut content, 100);
    let mut deflate = flate2::write::DeflateEncoder::new(content, flate2::Compression::default());
    std::io::Write::write_all(&mut deflate, &vec![0; 8 << 20]).unwrap();
    let content = deflate.finish().unwrap();
    let mut bytes = Vec::new();
    encode_poll(1, 2, &content, &mut bytes).unwrap();
    assert!(matches!(read_poll(&bytes), Err(PollError::Malformed)));
    let long = vec![0; MAX_POLL_BYTES + 1];
    assert!(encode_poll(1, 2, &long, &mut bytes).is_err());
}

fn value() -> impl Strategy<Value = Option<PollValue>> {
    prop_oneof![
        Just(None),
        any::<i64>().prop_map(|value| Some(PollValue::Integer(value))),
        any::<u64>().prop_map(|value| Some(PollValue::Unsigned(value))),
        prop::num::f64::NORMAL.prop_map(|value| Some(PollValue::Real(value))),
    ]
}

fn table() -> impl Strategy<Value = PollTable> {
    (0usize..4, 0usize..20, 0usize..5).prop_flat_map(|(width, height, count)| {
        let label = "[a-zA-Z][a-zA-Z0-9_]{0,8}";
        let row = prop::collection::vec("[^\\p{Cc}]{0,12}", width);
        let values = prop::collection::vec(value(), height);
        let column = ("[a-zA-Z_][a-zA-Z0-9_]{0,12}", any::<bool>(), values);
        let column = column.prop_map(|(name, counter, values)| PollColumn {
            name,
            counter,
            values,
        });
        (
            prop::collection::vec(label, width),
            prop::collection::vec(row, height),
            prop::collection::vec(column, count),
        )
            .prop_map(|(labels, rows, columns)| PollTable {
                labels,
                rows,
                columns,
            })
    })
}

proptest! {
    #[test]
    fn any_poll_comes_back_as_it_went(
        tables in prop::collection::vec(table(), 0..4),
        time_ms in any::<i64>(),
        is_told in any::<bool>(),
    ) {
        let poll = Poll {
            device: "a".to_owned(),
            time_ms,
            part: (0, 1),
            about: is_told.then(about),
            tables,
        };
        prop_assert_eq!(read_poll(&batch(&poll)).unwrap().1, poll);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(read_poll(&bytes));
        let mut whole = Vec::new();
        if encode_poll(1, 2, &bytes, &mut whole).is_ok() {
            drop(read_poll(&whole));
        }
    }

    /// A checksum that is right says nothing of who made the body.
    #[test]
    fn a_body_of_arbitrary_bytes_never_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut content = vec![POLL_VERSION, 0, 1];
        crate::codec::varint::write(&mut content, body.len() as u64);
        let mut deflate =
            flate2::write::DeflateEncoder::new(content, flate2::Compression::fast());
        std::io::Write::write_all(&mut deflate, &body).unwrap();
        let mut whole = Vec::new();
        encode_poll(1, 2, &deflate.finish().unwrap(), &mut whole).unwrap();
        drop(read_poll(&whole));
    }
}
