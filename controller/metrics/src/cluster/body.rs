//! Remote write 1.0: reports as the bytes of a request.
//!
//! `WriteRequest` is a list of series, and lists of protobuf messages are joined by joining their
//! bytes. So each report is encoded once, and a request is any number of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::encoding::{encode_varint, encoded_len_varint};
use xiezhi_promql::{Label, METRIC_NAME, Named, plain_name};
use xiezhi_protocol::report::parse_series;
use xiezhi_series::{HostKey, TailReport, device_of};

use crate::directory::{ASSIGNED, DEVICE, Origins, SOURCE};

/// Series texts whose labels are kept parsed; the fleet has a few hundred.
const MOST_TEXTS: usize = 200_000;

const SERIES: u8 = 1 << 3 | 2;
const LABELS: u8 = 1 << 3 | 2;
const SAMPLES: u8 = 2 << 3 | 2;
const NAME: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const SAMPLE_VALUE: u8 = 1 << 3 | 1;
const SAMPLE_TIME: u8 = 2 << 3;

/// One report, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) host: HostKey,
    pub(super) samples: usize,
    pub(super) bytes: Vec<u8>,
}

/// A label, ready to be put into a series.
#[derive(Debug, Clone)]
struct Ready {
    name: Box<str>,
    bytes: Box<[u8]>,
}

/// Encodes reports; remembers how labels look.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    texts: HashMap<Arc<str>, Option<Arc<[Ready]>>>,
    series: Vec<u8>,
}

impl Encoder {
    /// A report with the labels of its host. A host that the controller does not know (any more) is
    /// told by its number, so that nothing is lost; only who sees the province sees it.
    pub(super) fn encode(&mut self, report: &TailReport, origins: &Origins) -> Piece {
        let host = host_labels(report.host, origins);
        let mut piece = Piece {
            host: report.host,
            samples: 0,
            bytes: Vec::with_capacity(report.samples.len() * 200),
        };
        let mut sample = Vec::new();
        for (text, value) in &report.samples {
            let Some(own) = self.text_labels(text) else {
                continue;
            };
            self.series.clear();
            join(&own, &host, &mut self.series);
            sample.clear();
            sample.push(SAMPLE_VALUE);
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(SAMPLE_TIME);
            encode_varint(report.time_ms.cast_unsigned(), &mut sample);
            field(SAMPLES, &sample, &mut self.series);
            field(SERIES, &self.series, &mut piece.bytes);
            piece.samples += 1;
        }
        piece
    }

    fn text_labels(&mut self, text: &Arc<str>) -> Option<Arc<[Ready]>> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= MOST_TEXTS {
            self.texts.clear();
        }
        let parsed = parse_series(text).map(|(name, pairs)| {
            // Whether this host has such a label or not: an agent speaks for no other origin.
            let is_own = |name: &str| name != METRIC_NAME && !ASSIGNED.contains(&name);
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| (plain_name(name, Named::Label), value));
            let pairs = pairs.filter(|(name, value)| is_own(name) && !value.is_empty());
            let pairs = pairs.map(|(name, value)| ready(&name, value));
            let name = ready(METRIC_NAME, &plain_name(name, Named::Metric));
            let mut labels: Vec<Ready> = pairs.chain([name]).collect();
            labels.sort_unstable_by(|left, right| left.name.cmp(&right.name));
            // A host may write one name in two ways.
            labels.dedup_by(|later, first| later.name == first.name);
            labels.into()
        });
        self.texts.insert(Arc::clone(text), parsed.clone());
        parsed
    }
}

/// The body of a request with these reports.
pub(super) fn compress(pieces: &[Piece]) -> Result<Bytes, snap::Error> {
    let length = pieces.iter().map(|piece| piece.bytes.len()).sum();
    let mut joined = Vec::with_capacity(length);
    pieces
        .iter()
        .for_each(|piece| joined.extend_from_slice(&piece.bytes));
    Ok(snap::raw::Encoder::new().compress_vec(&joined)?.into())
}

/// A request with one sample of our own, to ask whether the cluster takes any.
pub(super) fn probe(now_ms: i64) -> Result<Bytes, snap::Error> {
    let mut series = Vec::new();
    let own = [
        ready(METRIC_NAME, "xiezhi_cluster_probe"),
        ready("instance", "controller"),
        ready("job", "xiezhi-controller"),
    ];
    own.iter()
        .for_each(|label| series.extend_from_slice(&label.bytes));
    let mut sample = vec![SAMPLE_VALUE];
    sample.extend_from_slice(&1f64.to_le_bytes());
    sample.push(SAMPLE_TIME);
    encode_varint(now_ms.cast_unsigned(), &mut sample);
    field(SAMPLES, &sample, &mut series);
    let mut bytes = Vec::new();
    field(SERIES, &series, &mut bytes);
    let piece = Piece {
        host: 0,
        samples: 1,
        bytes,
    };
    compress(&[piece])
}

