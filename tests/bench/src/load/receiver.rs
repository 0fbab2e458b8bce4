//! The same hosts as senders of Prometheus remote write: one request per report over plain HTTP/1.1
//! connections that stay open.
//!
//! Plain, while our hosts speak mutual TLS: the peers' figures are without what encryption costs.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use xiezhi_protocol::report::Report;

use super::fleet::STATUS_INTERVAL;
use super::machine::Machine;
use super::province::now_ms;
use super::remote_write;

/// Longest head of an answer.
const MAX_HEAD: usize = 64 << 10;

#[derive(Debug, Default)]
struct Counters {
    connected: AtomicU64,
    acknowledged: AtomicU64,
    samples: AtomicU64,
    failures: AtomicU64,
}

/// Feeds `path` at `port` with the reports of `hosts` hosts over `connections` connections until
/// SIGTERM.
///
/// # Errors
/// The signal cannot be listened for.
pub async fn run(
    port: u16,
    path: &str,
    hosts: usize,
    connections: usize,
    interval: Duration,
    print: impl Fn(&str),
) -> Result<()> {
    let counters = Arc::new(Counters::default());
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..connections {
        let machines: Vec<_> = (connection..hosts)
            .step_by(connections.max(1))
            .map(|host| {
                (
                    format!("host-{host:05}"),
                    Machine::new(host as u64 + 1, now_ms()),
                )
            })
            .collect();
        let mut sender = Sender {
            port,
            path: path.to_owned(),
            machines,
            counters: Arc::clone(&counters),
        };
        // Every connection has its own place in the interval.
        let wait = interval.mul_f64(connection as f64 / connections as f64);
        tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            loop {
                if let Err(error) = sender.send_on(interval).await
                    && sender.counters.failures.fetch_add(1, Ordering::Relaxed) < 3
                {
                    eprintln!("remote write: {error:#}");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut status = tokio::time::interval(STATUS_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = status.tick() => {
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                print(&format!(
                    "status connected={} acknowledged={} samples={} failures={}",
                    read(&counters.connected),
                    read(&counters.acknowledged),
                    read(&counters.samples),
                    read(&counters.failures),
                ));
            }
        }
    }
}

struct Sender {
    port: u16,
    path: String,
    machines: Vec<(String, Machine)>,
    counters: Arc<Counters>,
}

impl Sender {
    async fn send_on(&mut self, interval: Duration) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .context("connecting")?;
        stream.set_nodelay(true)?;
        self.counters.connected.fetch_add(1, Ordering::Relaxed);
        let result = self.send_over(&mut stream, interval).await;
        self.counters.connected.fetch_sub(1, Ordering::Relaxed);
        result
    }

    async fn send_over(&mut self, stream: &mut TcpStream, interval: Duration) -> Result<()> {
        let mut report = Report::new();
        let mut rounds = tokio::time::interval(interval);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            for (instance, machine) in &mut self.machines {
                machine.report(now_ms(), interval.as_secs_f64(), &mut report);
                let body = remote_write::body(&report, instance);
                let head = format!(
                    "POST {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Encoding: snappy\r\n\
                     Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
                     Content-Length: {}\r\n\r\n",
                    self.path,
                    self.port,
                    body.len()
                );
                let mut request = head.into_bytes();
                request.extend_from_slice(&body);
                stream.write_all(&request).await.context("sending")?;
                answer(stream).await?;
                self.counters.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.counters
                    .samples
                    .fetch_add(report.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Reads one answer, which has no body when all is well.
async fn answer(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if stream
            .read_buf(&mut head)
            .await
            .context("waiting for the answer")?
            == 0
            || head.len() > MAX_HEAD
        {
            bail!(
                "the answer is cut or too long: {}",
                String::from_utf8_lossy(&head)
            );
        }
        // An answer with a body is a complaint: it does not end with the empty line.
        if !head.starts_with(b"HTTP/1.1 20") && head.len() >= 12 {
            bail!("refused: {}", String::from_utf8_lossy(&head));
        }
    }
    Ok(())
}
