//! The same reports as remote write 1.0, over one connection, as fast as they are taken.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use xiezhi_metrics::remote_write::encode::BodyWriter;

use crate::Arguments;
use crate::feed::recordings;
use crate::replay::{INTERVAL_MS, Replay};

/// Samples of one request: what Prometheus sends.
const REQUEST_SAMPLES: usize = 2000;

pub(crate) fn send(arguments: &Arguments) -> Result<()> {
    let address = arguments.folder.to_string_lossy().into_owned();
    let (port, path) = address.split_once('/').context("PORT/PATH")?;
    let recordings = recordings(arguments)?;
    let hosts = 0..arguments.hosts as u64;
    let mut replays: Vec<Replay> = hosts.map(|index| Replay::new(index, &recordings)).collect();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse()?)).context("connecting")?;
    stream.set_nodelay(true)?;
    let mut connection = Connection {
        head: format!(
            "POST /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
        ),
        answers: BufReader::new(stream.try_clone()?),
        stream,
    };
    let reports = arguments.minutes * 60_000 / INTERVAL_MS as u64;
    let (mut body, mut samples) = (BodyWriter::default(), 0u64);
    for seq in 1..=reports {
        let time_ms = arguments.start_ms + seq as i64 * INTERVAL_MS;
        for (index, replay) in replays.iter_mut().enumerate() {
            if !arguments.is_active(index, seq, reports) {
                continue;
            }
            let instance = format!("host-{:05}", index + 1);
            for (series, value) in replay.next(time_ms, &recordings).iter() {
                body.add(series, &[(time_ms, value)], &[("instance", &instance)]);
                samples += 1;
            }
            if body.series() >= REQUEST_SAMPLES {
                connection.post(&body.take())?;
            }
        }
    }
    connection.post(&body.take())?;
    println!("samples {samples}");
    println!(
        "end_ms {}",
        arguments.start_ms + reports as i64 * INTERVAL_MS
    );
    Ok(())
}

struct Connection {
    head: String,
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Connection {
    fn post(&mut self, body: &[u8]) -> Result<()> {
        write!(
            self.stream,
            "{}Content-Length: {}\r\n\r\n",
            self.head,
            body.len()
        )?;
        self.stream.write_all(body)?;
        let (mut status, mut length) = (String::new(), 0);
        self.answers.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut text = vec![0; length];
        self.answers.read_exact(&mut text)?;
        ensure!(
            status.contains(" 20"),
            "{status}{}",
            String::from_utf8_lossy(&text)
        );
        Ok(())
    }
}
