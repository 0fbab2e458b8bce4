//! What senders tell of their metrics: type, help and unit. Kept in memory, bounded by source.

use std::collections::{BTreeMap, HashMap};

use super::body::Request;

/// Metrics described by one source at most; a large Prometheus has a few thousand.
const MOST_NAMES: usize = 10_000;
/// Longest name or unit, and longest help, in bytes; a longer help is cut.
const NAME_BYTES: usize = 256;
const HELP_BYTES: usize = 1024;

/// What is known of a metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Description {
    /// `counter`, `gauge`, `histogram` …, as Prometheus writes it.
    pub kind: &'static str,
    /// For people.
    pub help: String,
    /// Unit, often empty.
    pub unit: String,
}

/// Descriptions by source and metric.
#[derive(Debug, Default)]
pub struct Described(HashMap<i64, BTreeMap<String, Description>>);

impl Described {
    /// Notes what a source tells; what it told before of the same metric is replaced.
    pub fn note(&mut self, source: i64, told: Vec<(String, Description)>) {
        if told.is_empty() {
            return;
        }
        let known = self.0.entry(source).or_default();
        for (name, description) in told {
            if known.len() < MOST_NAMES || known.contains_key(&name) {
                known.insert(name, description);
            }
        }
    }

    /// What a source told of the metric that a series' name belongs to: of `x_bucket`, `x_sum` and
    /// `x_count` that is `x`.
    #[must_use]
    pub fn of(&self, source: i64, series_name: &str) -> Option<&Description> {
        let known = self.0.get(&source)?;
        let family = || {
            let suffixes = ["_bucket", "_sum", "_count", "_total"];
            suffixes
                .iter()
                .find_map(|suffix| known.get(series_name.strip_suffix(suffix)?))
        };
        known.get(series_name).or_else(family)
    }
}

/// What a request tells of metrics; what is too long or unreadable is left out.
#[must_use]
pub fn descriptions(request: &Request) -> Vec<(String, Description)> {
    let first = request.metadata().filter_map(|one| {
        let description = description(one.kind, one.help.as_bytes(), one.unit.as_bytes())?;
        (!one.name.is_empty() && one.name.len() <= NAME_BYTES).then_some((one.name, description))
    });
    let second = request.described().filter_map(|(series, metadata)| {
        let mut pairs = series.label_positions.chunks_exact(2);
        let name = pairs.find_map(|pair| match pair {
            [name, value] if request.symbol(*name) == Some(b"__name__") => request.symbol(*value),
            _ => None,
        })?;
        let name = short(name)?;
        let symbol = |position: u32| request.symbol(position).unwrap_or_default();
        let description = description(metadata.kind, symbol(metadata.help), symbol(metadata.unit))?;
        Some((name.to_owned(), description))
    });
    first.chain(second).take(MOST_NAMES).collect()
}

/// A text that is not longer than names and units are.
fn short(bytes: &[u8]) -> Option<&str> {
    let bytes = Some(bytes).filter(|bytes| bytes.len() <= NAME_BYTES)?;
    std::str::from_utf8(bytes).ok()
}

fn description(kind: i32, help: &[u8], unit: &[u8]) -> Option<Description> {
    let kind = match kind {
        0 => "unknown",
        1 => "counter",
        2 => "gauge",
        3 => "histogram",
        4 => "gaugehistogram",
        5 => "summary",
        6 => "info",
        7 => "stateset",
        _ => return None,
    };
    // Cut before it is read: series may share one long help.
    let help = help.get(..HELP_BYTES).unwrap_or(help);
    let readable = help.utf8_chunks().next();
    Some(Description {
        kind,
        help: readable.map_or("", |chunk| chunk.valid()).to_owned(),
        unit: short(unit)?.to_owned(),
    })
}
