//! Recorded reports, replayed as many hosts: each its own place in the recording and its own size.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_protocol::codec::{Decoder, Encoder, varint};
use xiezhi_protocol::report::Report;

/// Milliseconds between two reports.
pub(crate) const INTERVAL_MS: i64 = 15_000;

/// Reports of one host, as its collectors gave them.
pub(crate) struct Recording {
    series: Vec<Recorded>,
    rows: usize,
}

/// One series of a recording.
struct Recorded {
    text: String,
    /// A value per report; nothing where the series was absent.
    values: Vec<Option<f64>>,
    counter: bool,
    /// What all values are multiples of.
    unit: f64,
}

impl Recording {
    /// Reads length-prefixed frames. At most `most` series are kept, spread over all of them.
    pub(crate) fn read(path: &Path, most: usize, only: &[String]) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let mut rest = bytes.as_slice();
        let mut decoder = Decoder::new();
        let mut reports: Vec<Vec<(String, f64)>> = Vec::new();
        while !rest.is_empty() {
            let length = varint::read(&mut rest).context("a cut recording")? as usize;
            let (frame, after) = rest.split_at_checked(length).context("a cut recording")?;
            rest = after;
            decoder.decode(frame, &mut |text| text.into())?;
            let values = decoder
                .values()
                .map(|(text, value)| (text.to_string(), value));
            reports.push(values.collect());
        }
        let Some(first) = reports.first() else {
            bail!("{} holds no report", path.display());
        };
        let is_kept = |text: &&String| {
            let name = text.split('{').next().unwrap_or_default();
            only.is_empty() || only.iter().any(|kept| kept == name)
        };
        let texts: Vec<String> = first
            .iter()
            .map(|(text, _)| text)
            .filter(is_kept)
            .cloned()
            .collect();
        let every = texts.len() as f64 / most.min(texts.len()).max(1) as f64;
        let chosen = (0..most.min(texts.len()))
            .filter_map(|index| texts.get((index as f64 * every) as usize));
        let series = chosen.map(|text| Recorded::new(text, &reports)).collect();
        Ok(Self {
            series,
            rows: reports.len(),
        })
    }

    /// How many series it has, and how many of them change from one report to the next, on average.
    pub(crate) fn shape(&self) -> (usize, f64) {
        let changes = |series: &Recorded| {
            series
                .values
                .windows(2)
                .filter(|pair| pair[0] != pair[1])
                .count()
        };
        let all: usize = self.series.iter().map(changes).sum();
        (self.series.len(), all as f64 / (self.rows - 1) as f64)
    }
}

impl Recorded {
    fn new(text: &str, reports: &[Vec<(String, f64)>]) -> Self {
        let value = |report: &Vec<(String, f64)>| {
            report
                .iter()
                .find(|(known, _)| known == text)
                .map(|&(_, value)| value)
        };
        let values: Vec<Option<f64>> = reports.iter().map(value).collect();
        let name = text.split('{').next().unwrap_or_default();
        let is_falling = values
            .windows(2)
            .any(|pair| matches!(pair, [Some(a), Some(b)] if b < a));
        let unit = [
            1e4, 4096.0, 1024.0, 512.0, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001,
        ]
        .into_iter()
        .find(|unit| {
            values
                .iter()
                .flatten()
                .all(|value| is_multiple(*value, *unit))
        })
        .unwrap_or(0.0);
        Self {
            text: text.to_owned(),
            counter: !is_falling && (name.ends_with("_total") || name.starts_with("node_vmstat")),
            values,
            unit,
        }
    }
}

fn is_multiple(value: f64, unit: f64) -> bool {
    let times = (value / unit).round();
    (times * unit - value).abs() < unit * 1e-6
}

/// A host that replays a recording.
pub(crate) struct Replay {
    recording: usize,
    row: usize,
    factor: f64,
    random: u64,
    levels: Vec<f64>,
    encoder: Encoder,
    report: Report,
}

impl Replay {
    pub(crate) fn new(index: u64, recordings: &[Recording]) -> Self {
        let mut random = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let recording = (index % recordings.len() as u64) as usize;
        let chosen = &recordings[recording];
        let row = (next(&mut random) % chosen.rows as u64) as usize;
        let factor = 0.4 + (next(&mut random) % 1200) as f64 / 1000.0;
        let start = |series: &Recorded| {
            let level = series
                .values
                .iter()
                .flatten()
                .next()
                .copied()
                .unwrap_or(0.0);
            if series.counter {
                rounded(level * factor, series.unit)
            } else {
                level
            }
        };
        Self {
            recording,
            row,
            factor,
            random,
            levels: chosen.series.iter().map(start).collect(),
            encoder: Encoder::new(INTERVAL_MS as u32),
            report: Report::new(),
        }
    }

    /// The next report. Counters grow by the recorded steps, each a little larger or smaller; gauges
    /// swing around their first value as far as the recorded ones, times the host's factor. What
    /// does not change in the recording does not change here.
    pub(crate) fn next(&mut self, time_ms: i64, recordings: &[Recording]) -> &Report {
        let recording = &recordings[self.recording];
        let before = self.row;
        self.row = (self.row + 1) % recording.rows;
        self.report.start(time_ms);
        for (series, level) in recording.series.iter().zip(&mut self.levels) {
            let Some(value) = series.values[self.row] else {
                continue;
            };
            let noise = 0.75 + (next(&mut self.random) % 500) as f64 / 1000.0;
            let shown = if series.counter {
                let step = series.values[before].map_or(0.0, |before| value - before);
                // The recording begins again: its last step is not known.
                if step > 0.0 {
                    *level = rounded(*level + step * self.factor * noise, series.unit);
                }
                *level
            } else {
                let (first, swing) = (*level, value - *level);
                rounded(first + swing * self.factor, series.unit)
            };
            // The recorded texts are well-formed and few.
            let _kept = self.report.push_series(&series.text, shown);
        }
        &self.report
    }

    /// Series of the last report.
    pub(crate) fn series(&self) -> usize {
        self.report.len()
    }

    /// The next report as a frame.
    pub(crate) fn frame(
        &mut self,
        seq: u64,
        time_ms: i64,
        recordings: &[Recording],
        out: &mut Vec<u8>,
    ) -> xiezhi_protocol::batch::BatchInfo {
        self.next(time_ms, recordings);
        self.encoder.encode(seq, &self.report, out)
    }
}

fn rounded(value: f64, unit: f64) -> f64 {
    if unit == 0.0 {
        return value;
    }
    let times = (value / unit).round();
    // Dividing keeps short decimals short.
    if unit < 1.0 {
        times / (1.0 / unit).round()
    } else {
        times * unit
    }
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}
