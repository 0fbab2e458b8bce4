//! The agent's own metrics, and the optional loopback page that shows everything.
//!
//! What the report holds is not counted a second time here: a page with two metrics of one name is
//! refused by every reader of Prometheus's text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use prometheus::{Encoder as _, IntCounter, IntGauge, Registry, TextEncoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xiezhi_protocol::report::Report;

/// Counters and gauges that describe the agent.
pub(crate) struct Metrics {
    registry: Registry,
    /// Reports taken.
    pub(crate) reports: IntCounter,
    /// Security events seen.
    pub(crate) events: IntCounter,
    /// Batches that could not be kept.
    pub(crate) spool_errors: IntCounter,
    /// Packets of the program that asks devices which were none.
    pub(crate) refused_packets: IntCounter,
    /// Bytes sent since start.
    pub(crate) sent_bytes: IntGauge,
}

impl Metrics {
    /// Registers all of them.
    pub(crate) fn new() -> Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let sent_bytes = IntGauge::new("xiezhi_agent_sent_bytes", "Bytes sent since start.")?;
        registry.register(Box::new(sent_bytes.clone()))?;
        Ok(Self {
            reports: counter("xiezhi_agent_reports_total", "Reports taken.")?,
            events: counter(
                "xiezhi_agent_security_events_total",
                "Security events seen.",
            )?,
            spool_errors: counter(
                "xiezhi_agent_spool_errors_total",
                "Batches that could not be kept.",
            )?,
            refused_packets: counter(
                "xiezhi_agent_refused_device_packets_total",
                "Packets of xiezhi-devices that were refused.",
            )?,
            sent_bytes,
            registry,
        })
    }

    /// Everything in Prometheus's text format: the last report, then the agent's own metrics.
    fn render(&self, report: &Report) -> Result<Vec<u8>> {
        let mut bytes = describe(report).context("writing to memory")?.into_bytes();
        TextEncoder::new().encode(&self.registry.gather(), &mut bytes)?;
        Ok(bytes)
    }
}

/// What a metric of the report means, if it is not one of node_exporter's.
const HELP: &[(&str, &str)] = &[
    (
        "xiezhi_agent_spool_pending",
        "Batches waiting for acknowledgement.",
    ),
    (
        "xiezhi_agent_spool_dropped",
        "Batches that were given up and not yet noted by the controller.",
    ),
    ("xiezhi_agent_spool_bytes", "Bytes of the spool on disk."),
    (
        "xiezhi_agent_memory_bytes",
        "Memory of all the agent's processes.",
    ),
    ("xiezhi_agent_sessions", "Sessions since start."),
    (
        "xiezhi_agent_cpu_seconds_total",
        "Processor time of all the agent's processes.",
    ),
    ("xiezhi_devices", "Devices that this host asks."),
    (
        "xiezhi_devices_silent",
        "Devices that do not answer when they are asked.",
    ),
    (
        "xiezhi_devices_polls_total",
        "Polls of devices since xiezhi-devices started.",
    ),
    (
        "xiezhi_devices_faults_total",
        "Memories of devices that were lost, and polls that were not told.",
    ),
    (
        "xiezhi_devices_discarded_total",
        "Datagrams that were the answer to nothing.",
    ),
    (
        "xiezhi_devices_malformed_total",
        "Datagrams that were no SNMP.",
    ),
    (
        "xiezhi_devices_problems",
        "Problems of the files that name the devices and the links.",
    ),
    ("xiezhi_links", "Links that this host measures."),
    (
        "xiezhi_reflector_answered_total",
        "Test packets of other hosts that were answered.",
    ),
    (
        "xiezhi_reflector_refused_total",
        "Test packets of others that were refused.",
    ),
    ("xiezhi_agent_info", "Version of the agent; always 1."),
    (
        "xiezhi_process_top_cpu_seconds_total",
        "Processor time of the programs that use most.",
    ),
    (
        "xiezhi_process_top_resident_bytes",
        "Memory of the programs that use most.",
    ),
    ("xiezhi_logged_in_sessions", "Sessions of people logged in."),
    ("xiezhi_logged_in_users", "People logged in."),
    (
        "xiezhi_storage_life_used_ratio",
        "Part of the device's rated life that is used; may exceed 1.",
    ),
    (
        "xiezhi_storage_end_of_life_level",
        "The device's own warning before its end: 1 normal, 2 warning, 3 urgent.",
    ),
    (
        "xiezhi_disk_command_errors_total",
        "Commands that the disk answered with an error.",
    ),
];

