//! The rules that each series and each sample must keep, and what is told of those that don't.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use xiezhi_promql::{Named, escape_name};

use super::body::{BodyError, RawSeries, Request};

/// Most labels of one series as it is sent, its name included. VictoriaMetrics cuts at 40, Mimir
/// refuses at 30; the store has a limit of its own for those that are kept.
pub const MAX_LABELS: usize = 64;

/// Longest canonical text of a series: name and labels together, in bytes.
pub const MAX_SERIES_TEXT_BYTES: usize = 4096;

/// Most memory that the labels of one request's series may take, in bytes. Version 2.0 shares symbols,
/// so that a small body may have labels for gigabytes.
pub const MAX_LABEL_BYTES: usize = 32 << 20;

/// Longest example of a refused series, in characters.
const EXAMPLE_CHARS: usize = 200;

/// Bounds on the time of samples, which the caller derives from its clock.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Oldest time that is taken, Unix milliseconds: where retention begins.
    pub oldest_ms: i64,
    /// Newest time that is taken, Unix milliseconds: now, and a little for clocks that are ahead.
    pub newest_ms: i64,
    /// Labels that the controller assigns; a sender's are left out, so that nobody speaks for
    /// another's host.
    pub assigned: &'a [&'a str],
}

/// Why a series, or samples of it, were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No label `__name__`, or an empty one.
    NoName,
    /// A label without a name.
    BadLabel,
    /// Text that is not UTF-8, or a position outside the symbols.
    BadText,
    /// The same label twice.
    RepeatedLabel,
    /// More than [`MAX_LABELS`].
    TooManyLabels,
    /// Above [`MAX_SERIES_TEXT_BYTES`].
    TooLong,
    /// Older than what is kept.
    TooOld,
    /// In the future: the sender's clock is ahead.
    TooNew,
    /// A native histogram; not stored yet.
    Histogram,
    /// An exemplar; not stored.
    Exemplar,
}

impl Refusal {
    /// A short word for a metric's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::BadLabel => "bad_label",
            Self::BadText => "bad_text",
            Self::RepeatedLabel => "repeated_label",
            Self::TooManyLabels => "too_many_labels",
            Self::TooLong => "too_long",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Histogram => "histogram",
            Self::Exemplar => "exemplar",
        }
    }

    /// What the sender's operator should know.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NoName => "a series needs a label `__name__`",
            Self::BadLabel => "a label needs a name",
            Self::BadText => "labels must be UTF-8 and inside the request's symbols",
            Self::RepeatedLabel => "a series has each label once",
            Self::TooManyLabels => "a series has 64 labels at most: drop some",
            Self::TooLong => {
                "name and labels together have 4,096 bytes at most: drop or shorten some"
            }
            Self::TooOld => "the sample is older than what is kept (`series.retention`)",
            Self::TooNew => "the sample is in the future: check the sender's clock",
            Self::Histogram => "native histograms are not stored; send classic histograms",
            Self::Exemplar => "exemplars are not stored",
        }
    }
}

/// A series that may be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The metric's name.
    pub name: String,
    /// Labels without the name, sorted, empty values left out (they mean "not there").
    pub labels: Vec<(String, String)>,
    /// Unix milliseconds and value, ascending, one per time (the first wins, see [`Doubled`]). NaN, infinities and
    /// the stale marker are values like any other.
    pub samples: Vec<(i64, f64)>,
}

/// What of a request may be stored, and what not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    /// In the order of the request.
    pub series: Vec<Written>,
    /// Everything else.
    pub refusals: Refusals,
    /// Samples that came twice for one time.
    pub doubled: Doubled,
}

/// Samples of one series and time beyond the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubled {
    /// With the first one's value, bit by bit.
    pub repeated: u64,
    /// With another value.
    pub contradicted: u64,
    /// The first series with another value; empty if there is none.
    pub example: String,
}

/// Counts of what was refused, with one example for each reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// By reason: how many samples (or histograms, exemplars), and the first series it happened to.
    pub by_reason: BTreeMap<Refusal, (u64, String)>,
}

impl Written {
    /// Name and labels in the store's canonical form, in which names of other signs than letters, digits
    /// and `_` are escaped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = escape_name(&self.name, Named::Metric).into_owned();
        let labels = self.labels.iter();
        let labels = labels.map(|(label, value)| (escape_name(label, Named::Label), value));
        let mut labels: Vec<_> = labels.collect();
        // Escaped names have another order.
        labels.sort_unstable();
        for (position, (label, value)) in labels.iter().enumerate() {
            text.push(if position == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !self.labels.is_empty() {
            text.push('}');
        }
        text
    }
}

impl Doubled {
    /// Leaves the first sample of each time; they are sorted by time.
    fn leave_one_per_time(&mut self, samples: &mut Vec<(i64, f64)>, example: impl Fn() -> String) {
        samples.dedup_by(|later, first| {
            if later.0 != first.0 {
                return false;
            }
            // A stale marker is a NaN of its own, so that numbers do not tell values apart.
            if later.1.to_bits() == first.1.to_bits() {
                self.repeated += 1;
            } else {
                if self.contradicted == 0 {
                    self.example = example();
                }
                self.contradicted += 1;
            }
            true
        });
    }
}

impl Refusals {
    fn add(&mut self, refusal: Refusal, count: usize, series: impl FnOnce() -> String) {
        if count > 0 {
            let entry = self.by_reason.entry(refusal);
            entry.or_insert_with(|| (0, series())).0 += count as u64;
        }
    }

