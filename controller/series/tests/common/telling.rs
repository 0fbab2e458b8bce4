//! A story of hosts and a foreign source, and what must be known of it for ever: each report counts
//! once, as samples or as steps, whatever was cut, merged, rolled up and removed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use xiezhi_promql::{Budget, Limits, Matcher, Select, SelectHint, Storage as _};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{
    Appended, ForeignSeries, HostKey, HostLabels, LabelledHost, Selector, SeriesStore,
};

use super::{ManualClock, Owned, frames};

/// Who tells: two hosts and a foreign source.
pub const HOSTS: [HostKey; 3] = [-1, 1, 2];
const HALF_HOUR: i64 = 1_800_000;
/// Reports of half an hour; the last lies at its very end.
const REPORTS: i64 = 3;
/// A day begins here.
pub const START: i64 = 1_700_006_400_000;

/// What was told and acknowledged so far.
#[derive(Default)]
pub struct Story {
    half_hours: i64,
    encoders: BTreeMap<HostKey, Encoder>,
    sent: Vec<Owned>,
    /// Frames stand alone and may be stored already.
    is_resumed: bool,
}

/// A counter that is reset now and then, and a gauge.
fn values(host: HostKey, number: i64) -> (f64, f64) {
    let since = number / 50 * 50;
    let grown: i64 = (since..=number).map(|one| one % 13).sum();
    let level = (number * 7919 + host * 31).rem_euclid(1009) as f64 / 4.0;
    (grown as f64, level)
}

fn time_of(number: i64) -> i64 {
    START + number * HALF_HOUR / REPORTS
}

struct Everybody;

impl HostLabels for Everybody {
    fn all(&self) -> Arc<[LabelledHost]> {
        let host = |host| LabelledHost {
            host,
            labels: Vec::new(),
        };
        HOSTS.map(host).into()
    }
}

impl Story {
    /// The story after so many half hours, whose teller does not know whether the next one was heard.
    pub fn resumed(half_hours: i64) -> Self {
        Self {
            half_hours,
            is_resumed: true,
            ..Self::default()
        }
    }

    /// How much was told.
    pub fn half_hours(&self) -> i64 {
        self.half_hours
    }

    /// Nobody answered what was told last: it is told again as it was.
    pub fn forget_last(&mut self) {
        self.half_hours -= 1;
        self.is_resumed = true;
    }

    /// Half an hour passes, then all that was reported in it comes, into a log of its own.
    pub fn tell(&mut self, store: &SeriesStore, clock: &ManualClock) {
        let now_ms = START + (self.half_hours + 1) * HALF_HOUR;
        let passed_ms = now_ms - clock.clock().now_ms();
        clock.advance(Duration::from_millis(passed_ms.unsigned_abs()));
        let first = self.half_hours * REPORTS + 1;
        let mut group = Vec::new();
        for number in first..first + REPORTS {
            for host in HOSTS {
                match host {
                    ..0 => {
                        let stored = tell_foreign(store, host, number);
                        assert!(stored == 2 || self.is_resumed);
                    }
                    _ => group.push(self.frame(host, number)),
                }
            }
        }
        let verdicts = store.append(&frames(&group)).unwrap();
        let is_fine = |one: &Appended| match one {
            Appended::Stored => true,
            Appended::Replay => self.is_resumed,
            Appended::Conflict => false,
        };
        assert!(verdicts.iter().all(is_fine), "{verdicts:?}");
        self.sent.extend(group);
        self.half_hours += 1;
    }

    fn frame(&mut self, host: HostKey, number: i64) -> Owned {
        let is_it = |one: &&Owned| (one.host, one.batch.seq) == (host, number.unsigned_abs());
        if let Some(sent) = self.sent.iter().find(is_it) {
            return sent.clone();
        }
        if self.is_resumed {
            self.encoders.clear();
        }
        let encoder = self.encoders.entry(host);
        let encoder = encoder.or_insert_with(|| Encoder::new((HALF_HOUR / REPORTS) as u32));
        let mut report = Report::new();
        report.start(time_of(number));
        let (grown, level) = values(host, number);
        report.push("grown_total", &[], grown).unwrap();
        report.push("level", &[], level).unwrap();
        let mut bytes = Vec::new();
        let batch = encoder.encode(number as u64, &report, &mut bytes);
        Owned {
            host,
            epoch: 1,
            batch,
            key: peek(&bytes).unwrap().key,
            bytes,
        }
    }

