//! From the bytes of a request to series that are not checked yet.

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use prost::encoding::{self, DecodeContext, WireType};

use super::message::{MetadataV1, MetadataV2, Sample, SeriesV1, SeriesV2};

/// Largest compressed body. Prometheus sends 2,000 samples in about 60 kB and Grafana's agents at
/// most 1 MB; a body above this bound is no batch but a mistake.
pub const MAX_BODY_BYTES: usize = 8 << 20;

/// Largest body after decompression, read from its header before anything is allocated.
pub const MAX_DECODED_BYTES: usize = 32 << 20;

/// Most series, and most symbols, of one request. Prometheus sends 2,000 series at once.
const MAX_PARTS: usize = 200_000;

/// Largest message of one series; a day of samples at 15 s has 100 kB.
const MAX_SERIES_BYTES: usize = 1 << 20;

/// Longest symbol of version 2.0, in bytes: any number of labels may name the same one, so that its
/// length is a factor. A series' whole text has 4,096; only a help may be longer.
pub const MAX_SYMBOL_BYTES: usize = 64 << 10;

/// Which message a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    /// The protocol that a `Content-Type` names; version 1.0 if it names no message.
    ///
    /// # Errors
    /// [`BodyError::ContentType`] for anything that is not protobuf or names another message.
    pub fn of_content_type(content_type: &str) -> Result<Self, BodyError> {
        let refuse = || BodyError::ContentType(content_type.chars().take(100).collect());
        let mut parts = content_type.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !media.eq_ignore_ascii_case("application/x-protobuf") {
            return Err(refuse());
        }
        for part in parts {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            if !name.trim().eq_ignore_ascii_case("proto") {
                continue;
            }
            return match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Ok(Self::V1),
                "io.prometheus.write.v2.Request" => Ok(Self::V2),
                _ => Err(refuse()),
            };
        }
        Ok(Self::V1)
    }
}

/// Why a body cannot be read at all. To send it again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Another content type than protobuf.
    #[error(
        "content type `{0}` is not understood: send application/x-protobuf, remote write 1.0 or 2.0"
    )]
    ContentType(String),
    /// More bytes than [`MAX_BODY_BYTES`] or, decompressed, [`MAX_DECODED_BYTES`]; more series; or
    /// more bytes of one series.
    #[error(
        "the body, or a part of it, has {found} bytes or parts and the limit is {limit}: send fewer \
         samples in a request (Prometheus: `queue_config.max_samples_per_send`; vmagent: \
         -remoteWrite.maxBlockSize)"
    )]
    TooLarge {
        /// Bytes or parts that the body has, or its header claims.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A symbol above [`MAX_SYMBOL_BYTES`].
    #[error(
        "a symbol of {found} bytes is above the limit of {MAX_SYMBOL_BYTES}: send no such label or help"
    )]
    LongSymbol {
        /// Bytes that it has.
        found: usize,
    },
    /// Series whose labels take more than [`MAX_LABEL_BYTES`](super::MAX_LABEL_BYTES) when each has
    /// its own; in the body they may share symbols.
    #[error(
        "the labels of the series together take more than {limit} bytes: send fewer series in a request"
    )]
    ManyLabels {
        /// What is allowed.
        limit: usize,
    },
    /// Not snappy's block format.
    #[error("the body is not compressed with snappy's block format")]
    Snappy(#[source] snap::Error),
    /// Not the protobuf message that the content type names.
    #[error("the body is not the protobuf message that its content type names")]
    Protobuf(#[source] prost::DecodeError),
    /// A field claims more bytes than there are.
    #[error("the body ends inside a field")]
    CutShort,
}

/// One series as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawSeries {
    /// Names and values; `None` where a position leads outside the request's symbols.
    pub(super) labels: Option<Vec<(Bytes, Bytes)>>,
    pub(super) samples: Vec<Sample>,
    pub(super) histograms: usize,
    pub(super) exemplars: usize,
}

/// A request that can be read; its series are decoded one at a time, because a message of two bytes
/// becomes a hundred in memory.
#[derive(Debug, Clone)]
pub struct Request {
    symbols: Vec<Bytes>,
    series: Vec<Bytes>,
    /// Descriptions of metrics; version 2.0 has them in the series.
    metadata: Vec<Bytes>,
    protocol: Protocol,
}