    /// Whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_reason.is_empty()
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (refusal, (count, series))) in self.by_reason.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            let advice = refusal.advice();
            write!(
                formatter,
                "{separator}{count} refused: {advice}, for example {series}"
            )?;
        }
        Ok(())
    }
}

/// Judges each series by itself.
///
/// # Errors
/// [`BodyError`] if a series' own message cannot be read, or if their labels take more than
/// [`MAX_LABEL_BYTES`]; nothing of the request is used then.
pub fn check(request: &Request, rules: &Rules<'_>) -> Result<Checked, BodyError> {
    let mut checked = Checked::default();
    let mut label_bytes = 0;
    for raw in request.series() {
        let raw = raw?;
        let example = || example(&raw);
        let refusals = &mut checked.refusals;
        refusals.add(Refusal::Histogram, raw.histograms, example);
        refusals.add(Refusal::Exemplar, raw.exemplars, example);
        if raw.samples.is_empty() {
            continue;
        }
        match labels(&raw, rules) {
            Err(refusal) => refusals.add(refusal, raw.samples.len(), example),
            Ok((name, labels)) => {
                let samples = samples(&raw, rules, &mut checked);
                if !samples.is_empty() {
                    label_bytes += name.len() + memory(&labels);
                    if label_bytes > MAX_LABEL_BYTES {
                        let limit = MAX_LABEL_BYTES;
                        return Err(BodyError::ManyLabels { limit });
                    }
                    checked.series.push(Written {
                        name,
                        labels,
                        samples,
                    });
                }
            }
        }
    }
    Ok(checked)
}

type NameAndLabels = (String, Vec<(String, String)>);

/// What labels take. A pair counts with its texts: it is larger than most of them.
fn memory(labels: &[(String, String)]) -> usize {
    let texts = labels.iter().map(|(name, value)| name.len() + value.len());
    size_of_val(labels) + texts.sum::<usize>()
}

fn labels(raw: &RawSeries, rules: &Rules<'_>) -> Result<NameAndLabels, Refusal> {
    let raw = raw.labels.as_ref().ok_or(Refusal::BadText)?;
    if raw.len() > MAX_LABELS {
        return Err(Refusal::TooManyLabels);
    }
    let length: usize = raw
        .iter()
        .map(|(name, value)| match &**name {
            b"__name__" => escaped_bytes(value) + 12,
            _ => escaped_bytes(name) + value.len() + 4,
        })
        .sum();
    if length > MAX_SERIES_TEXT_BYTES {
        return Err(Refusal::TooLong);
    }
    let mut name = None;
    let mut labels = Vec::with_capacity(raw.len());
    for (label, value) in raw {
        let (label, value) = (text(label)?, text(value)?);
        if label == "__name__" {
            if name.replace(value).is_some() {
                return Err(Refusal::RepeatedLabel);
            }
        } else if label.is_empty() {
            return Err(Refusal::BadLabel);
        } else if !rules.assigned.contains(&label) && !value.is_empty() {
            labels.push((label.to_owned(), value.to_owned()));
        }
    }
    // Labels that were left out would take memory that nobody counts.
    labels.shrink_to_fit();
    labels.sort_unstable();
    if labels
        .windows(2)
        .any(|pair| matches!(pair, [(a, _), (b, _)] if a == b))
    {
        return Err(Refusal::RepeatedLabel);
    }
    match name.unwrap_or_default() {
        "" => Err(Refusal::NoName),
        name => Ok((name.to_owned(), labels)),
    }
}

fn text(bytes: &Bytes) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| Refusal::BadText)
}

/// What a name takes in a series text; what is no UTF-8 is refused later.
fn escaped_bytes(name: &Bytes) -> usize {
    let text = std::str::from_utf8(name).unwrap_or_default();
    escape_name(text, Named::Label).len()
}

fn samples(raw: &RawSeries, rules: &Rules<'_>, checked: &mut Checked) -> Vec<(i64, f64)> {
    let mut kept: Vec<(i64, f64)> = Vec::with_capacity(raw.samples.len());
    let (mut old, mut new) = (0, 0);
    for sample in &raw.samples {
        if sample.time_ms < rules.oldest_ms {
            old += 1;
        } else if sample.time_ms > rules.newest_ms {
            new += 1;
        } else {
            kept.push((sample.time_ms, sample.value));
        }
    }
    let refusals = &mut checked.refusals;
    refusals.add(Refusal::TooOld, old, || example(raw));
    refusals.add(Refusal::TooNew, new, || example(raw));
    kept.sort_by_key(|(time_ms, _)| *time_ms);
    checked
        .doubled
        .leave_one_per_time(&mut kept, || example(raw));
    // As with labels: what was refused would take memory that nobody counts.
    kept.shrink_to_fit();
    kept
}

/// A short form of a series for a message: whatever can be read of it. No more is formatted than is
/// shown, since a sender chooses how long labels are and how many.
fn example(raw: &RawSeries) -> String {
    // A character has four bytes at most, so that what is cut off would not be shown.
    let most = EXAMPLE_CHARS * 4;
    let lossy = |bytes: &Bytes| {
        let bytes = bytes.get(..most).unwrap_or(bytes);
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut text = String::new();
    for (name, value) in raw.labels.as_deref().unwrap_or_default() {
        if text.len() > most {
            break;
        }
        let separator = if text.is_empty() { "" } else { "," };
        text += &format!("{separator}{}={:?}", lossy(name), lossy(value));
    }
    let short: String = text.chars().take(EXAMPLE_CHARS).collect();
    format!("{{{short}}}")
}

#[cfg(test)]
mod tests;
