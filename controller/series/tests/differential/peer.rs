//! A real Prometheus on its own folder and port, asked through its HTTP API.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use xiezhi_promql::Labels;

use crate::Points;

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// A running Prometheus; it ends with this value.
pub(crate) struct Peer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().expect("it can be ended");
        self.child.wait().expect("it can be waited for");
    }
}

impl Peer {
    /// Starts one that holds these samples; nothing if it is not installed.
    pub(crate) fn start(samples: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (text, blocks) = (
            folder.path().join("samples.txt"),
            folder.path().join("data"),
        );
        std::fs::write(&text, samples).expect("a file");
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&text, &blocks])
            .output()
            .ok()?;
        assert!(
            made.status.success(),
            "promtool: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, "global:\n  evaluation_interval: 1m\n").expect("a file");
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", blocks.display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let peer = Self {
            child,
            port,
            _folder: folder,
        };
        let deadline = Instant::now() + START;
        while !peer
            .get("/-/ready")
            .is_ok_and(|answer| answer.contains("Ready"))
        {
            assert!(Instant::now() < deadline, "prometheus did not become ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(peer)
    }

    /// The answer to a range query, or Prometheus's error.
    pub(crate) fn range(
        &self,
        query: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Points, String> {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={}",
            encoded(query),
            seconds(start_ms),
            seconds(end_ms),
            seconds(step_ms)
        );
        let body = self.get(&path).expect("an answer");
        let json: Json = serde_json::from_str(&body).expect("JSON");
        if json["status"] != "success" {
            return Err(json["error"].as_str().unwrap_or_default().to_owned());
        }
        let series = json["data"]["result"].as_array().expect("series");
        Ok(series
            .iter()
            .map(|one| (labels(&one["metric"]), points(&one["values"])))
            .collect())
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default())
    }
}

fn labels(metric: &Json) -> String {
    let pairs = metric.as_object().expect("labels").iter();
    let pairs =
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    Labels::new(pairs).to_string()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "times are whole milliseconds"
)]
fn points(values: &Json) -> Vec<(i64, f64)> {
    let point = |pair: &Json| {
        let time = pair[0].as_f64().expect("a time");
        let value = pair[1].as_str().expect("a value");
        (
            (time * 1000.0).round() as i64,
            value.parse().expect("a number"),
        )
    };
    values
        .as_array()
        .expect("points")
        .iter()
        .map(point)
        .collect()
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A port that was free a moment ago; Prometheus cannot be asked which one it chose.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}