/// The report as text: each metric's series together, below what it is. Reports hold series in the
/// order in which they were read.
fn describe(report: &Report) -> Result<String, std::fmt::Error> {
    let mut families: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for (series, value) in report.iter() {
        let name = series.split('{').next().unwrap_or(series);
        families.entry(name).or_default().push((series, value));
    }
    let mut page = String::new();
    for (name, family) in families {
        let help = HELP.iter().find(|(known, _)| *known == name);
        let help = help.map_or("As in Prometheus's node_exporter.", |(_, help)| help);
        writeln!(page, "# HELP {name} {help}\n# TYPE {name} {}", kind(name))?;
        for (series, value) in family {
            writeln!(page, "{series} {value}")?;
        }
    }
    Ok(page)
}

/// The type that node_exporter gives a metric of this name.
fn kind(name: &str) -> &'static str {
    if name.ends_with("_total") {
        "counter"
    } else if name.starts_with("node_netstat_") || name.starts_with("node_vmstat_") {
        // The kernel mixes both kinds in those files.
        "untyped"
    } else {
        "gauge"
    }
}

/// Serves `GET /metrics` on a loopback address, one request per connection.
///
/// It is a page for a person or a local scraper, not a web server: anything but that one request is
/// answered with an error and closed.
pub(crate) async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    last: Arc<Mutex<Report>>,
) -> Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} for /metrics: is it taken?"))?;
    // Which port the system chose, if the configuration leaves it the choice.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "/metrics is served");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let page = {
            let report = last.lock().unwrap_or_else(PoisonError::into_inner);
            metrics.render(&report).unwrap_or_default()
        };
        let answer = tokio::time::timeout(std::time::Duration::from_secs(5), answer(stream, &page));
        if let Ok(Err(error)) = answer.await {
            tracing::debug!(%error, "metrics client went away");
        }
    }
}

async fn answer(mut stream: TcpStream, page: &[u8]) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).await?;
    let asked = request.get(..length).unwrap_or_default();
    let (status, body) = if asked.starts_with(b"GET /metrics ") {
        ("200 OK", page)
    } else {
        ("404 Not Found", &b"only GET /metrics is served here\n"[..])
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_each_metric_once_and_keeps_its_series_together() {
        let mut report = Report::new();
        for (name, labels, value) in [
            ("node_network_up", [("device", "a")], 1.0),
            ("node_network_receive_bytes_total", [("device", "a")], 5.5),
            ("node_network_up", [("device", "b")], 0.0),
        ] {
            report.push(name, &labels, value).unwrap();
        }
        report.push("xiezhi_agent_sessions", &[], 2.0).unwrap();
        report.push("node_vmstat_pgfault", &[], 3.0).unwrap();
        let page = Metrics::new().unwrap().render(&report).unwrap();
        let page = String::from_utf8(page).unwrap();
        let expected = "\
# HELP node_network_receive_bytes_total As in Prometheus's node_exporter.
# TYPE node_network_receive_bytes_total counter
node_network_receive_bytes_total{device=\"a\"} 5.5
# HELP node_network_up As in Prometheus's node_exporter.
# TYPE node_network_up gauge
node_network_up{device=\"a\"} 1
node_network_up{device=\"b\"} 0
# HELP node_vmstat_pgfault As in Prometheus's node_exporter.
# TYPE node_vmstat_pgfault untyped
node_vmstat_pgfault 3
# HELP xiezhi_agent_sessions Sessions since start.
# TYPE xiezhi_agent_sessions gauge
xiezhi_agent_sessions 2
";
        assert!(page.starts_with(expected), "{page}");
        assert!(page.contains("# TYPE xiezhi_agent_reports_total counter"));
        let described = |name: &str| page.matches(&format!("# TYPE {name} ")).count();
        for (name, _) in HELP {
            assert!(described(name) <= 1, "{name}");
        }
        assert_eq!(described("xiezhi_agent_sessions"), 1);
    }
}
