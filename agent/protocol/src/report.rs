//! One interval's samples of one host, as the collectors write them and the codec reads them.
//!
//! All series of a report share one text buffer, so a report of 500 series is two allocations that
//! are reused every interval.

use std::fmt::Write as _;

/// Longest series text (name and labels) that is accepted, in bytes. Prometheus has no limit of
/// its own; series of ordinary exporters stay below 300.
pub const MAX_SERIES_BYTES: usize = 1024;

/// Most series in one report of one host. A busy host has a few hundred; a runaway label stops
/// here instead of at the controller's memory.
pub const MAX_SERIES_PER_REPORT: usize = 20_000;

/// Why a sample did not enter the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The value is NaN or infinite: neither can be summed, compared or drawn.
    #[error("value is not a finite number")]
    NotFinite,
    /// Name and labels together exceed [`MAX_SERIES_BYTES`].
    #[error("name and labels exceed {MAX_SERIES_BYTES} bytes")]
    TooLong,
    /// The report already holds [`MAX_SERIES_PER_REPORT`] samples.
    #[error("report already holds {MAX_SERIES_PER_REPORT} samples")]
    TooMany,
    /// The metric name or a label name breaks Prometheus's grammar.
    #[error("metric or label name is malformed")]
    BadName,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    end: u32,
    value: f64,
}

/// The samples of one host at one time.
///
/// ```
/// use xiezhi_protocol::report::Report;
/// let mut report = Report::new();
/// report.start(1_700_000_000_000);
/// report.push("node_load1", &[], 0.25).unwrap();
/// report.push("node_cpu_seconds_total", &[("mode", "idle"), ("cpu", "0")], 12.5).unwrap();
/// let series: Vec<&str> = report.iter().map(|(series, _)| series).collect();
/// assert_eq!(series, ["node_load1", "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"]);
/// ```
#[derive(Debug, Default, Clone)]
pub struct Report {
    time_ms: i64,
    text: String,
    entries: Vec<Entry>,
    refused: u64,
}

impl Report {
    /// An empty report at time 0; call [`Report::start`] before filling it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the report and sets its time, Unix milliseconds aligned to the interval. The
    /// buffers are kept.
    pub fn start(&mut self, time_ms: i64) {
        self.time_ms = time_ms;
        self.text.clear();
        self.entries.clear();
        self.refused = 0;
    }

    /// Time of every sample in this report, Unix milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no sample was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many samples were refused since [`Report::start`].
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Adds one sample. Labels may come in any order; they are written sorted by name, so that one
    /// series has one text.
    ///
    /// # Errors
    /// Says why the sample was refused; the report is unchanged but for its count of refusals.
    pub fn push(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Refusal> {
        let start = self.text.len();
        let outcome = self.try_push(name, labels, value);
        if outcome.is_err() {
            self.text.truncate(start);
            self.refused += 1;
        }
        outcome
    }

    fn try_push(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Refusal> {
        if !value.is_finite() {
            return Err(Refusal::NotFinite);
        }
        if self.entries.len() >= MAX_SERIES_PER_REPORT {
            return Err(Refusal::TooMany);
        }
        if !is_metric_name(name) {
            return Err(Refusal::BadName);
        }
        let start = self.text.len();
        write_series(&mut self.text, name, labels)?;
        let end = self.text.len();
        if end - start > MAX_SERIES_BYTES {
            return Err(Refusal::TooLong);
        }
        let (start, end) = (to_offset(start)?, to_offset(end)?);
        self.entries.push(Entry { start, end, value });
        Ok(())
    }

    /// Adds a sample whose series text is already canonical, as a decoder yields it.
    ///
    /// # Errors
    /// As [`Report::push`], but the text's grammar is the caller's promise.
    pub fn push_series(&mut self, series: &str, value: f64) -> Result<(), Refusal> {
        let refusal = if !value.is_finite() {
            Some(Refusal::NotFinite)
        } else if series.len() > MAX_SERIES_BYTES {
            Some(Refusal::TooLong)
        } else if self.entries.len() >= MAX_SERIES_PER_REPORT {
            Some(Refusal::TooMany)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.refused += 1;
            return Err(refusal);
        }
        let start = to_offset(self.text.len())?;
        self.text.push_str(series);
        let end = to_offset(self.text.len())?;
        self.entries.push(Entry { start, end, value });
        Ok(())
    }

    /// The samples in the order in which they were pushed: canonical series text and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.entries.iter().map(|entry| {
            let text = self
                .text
                .get(entry.start as usize..entry.end as usize)
                .unwrap_or_default();
            (text, entry.value)
        })
    }
}

