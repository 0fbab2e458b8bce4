//! The agent's own metrics, and the optional loopback page that shows everything.

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
    /// Batches waiting for acknowledgement.
    pub(crate) spool_pending: IntGauge,
    /// Bytes of the spool on disk.
    pub(crate) spool_bytes: IntGauge,
    /// Memory of all the agent's processes.
    pub(crate) memory_bytes: IntGauge,
    /// Sessions since start.
    pub(crate) sessions: IntGauge,
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
        let gauge = |name: &str, help: &str| -> Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
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
            spool_pending: gauge(
                "xiezhi_agent_spool_pending",
                "Batches waiting for acknowledgement.",
            )?,
            spool_bytes: gauge("xiezhi_agent_spool_bytes", "Bytes of the spool on disk.")?,
            memory_bytes: gauge(
                "xiezhi_agent_memory_bytes",
                "Memory of all the agent's processes.",
            )?,
            sessions: gauge("xiezhi_agent_sessions", "Sessions since start.")?,
            sent_bytes: gauge("xiezhi_agent_sent_bytes", "Bytes sent since start.")?,
            registry,
        })
    }

    /// Everything in Prometheus's text format: the last report, then the agent's own metrics.
    fn render(&self, report: &Report) -> Result<Vec<u8>> {
        let mut page = String::new();
        for (series, value) in report.iter() {
            writeln!(page, "{series} {value}").context("writing to memory")?;
        }
        let mut bytes = page.into_bytes();
        TextEncoder::new().encode(&self.registry.gather(), &mut bytes)?;
        Ok(bytes)
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
