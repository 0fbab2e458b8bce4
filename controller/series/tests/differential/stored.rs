//! The samples in the engine, as hosts and others bring them in time: the oldest in a merged block, later
//! ones in blocks of a log each, the newest in the head; some come late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xiezhi_promql::{Labels, METRIC_NAME};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{
    Appended, ForeignSeries, Frame, HostKey, HostLabels, LabelledHost, Selector, SeriesStore,
};

use crate::common::power::PowerDisk;
use crate::common::{ManualClock, options};
use crate::data::BASE_MS;

/// Whoever sends by remote write: series with gaps, since a host would end them with a stale marker.
const SOURCE: HostKey = -1;
/// Hosts by what their series say.
const HOSTS: [(&str, HostKey); 3] = [("a", 1), ("b", 2), ("c", 3)];
/// Minutes at which the parts of the span end, each in a log of its own but the last two. Queries look at
/// the second half hour, so that a third of what they read lies in the merged block.
const ENDS: [i64; 10] = [7, 14, 21, 28, 35, 42, 46, 50, 55, 60];
/// The part of the source's samples that comes two parts later.
const LATE: usize = 5;

struct Everybody;

impl HostLabels for Everybody {
    fn all(&self) -> Arc<[LabelledHost]> {
        let host = |host| LabelledHost {
            host,
            labels: Vec::new(),
        };
        [SOURCE, 1, 2, 3].map(host).into()
    }
}

type Series = (Labels, Vec<(i64, f64)>);

/// The engine with all samples in it.
pub(crate) fn stored(series: &[Series]) -> Selector {
    let (clock, disk) = (ManualClock::new(), PowerDisk::default());
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options(&clock)).expect("memory");
    let mut reporters = HOSTS.map(|(name, host)| Reporter::new(name, host, series));
    for part in 0..ENDS.len() {
        if part < ENDS.len() - 1 {
            clock.advance(Duration::from_secs(31 * 60));
        }
        for reporter in &mut reporters {
            reporter.report(&store, part);
        }
        if part != LATE {
            send(&store, series, part);
        }
        if part == LATE + 2 {
            send(&store, series, LATE);
        }
        store.maintain().expect("memory");
    }
    let names = disk.names();
    for name in [
        "block-0000000001-0000000006.xzb",
        "block-0000000007-0000000007.xzb",
        "block-0000000008-0000000008.xzb",
        "wal-0000000009.log",
    ] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    Selector::new(store, Arc::new(Everybody))
}

fn part_of(time_ms: i64) -> usize {
    let minute = (time_ms - BASE_MS) / 60_000;
    ENDS.partition_point(|end| *end <= minute)
}

fn is_of_host(labels: &Labels) -> bool {
    labels.metric_name() != "level"
}

fn text_of(labels: &Labels) -> String {
    let others = labels.iter().filter(|label| &*label.name != METRIC_NAME);
    let pairs: Vec<String> = others
        .map(|label| format!("{}=\"{}\"", label.name, label.value))
        .collect();
    format!("{}{{{}}}", labels.metric_name(), pairs.join(","))
}

/// A part of what the source sends.
fn send(store: &SeriesStore, series: &[Series], part: usize) {
    for (labels, points) in series.iter().filter(|(labels, _)| !is_of_host(labels)) {
        let points = points.iter().filter(|point| part_of(point.0) == part);
        let points: Vec<(i64, f64)> = points.copied().collect();
        let (text, points) = (&text_of(labels), &points[..]);
        let report = store.append_foreign(SOURCE, &[ForeignSeries { text, points }]);
        assert_eq!(report.expect("memory").stored, points.len() as u64);
    }
}

/// A host that sends frames.
struct Reporter {
    host: HostKey,
    encoder: Encoder,
    /// What it reports at each time.
    reports: BTreeMap<i64, Vec<(String, f64)>>,
    seq: u64,
}

impl Reporter {
    fn new(name: &str, host: HostKey, series: &[Series]) -> Self {
        let mut reports: BTreeMap<i64, Vec<(String, f64)>> = BTreeMap::new();
        let own = series
            .iter()
            .filter(|(labels, _)| is_of_host(labels) && labels.get("host") == Some(name));
        for (labels, points) in own {
            for &(time_ms, value) in points {
                let report = reports.entry(time_ms).or_default();
                report.push((text_of(labels), value));
            }
        }
        Self {
            host,
            encoder: Encoder::new(15_000),
            reports,
            seq: 0,
        }
    }

    fn report(&mut self, store: &SeriesStore, part: usize) {
        for (&time_ms, values) in &self.reports {
            if part_of(time_ms) != part {
                continue;
            }
            self.seq += 1;
            let mut report = Report::new();
            report.start(time_ms);
            for (text, value) in values {
                report.push_series(text, *value).expect("a sample");
            }
            let mut bytes = Vec::new();
            let batch = self.encoder.encode(self.seq, &report, &mut bytes);
            let frame = Frame {
                host: self.host,
                epoch: 1,
                batch,
                key: peek(&bytes).expect("a frame").key,
                bytes: &bytes,
            };
            let verdicts = store.append(&[frame]).expect("memory");
            assert_eq!(verdicts, [Appended::Stored]);
        }
    }
}
