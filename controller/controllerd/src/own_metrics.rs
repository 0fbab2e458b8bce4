//! The controller's own numbers as samples, every 15 s, beside those of the hosts: so that a
//! dashboard or a rule about the controller is like any other.
//!
//! They are frames of a host with number 0, which no enrolled host has and only people who see the
//! whole province see. Losing some at a crash is no loss worth a spool.

use std::time::Duration;

use anyhow::{Context as _, Result};
use prometheus::{Counter, IntGauge, IntGaugeVec, Opts, Registry, proto::MetricType};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use xiezhi_api::OWN_HOST;
use xiezhi_ingest::Fleet;
use xiezhi_model::Presence;
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::report::Report;
use xiezhi_series::{Appended, Frame, SeriesStore};

use crate::clock::now_ms;

/// As the agents' default.
const INTERVAL: Duration = Duration::from_secs(15);
const INTERVAL_MS: u32 = 15_000;

/// Numbers that are looked up rather than counted as they happen.
struct Gauges {
    hosts: IntGaugeVec,
    series_bytes: IntGauge,
    series: IntGauge,
    series_refused: Counter,
    samples: IntGauge,
    damaged: IntGauge,
    undecoded: IntGauge,
    set_aside: IntGauge,
    refused_files: IntGauge,
    stray_files: IntGauge,
    without_steps: Counter,
    memory_bytes: IntGauge,
    resident_bytes: IntGauge,
    cpu_seconds: Counter,
}

impl Gauges {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<Counter, prometheus::Error> {
            let counter = Counter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let hosts = IntGaugeVec::new(
            Opts::new("xiezhi_fleet_hosts", "Enrolled hosts by presence."),
            &["presence"],
        )?;
        registry.register(Box::new(hosts.clone()))?;
        Ok(Self {
            hosts,
            cpu_seconds: counter(
                "process_cpu_seconds_total",
                "CPU time of the controller, user and system, in seconds.",
            )?,
            series_bytes: gauge("xiezhi_series_disk_bytes", "Size of all samples on disk.")?,
            series: gauge("xiezhi_series_active", "Series that are being written.")?,
            series_refused: counter(
                "xiezhi_series_refused_total",
                "Series refused at a limit, counted each time that a report named them.",
            )?,
            samples: gauge(
                "xiezhi_series_samples",
                "Samples and steps in blocks on disk; retention removes them.",
            )?,
            damaged: gauge(
                "xiezhi_series_damaged_places",
                "Damaged places met in the samples, without those that were read well later.",
            )?,
            without_steps: counter(
                "xiezhi_series_expired_without_steps_total",
                "Files whose samples went for their age without steps: no room, or the disk refused them.",
            )?,
            undecoded: gauge(
                "xiezhi_series_undecoded_frames",
                "Stored reports that cannot be decoded; their samples are in no answer.",
            )?,
            set_aside: gauge(
                "xiezhi_series_set_aside_files",
                "Damaged files of samples that lie aside and are not served.",
            )?,
            refused_files: gauge(
                "xiezhi_series_refused_files",
                "Files of samples that the disk refused at the start; they wait until it gives them.",
            )?,
            stray_files: gauge(
                "xiezhi_series_stray_files",
                "Folders, links and files that are named as files of samples and are none; they are left alone.",
            )?,
            memory_bytes: gauge(
                "xiezhi_series_memory_bytes",
                "Memory of the samples' head and indexes, estimated.",
            )?,
            resident_bytes: gauge(
                "process_resident_memory_bytes",
                "Resident memory of the controller.",
            )?,
        })
    }

