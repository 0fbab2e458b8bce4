//! A cluster that takes everything and keeps nothing: what a sender costs is measured against it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use xiezhi_metrics::remote_write::encode::sent;

use super::fleet::STATUS_INTERVAL;

/// Listens at `port` until SIGTERM, answers 204, and tells how many samples and requests came.
///
/// # Errors
/// The port is taken, or the signal cannot be listened for.
pub async fn run(port: u16, print: impl Fn(&str)) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let counters = Arc::<[AtomicU64; 2]>::default();
    let seen = Arc::clone(&counters);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move { drop(serve(stream, &seen).await) });
        }
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut status = tokio::time::interval(STATUS_INTERVAL);
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = status.tick() => {
                let [samples, requests] = &*counters;
                print(&format!("status samples={} requests={}", read(samples), read(requests)));
            }
        }
    }
}

async fn serve(mut stream: TcpStream, [samples, requests]: &[AtomicU64; 2]) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            anyhow::ensure!(stream.read_buf(&mut bytes).await? > 0, "ended");
        };
        let head = bytes.get(..end).unwrap_or_default();
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no length")?.trim().parse()?;
        while bytes.len() < end + length {
            anyhow::ensure!(stream.read_buf(&mut bytes).await? > 0, "cut");
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        let rest = bytes.split_off(end + length);
        let body = std::mem::replace(&mut bytes, rest);
        let series = body.get(end..).and_then(sent).unwrap_or_default();
        let count: usize = series.iter().map(|one| one.samples.len()).sum();
        samples.fetch_add(count as u64, Ordering::Relaxed);
        requests.fetch_add(1, Ordering::Relaxed);
    }
}