/// Reads a body as far as its outer message.
///
/// # Errors
/// [`BodyError`]; nothing of the body is used then.
pub fn decode(protocol: Protocol, body: &[u8]) -> Result<Request, BodyError> {
    let (symbols_tag, series_tag, metadata_tag) = match protocol {
        Protocol::V1 => (None, 1, Some(3)),
        Protocol::V2 => (Some(4), 5, None),
    };
    let mut request = Request {
        symbols: Vec::new(),
        series: Vec::new(),
        metadata: Vec::new(),
        protocol,
    };
    let mut rest = decompress(body)?;
    while rest.has_remaining() {
        let (tag, field) = next_field(&mut rest)?;
        let Some(field) = field else { continue };
        let list = match tag {
            _ if tag == series_tag => &mut request.series,
            _ if Some(tag) == symbols_tag => &mut request.symbols,
            _ if Some(tag) == metadata_tag => &mut request.metadata,
            _ => continue,
        };
        bounded(list.len() + 1, MAX_PARTS)?;
        if Some(tag) == symbols_tag && field.len() > MAX_SYMBOL_BYTES {
            return Err(BodyError::LongSymbol { found: field.len() });
        }
        list.push(field);
    }
    Ok(request)
}

impl Request {
    /// Which message it was.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// A symbol, which may not be UTF-8: who needs a text bounds its length first, since a request
    /// may name the same symbol hundreds of thousands of times.
    pub(super) fn symbol(&self, position: u32) -> Option<&[u8]> {
        let bytes = self.symbols.get(usize::try_from(position).ok()?)?;
        Some(bytes)
    }

    /// Descriptions that can be read; version 1.0.
    pub(super) fn metadata(&self) -> impl Iterator<Item = MetadataV1> {
        let all = self.metadata.iter();
        all.filter_map(|bytes| MetadataV1::decode(bytes.clone()).ok())
    }

    /// The series of version 2.0 that can be read and are described.
    pub(super) fn described(&self) -> impl Iterator<Item = (SeriesV2, MetadataV2)> {
        let all = self.series.iter().filter(|_| self.protocol == Protocol::V2);
        let all = all.filter_map(|bytes| SeriesV2::decode(bytes.clone()).ok());
        all.filter_map(|series| series.metadata.map(|metadata| (series, metadata)))
    }

    /// The series, decoded as they are asked for; an error spoils the rest of the body.
    pub(super) fn series(&self) -> impl Iterator<Item = Result<RawSeries, BodyError>> {
        self.series.iter().map(|bytes| self.one(bytes.clone()))
    }

    fn one(&self, bytes: Bytes) -> Result<RawSeries, BodyError> {
        bounded(bytes.len(), MAX_SERIES_BYTES)?;
        match self.protocol {
            Protocol::V1 => {
                let series = SeriesV1::decode(bytes).map_err(BodyError::Protobuf)?;
                let labels = series.labels.into_iter();
                Ok(RawSeries {
                    labels: Some(labels.map(|label| (label.name, label.value)).collect()),
                    samples: series.samples,
                    histograms: series.histograms.len(),
                    exemplars: series.exemplars.len(),
                })
            }
            Protocol::V2 => {
                let series = SeriesV2::decode(bytes).map_err(BodyError::Protobuf)?;
                Ok(RawSeries {
                    labels: resolve(&self.symbols, &series.label_positions),
                    samples: series.samples,
                    histograms: series.histograms.len(),
                    exemplars: series.exemplars.len(),
                })
            }
        }
    }
}

/// The next field of a message: its number, and its bytes if it has a length.
fn next_field(rest: &mut Bytes) -> Result<(u32, Option<Bytes>), BodyError> {
    let (tag, wire_type) = encoding::decode_key(rest).map_err(BodyError::Protobuf)?;
    if wire_type == WireType::LengthDelimited {
        let length = prost::decode_length_delimiter(&mut *rest).map_err(BodyError::Protobuf)?;
        if length > rest.len() {
            return Err(BodyError::CutShort);
        }
        return Ok((tag, Some(rest.split_to(length))));
    }
    encoding::skip_field(wire_type, tag, rest, DecodeContext::default())
        .map_err(BodyError::Protobuf)?;
    Ok((tag, None))
}

fn bounded(found: usize, limit: usize) -> Result<(), BodyError> {
    if found > limit {
        return Err(BodyError::TooLarge { found, limit });
    }
    Ok(())
}

fn decompress(body: &[u8]) -> Result<Bytes, BodyError> {
    bounded(body.len(), MAX_BODY_BYTES)?;
    let claimed = snap::raw::decompress_len(body).map_err(BodyError::Snappy)?;
    bounded(claimed, MAX_DECODED_BYTES)?;
    let plain = snap::raw::Decoder::new().decompress_vec(body);
    Ok(plain.map_err(BodyError::Snappy)?.into())
}

fn resolve(symbols: &[Bytes], positions: &[u32]) -> Option<Vec<(Bytes, Bytes)>> {
    if !positions.len().is_multiple_of(2) {
        return None;
    }
    let symbol = |position: &u32| symbols.get(usize::try_from(*position).ok()?).cloned();
    positions
        .chunks_exact(2)
        .map(|pair| match pair {
            [name, value] => Some((symbol(name)?, symbol(value)?)),
            _ => None,
        })
        .collect()
}
