//! What series of a foreign source cost in memory and on disk, held to stated figures.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::power::PowerDisk;
use common::{ManualClock, options};
use xiezhi_series::{ForeignSeries, SeriesStore};

/// A tenth of what a vmagent of 50,000 series sends in half an hour.
const SERIES: usize = 5_000;
const SCRAPES: i64 = 120;

fn text(number: usize) -> String {
    format!(
        "node_network_receive_bytes_total{{device=\"eth{}\",instance=\"10.20.{}.{}:9100\",\
         job=\"node\",rack=\"r{}\"}}",
        number % 4,
        number / 1000,
        number / 4 % 250,
        number % 40
    )
}

fn value(number: usize, scrape: i64) -> f64 {
    let scrape = scrape as f64;
    match number % 4 {
        0 => 5.0,
        1 => scrape * 1_234_567.0 + number as f64,
        2 => ((scrape * 7.0 + number as f64) % 100.0) / 4.0,
        _ => scrape,
    }
}

#[test]
fn a_series_of_half_an_hour_takes_a_kilobyte_of_memory_and_little_disk() {
    let clock = ManualClock::new();
    let disk = PowerDisk::default();
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options(&clock)).unwrap();
    let texts: Vec<String> = (0..SERIES).map(text).collect();
    let before = store.stats().memory_bytes;
    for scrape in 0..SCRAPES {
        let time_ms = clock.clock().now_ms();
        for (chunk, texts) in texts.chunks(1000).enumerate() {
            let points: Vec<[(i64, f64); 1]> = (0..texts.len())
                .map(|place| [(time_ms, value(chunk * 1000 + place, scrape))])
                .collect();
            let series: Vec<ForeignSeries<'_>> = texts
                .iter()
                .zip(&points)
                .map(|(text, points)| ForeignSeries { text, points })
                .collect();
            let report = store.append_foreign(-1, &series).unwrap();
            assert_eq!(report.stored, texts.len() as u64);
        }
        clock.advance(Duration::from_secs(15));
    }
    let samples = SERIES as u64 * SCRAPES as u64;
    let memory = (store.stats().memory_bytes - before) / SERIES as u64;
    let log = disk.length("wal-0000000001.log") as f64 / samples as f64;
    clock.advance(Duration::from_secs(3600));
    let rotation = [ForeignSeries {
        text: "rotation",
        points: &[(clock.clock().now_ms(), 1.0)],
    }];
    store.append_foreign(-1, &rotation).unwrap();
    store.maintain().unwrap();
    let block = disk.length("block-0000000001-0000000001.xzb") as f64 / samples as f64;
    let figures =
        format!("{memory} B a series, {log:.2} B a sample in the log, {block:.2} in the block");
    assert!(memory < 1200, "{figures}");
    assert!(log < 4.0, "{figures}");
    assert!(block < 2.5, "{figures}");
}