    fn refresh(&self, fleet: &Fleet, series: &SeriesStore) {
        let hosts = fleet.snapshot();
        for presence in Presence::ALL {
            let count = hosts
                .iter()
                .filter(|host| host.presence.presence == presence)
                .count();
            let gauge = self.hosts.with_label_values(&[presence.word()]);
            gauge.set(signed(count as u64));
        }
        let stats = series.stats();
        self.series_bytes.set(signed(stats.bytes));
        self.series.set(signed(stats.series));
        raise(&self.series_refused, stats.refused_series as f64);
        raise(&self.without_steps, stats.expired_without_steps as f64);
        self.samples.set(signed(stats.samples));
        self.damaged.set(signed(stats.damaged));
        self.undecoded.set(signed(stats.undecoded_frames));
        self.set_aside.set(signed(stats.set_aside));
        self.refused_files.set(signed(stats.refused_files));
        self.stray_files.set(signed(stats.stray_files));
        self.memory_bytes.set(signed(stats.memory_bytes));
        if let Some((resident_bytes, cpu_seconds)) = process() {
            self.resident_bytes.set(signed(resident_bytes));
            raise(&self.cpu_seconds, cpu_seconds);
        }
    }
}

/// Makes a counter what was counted elsewhere.
fn raise(counter: &Counter, counted: f64) {
    counter.inc_by((counted - counter.get()).max(0.0));
}

/// Records until the task is aborted. Registers its gauges at once.
///
/// # Errors
/// If a gauge of the same name is registered already.
pub(crate) fn start(
    registry: &Registry,
    fleet: Fleet,
    series: SeriesStore,
) -> Result<tokio::task::JoinHandle<()>> {
    let gauges = Gauges::register(registry).context("registering the controller's gauges")?;
    let registry = registry.clone();
    Ok(tokio::spawn(async move {
        let mut recorder = Recorder::resume(&series);
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            let (fleet, series, registry) = (fleet.clone(), series.clone(), registry.clone());
            let time_ms = now_ms() - now_ms().rem_euclid(i64::from(INTERVAL_MS));
            // Both reading the fleet and writing the log may wait.
            gauges.refresh(&fleet, &series);
            let done = tokio::task::spawn_blocking(move || {
                recorder.record(&registry, &series, time_ms);
                recorder
            });
            match done.await {
                Ok(back) => recorder = back,
                Err(error) => {
                    warn!(error = %error, "the controller's own samples end here");
                    return;
                }
            }
        }
    }))
}

/// The chain of frames of host 0.
struct Recorder {
    encoder: Encoder,
    report: Report,
    epoch: u64,
    seq: u64,
    last_ms: i64,
}

impl Recorder {
    /// Goes on after the last frame that is stored.
    fn resume(series: &SeriesStore) -> Self {
        let last = series.latest(OWN_HOST).ok().flatten();
        let (epoch, seq, last_ms) =
            last.map_or((1, 0, 0), |last| (last.epoch, last.seq, last.time_ms));
        Self {
            encoder: Encoder::new(INTERVAL_MS),
            report: Report::new(),
            epoch,
            seq,
            last_ms,
        }
    }

    fn record(&mut self, registry: &Registry, series: &SeriesStore, time_ms: i64) {
        if time_ms <= self.last_ms {
            // The clock went back: what is there already stays.
            return;
        }
        self.report.start(time_ms);
        fill(&mut self.report, registry);
        let mut bytes = Vec::new();
        let restart = self.seq == 0 || self.last_ms == 0;
        if restart {
            self.encoder.restart();
        }
        let batch = self.encoder.encode(self.seq + 1, &self.report, &mut bytes);
        let key = xiezhi_protocol::codec::peek(&bytes).is_ok_and(|frame| frame.key);
        let frame = Frame {
            host: OWN_HOST,
            epoch: self.epoch,
            batch,
            key,
            bytes: &bytes,
        };
        match series.append(&[frame]).as_deref() {
            Ok([Appended::Conflict]) => {
                // An older copy of the samples was restored.
                self.epoch += 1;
                self.encoder.restart();
            }
            Ok(_) => (self.seq, self.last_ms) = (self.seq + 1, time_ms),
            Err(error) => {
                warn!(error = %error, "the controller's own samples were not stored");
                self.encoder.restart();
            }
        }
    }
}

