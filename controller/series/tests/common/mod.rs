//! What the tests share: a disk that loses power, frames, and a clock.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

pub mod power;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use xiezhi_protocol::batch::BatchInfo;
use xiezhi_series::{Clock, Frame, Sealing, SeriesOptions};

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
        clock: clock.clock(),
        ..SeriesOptions::default()
    }
}