fn host_labels(host: HostKey, origins: &Origins) -> Vec<Ready> {
    let hosts = &origins.hosts;
    let place = hosts.binary_search_by_key(&host, |known| known.host).ok();
    match place.and_then(|place| hosts.get(place)) {
        Some(known) => {
            let labels = known.labels.iter();
            labels
                .map(|Label { name, value }| ready(name, value))
                .collect()
        }
        None if host < 0 => match device_of(host) {
            Some(device) => vec![ready(DEVICE, &device.to_string())],
            None => vec![ready(SOURCE, &host.unsigned_abs().to_string())],
        },
        None => vec![ready("host_id", &host.to_string())],
    }
}

fn ready(name: &str, value: &str) -> Ready {
    let mut label = Vec::with_capacity(name.len() + value.len() + 4);
    field(NAME, name.as_bytes(), &mut label);
    field(VALUE, value.as_bytes(), &mut label);
    let mut bytes = Vec::with_capacity(label.len() + 3);
    field(LABELS, &label, &mut bytes);
    Ready {
        name: name.into(),
        bytes: bytes.into(),
    }
}

fn field(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.reserve(1 + encoded_len_varint(content.len() as u64) + content.len());
    out.push(tag);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// Both sorted lists as one; the host's label hides the series' own, as in queries.
fn join(own: &[Ready], host: &[Ready], out: &mut Vec<u8>) {
    let (mut own, mut host) = (own.iter().peekable(), host.iter().peekable());
    loop {
        let next = match (own.peek(), host.peek()) {
            (Some(one), Some(other)) if one.name == other.name => {
                own.next();
                host.next()
            }
            (Some(one), Some(other)) if one.name < other.name => own.next(),
            (Some(_), None) => own.next(),
            (None, None) => return,
            _ => host.next(),
        };
        next.iter()
            .for_each(|label| out.extend_from_slice(&label.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_write::encode::sent;
    use xiezhi_series::{LabelledHost, Place};

    #[test]
    fn what_is_sent_has_sorted_labels_and_only_the_controller_tells_of_origins() {
        let label = |name: &str, value: &str| Label {
            name: name.into(),
            value: value.into(),
        };
        let origins = Origins {
            hosts: [LabelledHost {
                host: 4,
                labels: vec![label("host_id", "4"), label("site", "gs")],
            }]
            .into(),
            sites: [1].into(),
        };
        let report = TailReport {
            host: 4,
            time_ms: 1_700_000_000_123,
            received_ms: 0,
            samples: vec![
                ("up{site=\"x\",site_id=\"2\",source_id=\"3\"}".into(), 1.5),
                (
                    "a_total{A=\"b\",__name__=\"z\",host_id=\"9\",x=\"y\"}".into(),
                    -0.0,
                ),
                ("no series".into(), 1.0),
            ],
            end: Place::default(),
        };
        let mut encoder = Encoder::default();
        let first = encoder.encode(&report, &origins);
        assert_eq!(first.samples, 2);
        let unknown = TailReport { host: 5, ..report };
        let second = encoder.encode(&unknown, &origins);
        let body = compress(&[first, second]).unwrap();
        let texts: Vec<String> = sent(&body)
            .unwrap()
            .iter()
            .map(|series| {
                let labels = series.labels.iter();
                let labels = labels.map(|(name, value)| format!("{name}={value}"));
                let samples = series.samples.iter();
                let samples = samples.map(|(time_ms, value)| format!("{value}@{time_ms}"));
                format!(
                    "{} {}",
                    labels.collect::<Vec<_>>().join(","),
                    samples.collect::<Vec<_>>().join(",")
                )
            })
            .collect();
        let time = 1_700_000_000_123i64;
        assert_eq!(
            texts,
            [
                format!("__name__=up,host_id=4,site=gs 1.5@{time}"),
                format!("A=b,__name__=a_total,host_id=4,site=gs,x=y -0@{time}"),
                format!("__name__=up,host_id=5 1.5@{time}"),
                format!("A=b,__name__=a_total,host_id=5,x=y -0@{time}"),
            ]
        );
    }
}
