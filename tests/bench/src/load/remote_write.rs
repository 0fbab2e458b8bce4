//! A report as Prometheus remote write 1.0: protobuf, then snappy's block format.
//!
//! Only what the peer of a figure needs: labels and one sample per series, no metadata.

use anyhow::{Context as _, Result};
use xiezhi_protocol::report::{Report, parse_series};

/// The body of one request that carries the whole report of a host named `instance`.
///
/// # Errors
/// The report is not one that the collectors could have written.
pub fn body(report: &Report, instance: &str) -> Result<Vec<u8>> {
    let mut request = Vec::with_capacity(report.len() * 100);
    for (series, value) in report.iter() {
        let (name, labels) = parse_series(series).context("a malformed series")?;
        let mut all = vec![
            ("__name__", name.to_owned()),
            ("instance", instance.to_owned()),
        ];
        all.extend(labels);
        all.sort_unstable();
        let mut time_series = Vec::with_capacity(100);
        for (label, text) in &all {
            let mut pair = Vec::with_capacity(40);
            field(&mut pair, 1, label.as_bytes());
            field(&mut pair, 2, text.as_bytes());
            field(&mut time_series, 1, &pair);
        }
        let mut sample = Vec::with_capacity(20);
        sample.push(9);
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(16);
        xiezhi_protocol::codec::varint::write(&mut sample, report.time_ms() as u64);
        field(&mut time_series, 2, &sample);
        field(&mut request, 1, &time_series);
    }
    snap::raw::Encoder::new()
        .compress_vec(&request)
        .context("compressing")
}

/// A length-delimited field of a protobuf message.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    xiezhi_protocol::codec::varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
