//! The protocol's messages, as far as they are read.
//!
//! Written by hand rather than generated, so that building needs no protobuf compiler. Texts are
//! `bytes` here: a label that is not UTF-8 spoils its own series, not the whole body.

use bytes::Bytes;
use prost::Message;

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesV1 {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(super) exemplars: Vec<Ignored>,
    #[prost(message, repeated, tag = "4")]
    pub(super) histograms: Vec<Ignored>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Label {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// `prometheus.Sample`, the same in both versions.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) time_ms: i64,
}

/// Something that is counted and not read.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Ignored {}

/// `io.prometheus.write.v2.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesV2 {
    /// Pairs of positions in the request's symbols: name, value, name, value.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) label_positions: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(super) histograms: Vec<Ignored>,
    #[prost(message, repeated, tag = "4")]
    pub(super) exemplars: Vec<Ignored>,
    #[prost(message, optional, tag = "5")]
    pub(super) metadata: Option<MetadataV2>,
}

/// `prometheus.MetricMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetadataV1 {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) help: String,
    #[prost(string, tag = "5")]
    pub(super) unit: String,
}

/// `io.prometheus.write.v2.Metadata`; texts are positions in the request's symbols.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct MetadataV2 {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "3")]
    pub(super) help: u32,
    #[prost(uint32, tag = "4")]
    pub(super) unit: u32,
}