fn to_offset(position: usize) -> Result<u32, Refusal> {
    u32::try_from(position).map_err(|_| Refusal::TooMany)
}

fn write_series(text: &mut String, name: &str, labels: &[(&str, &str)]) -> Result<(), Refusal> {
    text.push_str(name);
    if labels.is_empty() {
        return Ok(());
    }
    let mut separator = '{';
    if labels.is_sorted_by(|a, b| a.0 < b.0) {
        for (label, value) in labels {
            write_label(text, separator, label, value)?;
            separator = ',';
        }
    } else {
        let mut sorted = labels.to_vec();
        sorted.sort_unstable();
        for (label, value) in sorted {
            write_label(text, separator, label, value)?;
            separator = ',';
        }
    }
    text.push('}');
    Ok(())
}

fn write_label(text: &mut String, before: char, label: &str, value: &str) -> Result<(), Refusal> {
    if !is_label_name(label) {
        return Err(Refusal::BadName);
    }
    if value.len() > MAX_SERIES_BYTES {
        return Err(Refusal::TooLong);
    }
    text.push(before);
    text.push_str(label);
    text.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.write_char(other).map_err(|_| Refusal::TooLong)?,
        }
    }
    text.push('"');
    Ok(())
}

fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Splits a canonical series text into its name and its labels, unescaped.
///
/// Returns `None` if the text is not one that [`Report::push`] could have written.
#[must_use]
pub fn parse_series(series: &str) -> Option<(&str, Vec<(&str, String)>)> {
    let Some((name, rest)) = series.split_once('{') else {
        return is_metric_name(series).then_some((series, Vec::new()));
    };
    if !is_metric_name(name) {
        return None;
    }
    let mut rest = rest.strip_suffix('}')?;
    let mut labels: Vec<(&str, String)> = Vec::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        if !is_label_name(label) || labels.last().is_some_and(|(last, _)| *last >= label) {
            return None;
        }
        let (value, used) = unescape(after)?;
        labels.push((label, value));
        rest = after.get(used..)?;
        if let Some(next) = rest.strip_prefix(',') {
            if next.is_empty() {
                return None;
            }
            rest = next;
        } else if !rest.is_empty() {
            return None;
        }
    }
    (!labels.is_empty()).then_some((name, labels))
}

/// Reads a quoted value up to and including its closing quote; yields it and the bytes used.
fn unescape(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((value, position + 1)),
            '\\' => match characters.next()?.1 {
                '\\' => value.push('\\'),
                '"' => value.push('"'),
                'n' => value.push('\n'),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_sorted_and_escaped() {
        let mut report = Report::new();
        report
            .push("m", &[("z", "a\"b"), ("a", "c\\d\ne")], 1.0)
            .unwrap();
        let (series, value) = report.iter().next().unwrap();
        assert_eq!(series, "m{a=\"c\\\\d\\ne\",z=\"a\\\"b\"}");
        assert_eq!(value, 1.0);
        let (name, labels) = parse_series(series).unwrap();
        assert_eq!(name, "m");
        assert_eq!(
            labels,
            [("a", "c\\d\ne".to_owned()), ("z", "a\"b".to_owned())]
        );
    }

    #[test]
    fn a_refused_sample_leaves_the_report_as_it_was() {
        let mut report = Report::new();
        report.push("ok", &[], 1.0).unwrap();
        assert_eq!(report.push("bad", &[], f64::NAN), Err(Refusal::NotFinite));
        assert_eq!(
            report.push("bad", &[], f64::INFINITY),
            Err(Refusal::NotFinite)
        );
        assert_eq!(
            report.push("ok", &[("x", &"y".repeat(2000))], 1.0),
            Err(Refusal::TooLong)
        );
        assert_eq!(report.push("1bad", &[], 1.0), Err(Refusal::BadName));
        assert_eq!(
            report.push("ok", &[("a-b", "")], 1.0),
            Err(Refusal::BadName)
        );
        report.push("last", &[], 2.0).unwrap();
        let all: Vec<_> = report.iter().collect();
        assert_eq!(all, [("ok", 1.0), ("last", 2.0)]);
        assert_eq!(report.refused(), 5);
    }

    #[test]
    fn malformed_series_texts_are_not_parsed() {
        for text in [
            "",
            "1",
            "m{",
            "m{}",
            "m{a}",
            "m{a=b}",
            "m{a=\"b}",
            "m{a=\"b\",}",
            "m{b=\"\",a=\"\"}",
        ] {
            assert!(parse_series(text).is_none(), "{text}");
        }
    }
}
