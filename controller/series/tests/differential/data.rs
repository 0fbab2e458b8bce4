//! Samples for both sides: counters with resets, gauges with gaps, buckets.

use std::fmt::Write as _;

use xiezhi_promql::Labels;

use crate::queries::Random;

/// Time of the first sample's interval, Unix milliseconds; a multiple of every step in use.
pub(crate) const BASE_MS: i64 = 1_700_006_400_000;

/// How long the data goes on.
pub(crate) const SPAN_MS: i64 = 3_600_000;

const EVERY_MS: i64 = 15_000;

/// Samples lie beside the full seconds at which windows begin and end.
const BESIDE_MS: i64 = 137;

type Series = (Labels, Vec<(i64, f64)>);

fn times() -> impl Iterator<Item = i64> {
    (0..SPAN_MS / EVERY_MS).map(|n| BASE_MS + n * EVERY_MS + BESIDE_MS)
}

/// All series, the same for the same state of `random`.
pub(crate) fn series(random: &mut Random) -> Vec<Series> {
    let mut all = Vec::new();
    for host in ["a", "b", "c"] {
        for mode in ["idle", "user"] {
            let labels = labels("cpu_seconds_total", &[("host", host), ("mode", mode)]);
            all.push((labels, counter(random)));
            all.push((gauge_labels(host, mode), gauge(random)));
        }
        all.push((
            labels("info", &[("host", host), ("room", &format!("r{host}"))]),
            constant(1.0),
        ));
        let mut counts = vec![0.0; (SPAN_MS / EVERY_MS) as usize];
        for le in ["0.1", "0.5", "1", "+Inf"] {
            let grown = counter_without_reset(random);
            for (count, (_, more)) in counts.iter_mut().zip(grown) {
                *count += more;
            }
            let points = times().zip(counts.iter().copied()).collect();
            all.push((labels("wait_bucket", &[("host", host), ("le", le)]), points));
        }
    }
    all
}

fn gauge_labels(host: &str, mode: &str) -> Labels {
    labels("level", &[("host", host), ("kind", mode)])
}

fn labels(name: &str, rest: &[(&str, &str)]) -> Labels {
    let name = ("__name__".to_owned(), name.to_owned());
    let rest = rest
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Labels::new([name].into_iter().chain(rest))
}

fn counter(random: &mut Random) -> Vec<(i64, f64)> {
    let mut value = 0.0;
    times()
        .map(|time| {
            value = if random.below(40) == 0 {
                random.unit()
            } else {
                value + random.unit() * 9.0
            };
            (time, value)
        })
        .collect()
}

fn counter_without_reset(random: &mut Random) -> Vec<(i64, f64)> {
    let mut value = 5.0;
    times()
        .map(|time| {
            value += random.below(5) as f64;
            (time, value)
        })
        .collect()
}

/// A walk with gaps of some samples, now and then of ten minutes, and rare NaN.
fn gauge(random: &mut Random) -> Vec<(i64, f64)> {
    let mut points = Vec::new();
    let (mut value, mut gap) = (random.unit() * 50.0, 0);
    for time in times() {
        value += random.unit() * 4.0 - 2.0;
        if gap > 0 {
            gap -= 1;
            continue;
        }
        match random.below(60) {
            0 => gap = 40,
            1..4 => gap = random.below(6),
            _ => {}
        }
        points.push((
            time,
            if random.below(300) == 0 {
                f64::NAN
            } else {
                value
            },
        ));
    }
    points
}

fn constant(value: f64) -> Vec<(i64, f64)> {
    times().map(|time| (time, value)).collect()
}

/// The samples as promtool reads them.
pub(crate) fn open_metrics(series: &[Series]) -> String {
    let mut text = String::new();
    let mut all: Vec<&Series> = series.iter().collect();
    all.sort_by_key(|(labels, _)| labels.metric_name().to_owned());
    for (labels, points) in all {
        let name = labels.metric_name();
        let rest = labels.without_name().to_string().replace(", ", ",");
        for (time, value) in points {
            let value = xiezhi_promql::format_value(*value);
            let seconds = time / 1000;
            writeln!(text, "{name}{rest} {value} {seconds}.{:03}", time % 1000).expect("memory");
        }
    }
    text.push_str("# EOF\n");
    text
}
