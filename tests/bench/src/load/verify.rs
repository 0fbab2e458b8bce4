//! After a run, with the controller stopped: is what was acknowledged there, and what does sealing
//! cost?

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use xiezhi_protocol::batch::BatchInfo;
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_series::{Frame, Sealing, SeriesOptions, SeriesStore};

use super::fleet::Acknowledged;

/// Clock ticks per second in `/proc/PID/stat`; fixed at 100 for programs on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Compares what the hosts saw acknowledged with what the store holds.
///
/// # Errors
/// A file or the store cannot be read.
pub fn acknowledged(data: &Path, file: &Path) -> Result<String> {
    let text = std::fs::read(file).context("reading what was acknowledged")?;
    let acknowledged: Acknowledged = serde_json::from_slice(&text)?;
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(&data.join("series"), options)?;
    let (mut checked, mut missing, mut stored, mut repeated, mut epochs) = (0, 0, 0, 0, 0);
    for (host, ranges) in &acknowledged {
        let mut there = RangeSet::new();
        let mut last_epoch = None;
        for frame in store.frames(*host)? {
            stored += 1;
            repeated += u64::from(!there.insert(frame.batch.seq));
            epochs += u64::from(last_epoch.is_some_and(|epoch| epoch != frame.epoch));
            last_epoch = Some(frame.epoch);
        }
        for seq in ranges
            .ranges()
            .iter()
            .flat_map(|(first, last)| *first..=*last)
        {
            checked += 1;
            missing += u64::from(!there.contains(seq));
        }
    }
    let damaged = store.verify()?.damaged.len();
    Ok(format!(
        "hosts {}\nacknowledged {checked}\nmissing {missing}\nstored {stored}\nrepeated {repeated}\n\
         epoch_changes {epochs}\ndamaged {damaged}\n",
        acknowledged.len()
    ))
}

/// Seals everything that the store holds and says what that took.
///
/// # Errors
/// The store cannot be opened or sealed.
pub fn seal(data: &Path) -> Result<String> {
    let options = SeriesOptions {
        sealing: Sealing::Manual,
        segment_span: Duration::from_millis(1),
        seal_bytes_per_s: u64::MAX,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(&data.join("series"), options)?;
    let before = store.stats();
    // The log that was written last is closed by the next frame after its time.
    let batch = BatchInfo {
        seq: 1,
        time_ms: 0,
        checksum: 0,
    };
    store.append(&[Frame {
        host: i64::MAX,
        epoch: 1,
        batch,
        key: true,
        bytes: &[0],
    }])?;
    let cpu = own_cpu_s()?;
    store.maintain()?;
    let cpu = own_cpu_s()? - cpu;
    let after = store.stats();
    Ok(format!(
        "seal_cpu_s {cpu:.2}\nbytes_before {}\nbytes_after {}\nsealed {}\n",
        before.bytes,
        after.bytes,
        after.sealed_segments - before.sealed_segments
    ))
}

/// CPU time of this process so far, seconds.
pub(super) fn own_cpu_s() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = text
        .rsplit_once(')')
        .context("an unexpected /proc/self/stat")?;
    let ticks = rest
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}
