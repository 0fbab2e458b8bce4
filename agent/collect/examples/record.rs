//! Records this machine's reports, for the benchmark rows that replay them
//! (`tests/bench/recordings`).
//!
//! `cargo run --release -p xiezhi-collect --example record -- FILE MINUTES`
//!
//! A report every 15 seconds, at full ones, as the agent makes them; each is appended as a frame with
//! its length before it, so a recording that is ended early is whole as far as it goes.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xiezhi_collect::{Collectors, HostRoot, Options};
use xiezhi_protocol::codec::{Encoder, varint};
use xiezhi_protocol::report::Report;

const INTERVAL_MS: u64 = 15_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(path), Some(minutes)) = (words.next(), words.next()) else {
        return Err("say FILE and MINUTES".into());
    };
    let reports = minutes.parse::<u64>()? * 60_000 / INTERVAL_MS;
    let mut file = File::create(path)?;
    let mut collectors = Collectors::new(HostRoot::real(), Options::default());
    let mut encoder = Encoder::new(INTERVAL_MS as u32);
    let mut report = Report::new();
    for seq in 1..=reports {
        let time_ms = wait_for_the_next()?;
        collectors.collect(time_ms, &mut report);
        let (mut frame, mut record) = (Vec::new(), Vec::new());
        encoder.encode(seq, &report, &mut frame);
        varint::write(&mut record, frame.len() as u64);
        record.extend_from_slice(&frame);
        file.write_all(&record)?;
    }
    Ok(())
}

/// Sleeps until the next full interval and tells its time.
fn wait_for_the_next() -> Result<i64, Box<dyn std::error::Error>> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let next_ms = (now_ms / INTERVAL_MS + 1) * INTERVAL_MS;
    std::thread::sleep(Duration::from_millis(next_ms - now_ms));
    Ok(next_ms as i64)
}
