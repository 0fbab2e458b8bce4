//! Bodies of remote write: what any program with a token can send.

use std::collections::BTreeMap;
use std::sync::Arc;

use xiezhi_metrics::ASSIGNED;
use xiezhi_metrics::remote_write::{Protocol, Rules, check, decode, descriptions, receive};
use xiezhi_promql::{Named, plain_name};
use xiezhi_protocol::report::parse_series;
use xiezhi_series::{Sealing, SeriesOptions, SeriesStore};

use crate::disk::Memory;

/// A source; its key is below zero.
const SOURCE: i64 = -3;

/// These bytes as a body, and what follows the first byte as the message within a body: whatever they
/// are, an error or series; what is accepted is stored once, and read back as it was sent.
pub fn remote_write(bytes: &[u8]) {
    for protocol in [Protocol::V1, Protocol::V2] {
        take(protocol, bytes);
    }
    let Some((version, plain)) = bytes.split_first() else {
        return;
    };
    let protocol = match version % 2 {
        0 => Protocol::V1,
        _ => Protocol::V2,
    };
    let body = snap::raw::Encoder::new()
        .compress_vec(plain)
        .expect("inputs are small");
    take(protocol, &body);
}

fn take(protocol: Protocol, body: &[u8]) {
    let rules = Rules {
        oldest_ms: 0,
        newest_ms: 2_000_000_000_000,
        assigned: &ASSIGNED,
    };
    let Ok(request) = decode(protocol, body) else {
        return;
    };
    let _told = descriptions(&request);
    let Ok(checked) = check(&request, &rules) else {
        return;
    };
    let mut sent: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
    for series in &checked.series {
        let text = series.text();
        let (name, labels) = parse_series(&text).expect("a series has a canonical text");
        assert_eq!(plain_name(name, Named::Metric), series.name);
        let labels = labels.into_iter();
        let mut labels: Vec<_> = labels
            .map(|(label, value)| (plain_name(label, Named::Label).into_owned(), value))
            .collect();
        labels.sort_unstable();
        assert_eq!(labels, series.labels, "labels are told as they came");
        let times: Vec<i64> = series.samples.iter().map(|sample| sample.0).collect();
        assert!(times.is_sorted_by(|before, time| before < time));
        let points = sent.entry(text).or_default();
        for &(time_ms, value) in &series.samples {
            points.entry(time_ms).or_insert(value.to_bits());
        }
    }
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open_on(Arc::new(Memory::default()), options)
        .expect("a store opens over nothing");
    let first = receive(&store, SOURCE, &request, &rules).expect("memory does not fail");
    let again = receive(&store, SOURCE, &request, &rules).expect("memory does not fail");
    assert_eq!(again.stored, 0, "a sample is stored twice");
    let stored = store
        .range(SOURCE, i64::MIN, i64::MAX, &|_| true)
        .expect("memory does not fail");
    let mut read = 0;
    for series in &stored {
        let points = sent.get(&*series.series).expect("a series was sent");
        for (time_ms, value) in &series.points {
            read += 1;
            let sent = points.get(time_ms).copied().expect("a time was sent");
            assert!(value.to_bits() == sent || value.is_nan());
        }
    }
    assert!(
        read <= first.stored,
        "stale markers are left out, and nothing is added"
    );
}