    /// How many reports each host told.
    pub fn reports(&self) -> i64 {
        self.half_hours * REPORTS
    }

    /// Each report counts once, with its own value; samples that are there are the true ones.
    pub fn check(&self, store: &SeriesStore) {
        self.check_counts(store);
        for host in HOSTS {
            self.check_samples(store, host);
        }
    }

    /// Each report counts once, with its own value, in samples or in steps.
    pub fn check_counts(&self, store: &SeriesStore) {
        let told = |host| (1..=self.reports()).map(move |number| values(host, number));
        for (host, rows) in HOSTS.into_iter().zip(weighed(store, "level")) {
            let count: f64 = rows.iter().map(|row| row.2).sum();
            assert_eq!(count.round(), self.reports() as f64, "reports of {host}");
            let sum: f64 = rows.iter().map(|row| row.1 * row.2).sum();
            let expected: f64 = told(host).map(|pair| pair.1).sum();
            assert!((sum - expected).abs() < 1e-6 * expected, "{sum} {expected}");
        }
        for (host, rows) in HOSTS.into_iter().zip(weighed(store, "grown_total")) {
            let count: f64 = rows.iter().map(|row| row.2).sum();
            assert_eq!(count.round(), self.reports() as f64, "reports of {host}");
            let (time_ms, last, _) = rows[rows.len() - 1];
            assert_eq!(time_ms, time_of(self.reports()));
            assert_eq!(last, values(host, self.reports()).0);
        }
    }

    fn check_samples(&self, store: &SeriesStore, host: HostKey) {
        let report = store
            .range_report(host, i64::MIN, i64::MAX, &|text| text == "level")
            .unwrap();
        assert_eq!((report.undecodable, report.damaged), (0, 0));
        let points = report.series.iter().flat_map(|series| &series.points);
        let mut before = i64::MIN;
        for &(time_ms, value) in points {
            assert!(time_ms > before, "a sample is there twice");
            before = time_ms;
            let number = (time_ms - START) * REPORTS / HALF_HOUR;
            assert_eq!(value, values(host, number).1);
        }
        assert_eq!(before, time_of(self.reports()), "the newest is lost");
    }

    /// What hosts send again is known, whether its samples are kept or only steps.
    pub fn check_frames(&self, store: &SeriesStore) {
        let verdicts = store.append(&frames(&self.sent)).unwrap();
        for (frame, verdict) in self.sent.iter().zip(verdicts) {
            let (host, seq) = (frame.host, frame.batch.seq);
            assert_eq!(verdict, Appended::Replay, "report {seq} of {host}");
        }
    }
}

fn tell_foreign(store: &SeriesStore, source: HostKey, number: i64) -> u64 {
    let (grown, level) = values(source, number);
    let (grown, level) = ([(time_of(number), grown)], [(time_of(number), level)]);
    let series = [("grown_total", &grown), ("level", &level)];
    let series = series.map(|(text, points)| ForeignSeries { text, points });
    let report = store.append_foreign(source, &series).unwrap();
    assert_eq!(report.stored + report.repeated, 2, "{report:?}");
    report.stored
}

/// Time, value and weight of what answers about a metric, for each host in the order of [`HOSTS`].
pub fn weighed(store: &SeriesStore, name: &str) -> Vec<Vec<(i64, f64, f64)>> {
    let request = Select {
        matchers: vec![Matcher::equal("__name__", name)],
        start_ms: START,
        end_ms: START + 100 * 86_400_000,
        hint: SelectHint {
            function: "count_over_time".to_owned(),
            range_ms: 86_400_000,
            ..SelectHint::default()
        },
    };
    let selector = Selector::new(store.clone(), Arc::new(Everybody));
    let budget = Budget::new(Limits::default());
    let found = selector.select(&request, &budget).unwrap();
    assert_eq!(found.len(), HOSTS.len(), "{name}");
    let rows = found.iter().map(|series| {
        let weight = |place: usize| series.coarse.as_ref().map_or(1.0, |one| one.counts[place]);
        let points = series.times.iter().zip(series.values.iter());
        let points = points.enumerate();
        points
            .map(|(place, (&time_ms, &value))| (time_ms, value, weight(place)))
            .collect()
    });
    rows.collect()
}
