//! Measures the store alone: hosts × frames, with what an append costs beside its fdatasync.
//!
//! `cargo run --release -p xiezhi-series --example load -- [hosts] [frames per host] [group]`
//! prints microseconds per frame, bytes per frame, resident memory per host and the cost of a range.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool for people"
)]

use std::time::{Duration, Instant};

use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Frame, SeriesOptions, SeriesStore};

const SERIES: u64 = 150;
const START: i64 = 1_700_000_000_000;

fn main() {
    let number = |index, default: u64| {
        std::env::args()
            .nth(index)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let hosts = number(1, 20_000) as i64;
    let per_host = number(2, 240);
    let group = number(3, 500) as usize;
    let frames = encode(per_host);
    let folder = std::env::temp_dir().join(format!("series-load-{}", std::process::id()));
    let before = resident_bytes();
    let store = SeriesStore::open(&folder, SeriesOptions::default()).expect("open");

    let (wall, cpu) = (Instant::now(), cpu_time());
    for (batch, key, bytes) in &frames {
        let hosts: Vec<i64> = (1..=hosts).collect();
        for part in hosts.chunks(group) {
            let frame = |&host: &i64| Frame {
                host,
                epoch: 1,
                batch: *batch,
                key: *key,
                bytes,
            };
            let part: Vec<Frame<'_>> = part.iter().map(frame).collect();
            store.append(&part).expect("append");
        }
    }
    let count = hosts as f64 * per_host as f64;
    let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
    let stats = store.stats();
    println!(
        "append: {:.2} us of CPU per frame, {:.2} us in all",
        micros(cpu, count),
        micros(wall, count)
    );
    println!("disk: {:.0} bytes per frame", stats.bytes as f64 / count);
    let resident = resident_bytes().saturating_sub(before);
    println!(
        "memory per host: {} bytes counted, {} resident",
        stats.memory_bytes / hosts as u64,
        resident / hosts as u64
    );
    let wall = Instant::now();
    let found = store
        .range(hosts / 2, 0, i64::MAX, &|_| true)
        .expect("range");
    let points: usize = found.iter().map(|one| one.points.len()).sum();
    println!(
        "range of the active log: {points} points in {:?}",
        wall.elapsed()
    );

    let wall = Instant::now();
    drop(store);
    let options = SeriesOptions {
        segment_span: Duration::ZERO,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(&folder, options).expect("open");
    println!("open with the log to read: {:?}", wall.elapsed());
    let (batch, key, bytes) = frames.first().expect("a frame");
    let extra = Frame {
        host: 0,
        epoch: 1,
        batch: *batch,
        key: *key,
        bytes,
    };
    store.append(&[extra]).expect("append");
    let (wall, cpu) = (Instant::now(), cpu_time());
    while store.stats().sealed_segments == 0 || store.stats().log_segments > 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let cpu = cpu_time() - cpu;
    println!(
        "seal: {:.2} us of CPU per frame, {:?} in all",
        micros(cpu, count),
        wall.elapsed()
    );
    let wall = Instant::now();
    let found = store
        .range(hosts / 2, 0, i64::MAX, &|_| true)
        .expect("range");
    let points: usize = found.iter().map(|one| one.points.len()).sum();
    println!(
        "range of a sealed segment: {points} points in {:?}",
        wall.elapsed()
    );
    drop(store);
    let wall = Instant::now();
    drop(SeriesStore::open(&folder, SeriesOptions::default()).expect("open"));
    println!("open with a checkpoint: {:?}", wall.elapsed());
    std::fs::remove_dir_all(&folder).expect("remove");
}

type Encoded = (xiezhi_protocol::batch::BatchInfo, bool, Vec<u8>);

fn encode(per_host: u64) -> Vec<Encoded> {
    let mut encoder = Encoder::new(15_000);
    let mut report = Report::new();
    let frame = |seq| {
        report.start(START + seq as i64 * 15_000);
        for series in 0..SERIES {
            // Half of the series change.
            let value = if series % 2 == 0 {
                (series * 1000 + seq * (series + 3)) as f64
            } else {
                4.5
            };
            let label = series.to_string();
            report
                .push("node_load_metric_total", &[("device", &label)], value)
                .expect("push");
        }
        let mut bytes = Vec::new();
        let batch = encoder.encode(seq, &report, &mut bytes);
        (batch, peek(&bytes).expect("a frame").key, bytes)
    };
    (1..=per_host).map(frame).collect()
}

fn micros(time: Duration, count: f64) -> f64 {
    time.as_secs_f64() * 1e6 / count
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