/// Counters and gauges as they are, histograms as their buckets, sums and counts.
fn fill(report: &mut Report, registry: &Registry) {
    for family in registry.gather() {
        let name = family.name();
        for metric in family.get_metric() {
            let labels: Vec<(&str, &str)> = metric
                .get_label()
                .iter()
                .map(|label| (label.name(), label.value()))
                .collect();
            let mut push = |name: &str, labels: &[(&str, &str)], value: f64| {
                // A refusal is counted by the report; nothing else can be done about it.
                report.push(name, labels, value).ok();
            };
            match family.get_field_type() {
                MetricType::COUNTER => push(name, &labels, metric.get_counter().get_value()),
                MetricType::GAUGE => push(name, &labels, metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    let count = histogram.get_sample_count() as f64;
                    for bucket in histogram.get_bucket() {
                        let bound = bucket.upper_bound().to_string();
                        let mut labels = labels.clone();
                        labels.push(("le", &bound));
                        let below = bucket.cumulative_count() as f64;
                        push(&format!("{name}_bucket"), &labels, below);
                    }
                    let mut all = labels.clone();
                    all.push(("le", "+Inf"));
                    push(&format!("{name}_bucket"), &all, count);
                    push(&format!("{name}_sum"), &labels, histogram.get_sample_sum());
                    push(&format!("{name}_count"), &labels, count);
                }
                _ => {}
            }
        }
    }
}

/// Resident bytes and CPU seconds of this process; source: proc(5), `status` and `stat`.
fn process() -> Option<(u64, f64)> {
    /// Clock ticks per second as the kernel shows them to programs, on every Linux.
    const TICKS: f64 = 100.0;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let user = fields.nth(11)?.parse::<f64>().ok()?;
    let system = fields.next()?.parse::<f64>().ok()?;
    Some((resident_kib.saturating_mul(1024), (user + system) / TICKS))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Histogram, HistogramOpts, IntCounter};

    #[test]
    fn every_kind_of_metric_becomes_series() {
        let registry = Registry::new();
        let counter = IntCounter::new("a_total", "help").unwrap();
        counter.inc_by(3);
        registry.register(Box::new(counter)).unwrap();
        let options = HistogramOpts::new("h_seconds", "help").buckets(vec![0.5, 1.0]);
        let histogram = Histogram::with_opts(options).unwrap();
        histogram.observe(0.7);
        registry.register(Box::new(histogram)).unwrap();
        let mut report = Report::new();
        report.start(0);
        fill(&mut report, &registry);
        let all: Vec<_> = report.iter().collect();
        assert_eq!(
            all,
            [
                ("a_total", 3.0),
                ("h_seconds_bucket{le=\"0.5\"}", 0.0),
                ("h_seconds_bucket{le=\"1\"}", 1.0),
                ("h_seconds_bucket{le=\"+Inf\"}", 1.0),
                ("h_seconds_sum", 0.7),
                ("h_seconds_count", 1.0),
            ]
        );
    }

    #[test]
    fn a_restart_goes_on_where_the_last_run_ended() {
        let folder = tempfile::tempdir().unwrap();
        let options = xiezhi_series::SeriesOptions::default();
        let series = SeriesStore::open(folder.path(), options).unwrap();
        let registry = Registry::new();
        let counter = IntCounter::new("a_total", "help").unwrap();
        registry.register(Box::new(counter)).unwrap();
        let start_ms = now_ms() - now_ms().rem_euclid(15_000) - 60_000;
        for run in 0..2 {
            let mut recorder = Recorder::resume(&series);
            for step in 0..2 {
                let time_ms = start_ms + (run * 2 + step) * 15_000;
                recorder.record(&registry, &series, time_ms);
                // The same time again changes nothing.
                recorder.record(&registry, &series, time_ms);
            }
        }
        let all = series.range(OWN_HOST, 0, i64::MAX, &|_| true).unwrap();
        let times: Vec<_> = all[0]
            .points
            .iter()
            .map(|(time_ms, _)| time_ms - start_ms)
            .collect();
        assert_eq!(times, [0, 15_000, 30_000, 45_000]);
    }

    #[test]
    fn this_process_has_memory() {
        let (resident_bytes, cpu_seconds) = process().unwrap();
        assert!(resident_bytes > 100_000 && cpu_seconds >= 0.0);
    }
}
