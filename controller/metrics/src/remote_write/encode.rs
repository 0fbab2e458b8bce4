//! Series as the body of a request of version 1.0, and back: what tests, figures and fuzz seeds send,
//! and what tests read of what was sent.
//!
//! It is not made for speed: who sends a fleet's samples on keeps labels encoded.

use std::borrow::Cow;

use prost::Message as _;
use xiezhi_promql::{Named, plain_name};
use xiezhi_protocol::report::parse_series;

use super::message::{Label, MetadataV1, Sample, SeriesV1};

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct RequestV1 {
    #[prost(message, repeated, tag = "1")]
    series: Vec<SeriesV1>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<MetadataV1>,
}

/// A body that series are added to.
#[derive(Debug, Default)]
pub struct BodyWriter(RequestV1);

impl BodyWriter {
    /// Adds a series: a canonical text, points, and more labels. A text that is not canonical is sent
    /// as a name, for a reader to refuse.
    pub fn add(&mut self, text: &str, points: &[(i64, f64)], more: &[(&str, &str)]) {
        self.0.series.push(one(text, points, more));
    }

    /// Adds a series whose labels stay in their order, as senders write them that sort nothing.
    pub fn add_unsorted(&mut self, labels: &[(&str, &str)], points: &[(i64, f64)]) {
        let labels = labels
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        self.0.series.push(series(labels, points));
    }

    /// Series so far.
    #[must_use]
    pub fn series(&self) -> usize {
        self.0.series.len()
    }

    /// The bytes of what was added, which is forgotten then.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let bytes = pack(&self.0);
        self.0.series.clear();
        bytes
    }
}

/// A body of series, each a canonical text and points, with more labels for each. Escaped names
/// (`U__a_2e_b`) are sent as what they stand for.
#[must_use]
pub fn body<'a>(
    series: impl IntoIterator<Item = (&'a str, &'a [(i64, f64)])>,
    more: &[(&str, &str)],
) -> Vec<u8> {
    let mut body = BodyWriter::default();
    for (text, points) in series {
        body.add(text, points, more);
    }
    body.take()
}

/// A body that describes one metric: the number of its type, and its help.
#[must_use]
pub fn description(name: &str, kind: i32, help: &str) -> Vec<u8> {
    let metadata = MetadataV1 {
        kind,
        name: name.to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    };
    pack(&RequestV1 {
        series: Vec::new(),
        metadata: vec![metadata],
    })
}

/// A series of a body, as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// Names and values, in the order in which they were sent, the metric's name among them.
    pub labels: Vec<(String, String)>,
    /// Unix milliseconds and values.
    pub samples: Vec<(i64, f64)>,
}

/// The series of a body; `None` if it is none.
#[must_use]
pub fn sent(body: &[u8]) -> Option<Vec<Sent>> {
    let plain = snap::raw::Decoder::new().decompress_vec(body).ok()?;
    let request = RequestV1::decode(&*plain).ok()?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let label = |one: Label| Some((text(&one.name)?, text(&one.value)?));
    let series = request.series.into_iter().map(|one| {
        let samples = one.samples.iter();
        Some(Sent {
            labels: one.labels.into_iter().map(label).collect::<Option<_>>()?,
            samples: samples.map(|one| (one.time_ms, one.value)).collect(),
        })
    });
    series.collect()
}

fn one(text: &str, points: &[(i64, f64)], more: &[(&str, &str)]) -> SeriesV1 {
    let (name, own) = parse_series(text).unwrap_or((text, Vec::new()));
    let mut labels = vec![("__name__".into(), plain_name(name, Named::Metric))];
    let own = own
        .iter()
        .map(|(label, value)| (plain_name(label, Named::Label), value.into()));
    labels.extend(own);
    let more = more
        .iter()
        .map(|&(label, value)| (label.into(), value.into()));
    labels.extend(more);
    labels.sort_unstable();
    series(labels, points)
}

fn series<'a>(
    labels: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    points: &[(i64, f64)],
) -> SeriesV1 {
    let labels = labels.into_iter().map(|(name, value)| Label {
        name: name.into_owned().into(),
        value: value.into_owned().into(),
    });
    let samples = points
        .iter()
        .map(|&(time_ms, value)| Sample { value, time_ms });
    SeriesV1 {
        labels: labels.collect(),
        samples: samples.collect(),
        ..SeriesV1::default()
    }
}

fn pack(request: &RequestV1) -> Vec<u8> {
    let plain = request.encode_to_vec();
    // It fails only above 4 GiB.
    snap::raw::Encoder::new()
        .compress_vec(&plain)
        .unwrap_or_default()
}
