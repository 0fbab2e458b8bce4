//! What the tests share: a disk that loses power, frames, and a clock.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of it; a test that panics has found something"
)]

pub mod foreign;
pub mod power;
pub mod scene;
pub mod telling;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use xiezhi_protocol::batch::BatchInfo;
use xiezhi_series::{AskAgain, Clock, Frame, Sealing, SeriesOptions};

/// The disk is asked at each time, and no start waits.
pub const AT_ONCE: AskAgain = AskAgain {
    opening: Duration::ZERO,
    sector: Duration::ZERO,
    doubt: Duration::ZERO,
    now: std::time::Instant::now,
};

/// A frame that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub host: i64,
    pub epoch: u64,
    pub batch: BatchInfo,
    pub key: bool,
    pub bytes: Vec<u8>,
}

impl Owned {
    /// A frame whose content is told by its number and `content`.
    pub fn opaque(host: i64, epoch: u64, seq: u64, content: u8) -> Self {
        let text = format!("host {host} epoch {epoch} seq {seq} content {content} ");
        let bytes = text
            .repeat(1 + (seq as usize * 7 + host as usize) % 5)
            .into_bytes();
        let checksum = crc32(&bytes);
        let batch = BatchInfo {
            seq,
            time_ms: 1_700_000_000_000 + seq as i64 * 15_000,
            checksum,
        };
        Self {
            host,
            epoch,
            batch,
            key: seq % 240 == 1,
            bytes,
        }
    }

    pub fn frame(&self) -> Frame<'_> {
        Frame {
            host: self.host,
            epoch: self.epoch,
            batch: self.batch,
            key: self.key,
            bytes: &self.bytes,
        }
    }
}

/// A host that sends real frames of a few dozen series.
pub struct Reporter {
    pub host: i64,
    encoder: xiezhi_protocol::codec::Encoder,
}

impl Reporter {
    pub fn new(host: i64) -> Self {
        Self {
            host,
            encoder: xiezhi_protocol::codec::Encoder::new(15_000),
        }
    }

    /// The series of a report and their values.
    pub fn values(host: i64, seq: u64) -> Vec<(String, f64)> {
        let series = |index: u64| {
            let name = format!("metric_{}_total{{n=\"{}\"}}", index / 4, index % 4);
            let value = match index % 3 {
                0 => 5.5,
                1 => (seq * (index + 1)) as f64,
                _ => ((seq * 7919 + host as u64 * 31 + index) % 1000) as f64 / 8.0,
            };
            (name, value)
        };
        (0..40).map(series).collect()
    }

    pub fn report(&mut self, seq: u64) -> Owned {
        self.report_at(seq, 1_700_000_010_000 + seq as i64 * 15_000)
    }

    pub fn report_at(&mut self, seq: u64, time_ms: i64) -> Owned {
        let mut report = xiezhi_protocol::report::Report::new();
        report.start(time_ms);
        for (series, value) in Self::values(self.host, seq) {
            report.push_series(&series, value).unwrap();
        }
        let mut bytes = Vec::new();
        let batch = self.encoder.encode(seq, &report, &mut bytes);
        Owned {
            host: self.host,
            epoch: 1,
            batch,
            key: xiezhi_protocol::codec::peek(&bytes).unwrap().key,
            bytes,
        }
    }
}

pub fn frames(owned: &[Owned]) -> Vec<Frame<'_>> {
    owned.iter().map(Owned::frame).collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(17, |sum: u32, &byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    })
}

/// A clock that tests turn.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
    }

    pub fn back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as i64, Ordering::Relaxed);
    }

    pub fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Clock::new(move || now.load(Ordering::Relaxed))
    }
}

/// Small segments, sealed by hand, without a pace.
pub fn options(clock: &ManualClock) -> SeriesOptions {
    SeriesOptions {
        sealing: Sealing::Manual,
        seal_bytes_per_s: u64::MAX,
        ask_again: AT_ONCE,
        clock: clock.clock(),
        ..SeriesOptions::default()
    }
}
