//! Samples of sources that are no hosts: what others send by remote write.
//!
//! A source has a key in the place of a host's, below zero, so that none is ever a host's. Its samples
//! come decoded, series by series, and without numbers; so they are known by series and time.
//!
//! | sample | what becomes of it |
//! |---|---|
//! | newer than all of its series | stored |
//! | late, at a time that the series has not | stored, and read in its place |
//! | the same time and value again | merged: nothing is written |
//! | the same time, another value | the first stays; counted as contradicted |
//! | of a series beyond a limit | refused, with the reason, series by series |
//!
//! How old or how far ahead a sample may be is the caller's to judge. A value that is no number is
//! kept: the stale marker as it is, any other as the one that Prometheus writes.
//!
//! What memory does not know is looked up in the head and in the blocks, once per request and hour of
//! samples. Of a series that is new to this process the blocks tell first when it ends; from then on
//! only what is older is looked up. A request that would read more than so many points is stored as
//! far as it came, and the sender is to send it again: what was looked up is known then, so it comes
//! further. One request is judged and written at a time; hosts' frames are appended meanwhile.

pub(crate) mod batch;
mod judge;

use std::fmt;
use std::sync::{Arc, PoisonError};

use crate::engine::{Engine, count};
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::head::texts::TextId;

/// Samples of one series of a source.
#[derive(Debug, Clone, Copy)]
pub struct ForeignSeries<'a> {
    /// Name and labels in canonical form, as [`xiezhi_protocol::report::parse_series`] reads it.
    pub text: &'a str,
    /// Unix milliseconds and values, in any order.
    pub points: &'a [(i64, f64)],
}

/// Why a series of a source is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesRefusal {
    /// The text is not canonical.
    BadText,
    /// More labels than a series may have.
    TooManyLabels,
    /// The source has as many series as one may have.
    SourceFull,
    /// The texts of the source's series have as many bytes as those of one may have.
    SourceTexts,
    /// There are as many series as the store may have.
    StoreFull,
    /// The texts of all sources are as many, or have as many bytes, as they may.
    TextsFull,
    /// Too many series that are new within this hour.
    TooManyNew,
}

impl SeriesRefusal {
    /// A short word for a metric's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadText => "bad_text",
            Self::TooManyLabels => "too_many_labels",
            Self::SourceFull => "source_full",
            Self::SourceTexts => "source_texts",
            Self::StoreFull => "store_full",
            Self::TextsFull => "texts_full",
            Self::TooManyNew => "too_many_new",
        }
    }
}

impl fmt::Display for SeriesRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BadText => "name or labels are malformed",
            Self::TooManyLabels => {
                "the series has more labels than are allowed: drop some, or let the controller's \
                 administrator raise `series.limits.labels_per_series`"
            }
            Self::SourceFull => {
                "this source has as many series as one may have: send fewer, or drop labels that \
                 change all the time, or let the controller's administrator raise \
                 `series.limits.series_per_source`"
            }
            Self::SourceTexts => {
                "names and labels of this source's series have as many bytes as those of one may \
                 have: send fewer series or shorter labels, or let the controller's administrator \
                 raise `series.limits.text_bytes_per_source`"
            }
            Self::StoreFull => {
                "the controller has as many series as it may have: send fewer, or let its \
                 administrator raise `series.limits.series` if there is memory (about 1 kB each)"
            }
            Self::TextsFull => {
                "the controller has as many names with labels of all sources as it may have: send \
                 fewer series, or let its administrator raise `series.limits.texts` and \
                 `series.limits.text_bytes`"
            }
            Self::TooManyNew => {
                "too many series are new within this hour: drop the label that changes all the \
                 time; what stays the same is taken within the hour"
            }
        })
    }
}

/// What became of a source's samples. All that is not refused or contradicted is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignReport {
    /// Samples stored now.
    pub stored: u64,
    /// Samples that were stored before, with the same value.
    pub repeated: u64,
    /// Samples whose time holds another value already; that one stays.
    pub contradicted: u64,
    /// Samples that were not judged, because the request would read too much: to be sent again.
    pub postponed: u64,
    /// Places of the series that were refused, none of whose samples are stored.
    pub refused: Vec<(usize, SeriesRefusal)>,
    /// Place of the first series with a contradicted sample.
    pub first_contradicted: Option<usize>,
}

/// New samples of one series, ascending in time, one per time.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: TextId,
    pub(crate) text: Arc<str>,
    pub(crate) points: Vec<(i64, f64)>,
}

impl Accepted {
    /// Its points in slices of so many.
    pub(crate) fn slices(&self, most: usize) -> impl Iterator<Item = (&Self, &[(i64, f64)])> {
        self.points.chunks(most).map(move |points| (self, points))
    }
}

/// The value as it is kept: no payload of a NaN but the stale marker's means anything.
pub(crate) fn kept(value: f64) -> f64 {
    /// Prometheus's "normal NaN".
    const NOT_A_NUMBER: f64 = f64::from_bits(0x7ff8_0000_0000_0001);
    if value.is_nan() && !crate::column::is_stale(value) {
        NOT_A_NUMBER
    } else {
        value
    }
}

/// Samples of one source.
#[derive(Debug, Clone, Copy)]
pub struct ForeignSource<'a> {
    /// Its key, below zero.
    pub source: HostKey,
    /// Its series.
    pub series: &'a [ForeignSeries<'a>],
}

/// New samples of one source.
#[derive(Debug)]
pub(crate) struct AcceptedSource {
    pub(crate) source: HostKey,
    pub(crate) series: Vec<Accepted>,
}

/// See [`crate::SeriesStore::append_sources`].
pub(crate) fn append(
    engine: &Engine,
    sources: &[ForeignSource<'_>],
) -> Result<Vec<ForeignReport>, SeriesError> {
    if let Some(wrong) = sources.iter().find(|one| one.source >= 0) {
        return Err(SeriesError::NoSource(wrong.source));
    }
    let mut keys: Vec<HostKey> = sources.iter().map(|one| one.source).collect();
    keys.sort_unstable();
    let twice = keys.windows(2).find(|pair| pair.first() == pair.last());
    if let Some(&source) = twice.and_then(<[HostKey]>::first) {
        return Err(SeriesError::NoSource(source));
    }
    let _turn = engine
        .foreign
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (mut accepted, mut reports, mut looked_up) = (Vec::new(), Vec::new(), Vec::new());
    for one in sources {
        let judged = judge::judge(engine, one.source, one.series)?;
        let mut report = judged.report;
        report.stored = (judged.accepted.iter())
            .map(|one| one.points.len() as u64)
            .sum();
        looked_up.push((one.source, judged.looked_up, report.postponed > 0));
        reports.push(report);
        if !judged.accepted.is_empty() {
            accepted.push(AcceptedSource {
                source: one.source,
                series: judged.accepted,
            });
        }
    }
    if !accepted.is_empty() {
        engine.writer().append_foreign(engine, &accepted)?;
    }
    for (source, samples, goes_on) in looked_up {
        judge::keep_looked_up(engine, source, &samples, goes_on);
    }
    let counters = &engine.counters;
    for report in &reports {
        count(&counters.foreign_stored, report.stored);
        count(&counters.foreign_repeated, report.repeated);
        count(&counters.foreign_contradicted, report.contradicted);
    }
    Ok(reports)
}
