//! Stores replayed reports as fast as the store takes them, with the clock moved along.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xiezhi_protocol::batch::BatchInfo;
use xiezhi_protocol::codec::peek;
use xiezhi_series::{Clock, Frame, Sealing, SeriesOptions, SeriesStore};

use crate::replay::{INTERVAL_MS, Recording, Replay};
use crate::{Arguments, cpu_time, resident_mib};

/// Frames of one append: what a commit of a busy controller carries.
const GROUP: usize = 500;

pub(crate) fn feed(arguments: &Arguments) -> Result<()> {
    let recordings = recordings(arguments)?;
    for recording in &recordings {
        let (series, changing) = recording.shape();
        println!("recording {series} series, {changing:.0} of them change per report");
    }
    let now = Arc::new(AtomicI64::new(arguments.start_ms));
    let clock = Arc::clone(&now);
    let options = SeriesOptions {
        clock: Clock::new(move || clock.load(Ordering::Relaxed)),
        sealing: Sealing::Manual,
        seal_bytes_per_s: u64::MAX,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open(&arguments.folder, options)?;
    let before = resident_mib().0;
    let count = arguments.templates.min(arguments.hosts as usize);
    let mut templates: Vec<Replay> = (0..count as u64)
        .map(|index| Replay::new(index, &recordings))
        .collect();
    let with_templates = resident_mib().0;
    let reports = arguments.minutes * 60_000 / INTERVAL_MS as u64;
    let mut encoded: Vec<Option<(BatchInfo, bool, Vec<u8>)>> = Vec::new();
    let (mut samples, mut encoding, mut payload) = (0u64, Duration::ZERO, 0u64);
    let (mut cutting, mut passes) = (Duration::ZERO, 0);
    let (wall, cpu) = (Instant::now(), cpu_time());
    for seq in 1..=reports {
        let time_ms = arguments.start_ms + seq as i64 * INTERVAL_MS;
        now.store(time_ms + 900, Ordering::Relaxed);
        let begin = cpu_time();
        encoded.clear();
        for (index, template) in templates.iter_mut().enumerate() {
            if !arguments.is_active(index, seq, reports) {
                encoded.push(None);
                continue;
            }
            let mut bytes = Vec::new();
            let batch = template.frame(seq, time_ms, &recordings, &mut bytes);
            let key = peek(&bytes).context("a frame")?.key;
            encoded.push(Some((batch, key, bytes)));
        }
        encoding += cpu_time() - begin;
        let frame = |host: i64| {
            let template = host as usize % count;
            let (batch, key, bytes) = encoded[template].as_ref()?;
            let (batch, key) = (*batch, *key);
            Some((
                templates[template].series(),
                Frame {
                    host: host + 1,
                    epoch: 1,
                    batch,
                    key,
                    bytes,
                },
            ))
        };
        let frames: Vec<(usize, Frame<'_>)> = (0..arguments.hosts).filter_map(frame).collect();
        samples += frames.iter().map(|(series, _)| *series as u64).sum::<u64>();
        payload += frames
            .iter()
            .map(|(_, frame)| frame.bytes.len() as u64)
            .sum::<u64>();
        let frames: Vec<Frame<'_>> = frames.into_iter().map(|(_, frame)| frame).collect();
        for group in frames.chunks(GROUP) {
            store.append(group)?;
        }
        if seq % 8 == 0 || seq == reports {
            let begin = cpu_time();
            store.maintain()?;
            cutting += cpu_time() - begin;
            passes += 1;
        }
    }
    let total = cpu_time() - cpu - encoding;
    let (millions, stats) = (samples as f64 / 1e6, store.stats());
    let (resident, highest) = resident_mib();
    let end_ms = arguments.start_ms + reports as i64 * INTERVAL_MS;
    println!("end_ms {end_ms}");
    println!("samples {samples}");
    println!("reports_per_host {reports}");
    println!("wall_s {:.1}", wall.elapsed().as_secs_f64());
    println!("cpu_s_per_million {:.4}", total.as_secs_f64() / millions);
    println!(
        "cutting_s_per_million {:.4}",
        cutting.as_secs_f64() / millions
    );
    println!("passes {passes}");
    println!(
        "wire_bytes_per_sample {:.3}",
        payload as f64 / samples as f64
    );
    println!(
        "store_bytes_per_sample {:.3}",
        stats.bytes as f64 / samples as f64
    );
    println!(
        "disk_bytes_per_sample {:.3}",
        disk_bytes(&arguments.folder)? as f64 / samples as f64
    );
    println!("series {}", stats.series);
    println!(
        "counted_bytes_per_series {}",
        stats.memory_bytes / stats.series.max(1)
    );
    println!("resident_mib {resident:.0}");
    println!("highest_mib {highest:.0}");
    println!("feeder_mib {:.0}", with_templates - before);
    println!("damaged {}", stats.damaged);
    println!("undecodable {}", stats.undecodable);
    Ok(())
}

/// The recordings that the command line names.
pub(crate) fn recordings(arguments: &Arguments) -> Result<Vec<Recording>> {
    let read = |path: &std::path::PathBuf| Recording::read(path, arguments.series, &arguments.only);
    let recordings: Vec<Recording> = arguments
        .recordings
        .iter()
        .map(read)
        .collect::<Result<_>>()?;
    anyhow::ensure!(!recordings.is_empty(), "name recordings");
    Ok(recordings)
}

/// What `du` says of the folder.
fn disk_bytes(folder: &std::path::Path) -> Result<u64> {
    let said = std::process::Command::new("du")
        .arg("-s")
        .arg("--block-size=1")
        .arg(folder)
        .output()?;
    let text = String::from_utf8(said.stdout)?;
    Ok(text
        .split_ascii_whitespace()
        .next()
        .context("du said nothing")?
        .parse()?)
}
