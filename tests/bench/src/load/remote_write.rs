//! A report as Prometheus remote write 1.0: labels and one sample per series, no metadata.

use xiezhi_metrics::remote_write::encode::BodyWriter;
use xiezhi_protocol::report::Report;

/// The body of one request that carries the whole report of a host named `instance`.
#[must_use]
pub fn body(report: &Report, instance: &str) -> Vec<u8> {
    let mut body = BodyWriter::default();
    for (series, value) in report.iter() {
        body.add(
            series,
            &[(report.time_ms(), value)],
            &[("instance", instance)],
        );
    }
    body.take()
}
