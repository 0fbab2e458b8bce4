//! The section `series`: how long samples are kept, and how many series there may be.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use xiezhi_document::Section;
use xiezhi_series::{SeriesLimits, SeriesOptions};

/// How samples are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    /// How long, as they were reported.
    pub(crate) retention: Duration,
    /// How long steps of five minutes are kept.
    pub(crate) retention_5m: Duration,
    /// How long steps of an hour are kept.
    pub(crate) retention_1h: Duration,
    /// How many bytes at most.
    pub(crate) max_bytes: Option<u64>,
    /// How many series there may be.
    pub(crate) limits: Limits,
}

/// Bounds of the number of series; see [`SeriesLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) series: u64,
    pub(crate) series_per_host: u32,
    pub(crate) series_per_source: u32,
    pub(crate) labels_per_series: u32,
    pub(crate) texts: u64,
    pub(crate) text_bytes: u64,
    pub(crate) text_bytes_per_source: u64,
    pub(crate) new_texts_per_hour: u64,
}

/// How long samples may be kept. Old samples are deleted by the day.
const RETENTION: RangeInclusive<Duration> = days(1)..=days(3_650);

/// Fewest bytes for samples. The logs of the running half hour count too and cannot be removed: with
/// less than this they alone may fill the limit, and everything older is deleted at every pass.
const LEAST_SERIES_BYTES: u64 = 1 << 30;

pub(super) const fn days(number: u64) -> Duration {
    Duration::from_secs(number * 86_400)
}

impl Default for Series {
    fn default() -> Self {
        let options = SeriesOptions::default();
        let SeriesLimits {
            series,
            series_per_host,
            series_per_source,
            labels_per_series,
            texts,
            text_bytes,
            text_bytes_per_source,
            new_texts_per_hour,
        } = options.series;
        Self {
            retention: options.retention,
            retention_5m: options.retention_5m,
            retention_1h: options.retention_1h,
            max_bytes: options.max_bytes,
            limits: Limits {
                series,
                series_per_host,
                series_per_source,
                labels_per_series,
                texts,
                text_bytes,
                text_bytes_per_source,
                new_texts_per_hour,
            },
        }
    }
}

impl Series {
    /// With a cluster the samples need not stay here longer than `least`, and not shorter.
    pub(super) fn read(section: &mut Section<'_>, least: Option<Duration>) -> Self {
        let default = Self::default();
        let usual = least.unwrap_or(default.retention);
        let retention = kept(section, "retention", usual, None);
        if let Some(least) = least.filter(|least| retention < *least) {
            let message = format!(
                "`retention` must be at least {}h, `cluster.spool_age` and a day: alert rules judge \
                 late samples here; leave it out to keep just that",
                least.as_secs().div_ceil(3600)
            );
            section.problem("retention", message);
        }
        let finer = ("retention", retention);
        let retention_5m = kept(section, "retention_5m", default.retention_5m, Some(finer));
        let finer = ("retention_5m", retention_5m);
        let retention_1h = kept(section, "retention_1h", default.retention_1h, Some(finer));
        let max_bytes = section.size("max_bytes");
        if max_bytes.is_some_and(|bytes| bytes < LEAST_SERIES_BYTES) {
            let message = "`max_bytes` must be at least 1GiB: with less, samples are deleted as fast \
                           as they come; leave it out to be bounded by `retention` alone";
            section.problem("max_bytes", message);
        }
        Self {
            retention,
            retention_5m,
            retention_1h,
            max_bytes,
            limits: section
                .section("limits", Limits::read)
                .unwrap_or(default.limits),
        }
    }

    /// What the store of samples runs with.
    pub(crate) fn options(&self) -> SeriesOptions {
        SeriesOptions {
            retention: self.retention,
            retention_5m: self.retention_5m,
            retention_1h: self.retention_1h,
            max_bytes: self.max_bytes,
            series: SeriesLimits {
                series: self.limits.series,
                series_per_host: self.limits.series_per_host,
                series_per_source: self.limits.series_per_source,
                labels_per_series: self.limits.labels_per_series,
                texts: self.limits.texts,
                text_bytes: self.limits.text_bytes,
                text_bytes_per_source: self.limits.text_bytes_per_source,
                new_texts_per_hour: self.limits.new_texts_per_hour,
            },
            ..SeriesOptions::default()
        }
    }
}

