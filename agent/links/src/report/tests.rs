//! From packets to the numbers of an interval.

use std::time::Duration;

use super::*;
use crate::config::Link;
use crate::interval::Way;
use crate::ledger::Counts;

fn measured() -> Measured {
    let counts = Counts {
        sent: 100,
        answered: 97,
        lost: 3,
        lost_forward: 2,
        lost_backward: 1,
        ..Counts::default()
    };
    let spread = Spread {
        min: 10_000_000,
        median: 10_120_000,
        p95: 12_000_000,
        max: 20_000_000,
    };
    let way = Way {
        ipdv_mean: Some(50_000),
        pdv_p95: Some(2_000_000),
        delay: None,
    };
    Measured {
        link: Link {
            name: "centre".to_owned(),
            peer: "10.8.0.1:20862".parse().unwrap(),
            source: None,
            key: None,
            rate: 10,
            size: 44,
            every: Duration::from_secs(60),
            timeout: Duration::from_secs(2),
            stateful: true,
            note: "电信 20M".to_owned(),
            file: "a.yaml".to_owned(),
        },
        time_ms: 7,
        totals: Totals {
            counts,
            ..Totals::default()
        },
        before: Totals::default(),
        summary: Summary {
            round_trip: Some(spread),
            ipdv_mean: Some(60_000),
            ways: [way; 2],
            error: None,
        },
    }
}

fn series(poll: &Poll) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for table in &poll.tables {
        for (place, row) in table.rows.iter().enumerate() {
            for column in &table.columns {
                if let Some(value) = column.values[place] {
                    found.insert(format!("{}{row:?}", column.name), value.as_f64());
                }
            }
        }
    }
    found
}

#[test]
fn an_interval_crosses_the_line_as_a_poll_of_its_link() {
    let poll = poll(&measured());
    let mut content = Vec::new();
    poll.encode_content(&mut content).unwrap();
    // The texts are most of it; numbers are under 300 bytes.
    assert!(content.len() < 1600, "{} bytes", content.len());
    assert_eq!(poll.device, "link:centre");
    let series = series(&poll);
    for (name, value) in [
        ("up[]", 1.0),
        ("stamp_rtt_median_seconds[]", 0.010_12),
        ("stamp_sent_total[]", 100.0),
        ("stamp_lost_by_direction_total[\"forward\"]", 2.0),
        ("stamp_lost_by_direction_total[\"backward\"]", 1.0),
        ("stamp_pdv_p95_seconds[\"backward\"]", 0.002),
        ("stamp_refused_total[\"signature\"]", 0.0),
    ] {
        assert_eq!(series.get(name), Some(&value), "{name} in {series:?}");
    }
    assert!(!series.keys().any(|name| name.starts_with("stamp_delay")));
    let explained: Vec<&str> = NAMES.iter().map(|name| name.0).collect();
    for name in series.keys() {
        let name = name.split('[').next().unwrap();
        assert!(
            name == "up" || explained.contains(&name),
            "{name} has no text"
        );
    }
}

#[test]
fn what_keeps_the_other_end_from_answering_is_told() {
    let told = |change: fn(&mut Totals)| {
        let mut totals = Totals::default();
        change(&mut totals);
        state(&totals, &Totals::default())
    };
    assert_eq!(told(|_| ()), (DeviceState::Unknown, ""));
    assert_eq!(told(|totals| totals.counts.sent = 1).1, "no_answer");
    assert_eq!(told(|totals| totals.unsent = 1).1, "no_way");
    assert_eq!(told(|totals| totals.unreachable = 1).1, "no_way");
    assert_eq!(told(|totals| totals.closed = 1).1, "nobody_listens");
    assert_eq!(told(|totals| totals.refused[2] = 1).1, "wrong_key");
    let both = told(|totals| {
        totals.counts.answered = 1;
        totals.refused[2] = 1;
    });
    assert_eq!(both, (DeviceState::Answered, ""));
}