/// How long one resolution is kept: never shorter than the finer one, which is deleted first. What is
/// not given grows with the finer one.
fn kept(
    section: &mut Section<'_>,
    key: &str,
    default: Duration,
    finer: Option<(&str, Duration)>,
) -> Duration {
    let least = finer.map_or(Duration::ZERO, |(_, time)| time);
    let Some(time) = section.duration(key) else {
        return default.max(least);
    };
    if !RETENTION.contains(&time) {
        section.problem(key, format!("`{key}` must be from 1d to 3650d"));
    } else if let Some((finer, least)) = finer
        && time < least
    {
        let message = format!(
            "`{key}` must be at least as long as `{finer}`: coarse steps are for the time before fine \
             ones"
        );
        section.problem(key, message);
    }
    time
}

impl Limits {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Series::default().limits;
        let limits = Self {
            series: bounded(section, "series", 1_000..=100_000_000, default.series),
            series_per_host: bounded(
                section,
                "series_per_host",
                100..=1_000_000,
                default.series_per_host,
            ),
            series_per_source: bounded(
                section,
                "series_per_source",
                100..=100_000_000,
                default.series_per_source,
            ),
            labels_per_series: bounded(
                section,
                "labels_per_series",
                5..=200,
                default.labels_per_series,
            ),
            texts: bounded(section, "texts", 1_000..=100_000_000, default.texts),
            text_bytes: text_bytes(section, "text_bytes", default.text_bytes),
            text_bytes_per_source: text_bytes(
                section,
                "text_bytes_per_source",
                default.text_bytes_per_source,
            ),
            new_texts_per_hour: bounded(
                section,
                "new_texts_per_hour",
                1_000..=100_000_000,
                default.new_texts_per_hour,
            ),
        };
        if u64::from(limits.series_per_host) > limits.series {
            let message =
                "`series_per_host` must not be more than `series`, which is for all hosts";
            section.problem("series_per_host", message);
        }
        if limits.text_bytes_per_source > limits.text_bytes / 2 {
            let message = "`text_bytes_per_source` must not be more than half of `text_bytes`, which \
                           is what all sources get together";
            section.problem("text_bytes_per_source", message);
        }
        limits
    }
}

/// Bytes of names with labels. They are in memory, each once.
fn text_bytes(section: &mut Section<'_>, key: &str, default: u64) -> u64 {
    const BYTES: RangeInclusive<u64> = 1 << 20..=1 << 36;
    let bytes = section.size(key).unwrap_or(default);
    if !BYTES.contains(&bytes) {
        section.problem(key, format!("`{key}` must be from 1MiB to 64GiB"));
    }
    bytes
}

pub(super) fn bounded<T: FromStr + PartialOrd + Display + Copy>(
    section: &mut Section<'_>,
    key: &str,
    range: RangeInclusive<T>,
    default: T,
) -> T {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    let Some(number) = section.parsed(key, expected.as_str()) else {
        return default;
    };
    if !range.contains(&number) {
        section.problem(key, format!("`{key}` must be {expected}, not `{number}`"));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_document::Document;

    fn read(text: &str) -> (Series, String) {
        let document = Document::parse("controller.yaml", text);
        let (series, problems) = document.read(|section| Series::read(section, None));
        (series, problems.to_string())
    }

    #[test]
    fn coarse_steps_are_kept_at_least_as_long_as_fine_ones() {
        let (series, problems) = read("retention: 120d\n");
        assert_eq!(problems, "");
        assert_eq!(series.retention_5m, days(120));
        assert_eq!(series.retention_1h, days(730));
        assert_eq!(series.options().retention_5m, days(120));
        let (_, problems) = read("retention: 30d\nretention_5m: 20d\nretention_1h: 5000d\n");
        assert!(
            problems.contains("2:15: `retention_5m` must be"),
            "{problems}"
        );
        assert!(
            problems.contains("3:15: `retention_1h` must be"),
            "{problems}"
        );
    }

    #[test]
    fn limits_reach_the_store_and_absurd_ones_are_refused() {
        let (series, problems) =
            read("limits: {series: 5000, series_per_host: 500, texts: 9000}\n");
        assert_eq!(problems, "");
        let limits = series.options().series;
        assert_eq!((limits.series, limits.series_per_host), (5000, 500));
        assert_eq!((limits.texts, limits.labels_per_series), (9000, 30));
        for text in [
            "limits: {series: 0}",
            "limits: {series: many}",
            "limits: {labels_per_series: 1}",
            "limits: {series: 1000, series_per_host: 2000}",
            "limits: {hosts: 3}",
            "limits: {text_bytes: 1KiB}",
            "limits: {text_bytes: 64MiB, text_bytes_per_source: 33MiB}",
        ] {
            assert_ne!(read(text).1, "", "{text}");
        }
    }
}
