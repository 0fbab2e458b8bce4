//! A real cluster of one: Debian's VictoriaMetrics or Prometheus, on its own folder and port.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use xiezhi_test_support::{Running, eventually};

/// Points by host and series text, without the labels that the controller gives.
pub(crate) type Held = BTreeMap<(i64, String), BTreeMap<i64, f64>>;

/// Labels that the controller gives.
const ASSIGNED: [&str; 5] = ["host_id", "instance", "job", "site", "site_id"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Removes what comes twice; takes samples in any order.
    VictoriaMetrics,
    /// Takes samples of up to a day ago in any order.
    Prometheus,
    /// Refuses what is not newer than what it has.
    StrictPrometheus,
}

/// A running cluster; it ends with this value.
pub(crate) struct Backend {
    kind: Kind,
    folder: TempDir,
    port: u16,
    running: Option<Running>,
    client: reqwest::Client,
}

impl Backend {
    /// Starts one; nothing if it is not installed.
    pub(crate) async fn start(kind: Kind) -> Result<Option<Self>> {
        if !is_installed(program(kind)) {
            xiezhi_test_support::skip(format!("{} is not installed", program(kind)));
            return Ok(None);
        }
        // It cannot be asked which port it chose.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        drop(listener);
        // The client wants to know a provider even for plain HTTP; another test may have said so.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut backend = Self {
            kind,
            folder: tempfile::tempdir()?,
            port,
            running: None,
            client: reqwest::Client::new(),
        };
        backend.run().await?;
        Ok(Some(backend))
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it (again) and waits until it answers.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let log = self.folder.path().join("log");
        let mut running = Running::start(program(self.kind), &mut self.command()?, &log)?;
        let path = match self.kind {
            Kind::VictoriaMetrics => "health",
            _ => "-/ready",
        };
        let url = format!("http://{}/{path}", self.address());
        eventually("the cluster answers", async || {
            running.check()?;
            let answer = self.client.get(&url).send().await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await?;
        self.running = Some(running);
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let data = self.folder.path().join("data");
        let mut command = Command::new(program(self.kind));
        if self.kind == Kind::VictoriaMetrics {
            command
                .arg(format!("-storageDataPath={}", data.display()))
                .arg(format!("-httpListenAddr={}", self.address()))
                .args(["-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s"])
                .args(["-retentionPeriod=10y", "-search.disableCache"]);
            return Ok(command);
        }
        let config = self.folder.path().join("prometheus.yml");
        let text = match self.kind {
            Kind::Prometheus => "storage: {tsdb: {out_of_order_time_window: 1d}}\n",
            _ => "global: {}\n",
        };
        std::fs::write(&config, text)?;
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={}", self.address()))
            .arg("--web.enable-remote-write-receiver");
        Ok(command)
    }

    /// Everything that it holds of the last day.
    pub(crate) async fn held(&self) -> Result<Held> {
        let query = [("query", "{__name__!=\"\"}[1d]")];
        let url = format!("http://{}/api/v1/query", self.address());
        let answer = self.client.post(url).form(&query).send().await?;
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        ensure!(answer["status"] == "success", "{answer}");
        let mut held = Held::new();
        for series in answer["data"]["result"].as_array().context("no series")? {
            let metric = series["metric"].as_object().context("no labels")?;
            let host = metric.get("host_id").and_then(Value::as_str);
            let host = host.map_or(Ok(0), str::parse)?;
            let points = held.entry((host, text(metric))).or_default();
            for pair in series["values"].as_array().context("no values")? {
                let time_ms = (pair[0].as_f64().context("no time")? * 1000.0).round();
                let value = pair[1].as_str().context("no value")?.parse()?;
                ensure!(
                    points.insert(time_ms as i64, value).is_none(),
                    "twice: {metric:?} at {time_ms}"
                );
            }
        }
        Ok(held)
    }
}

/// The labels that the agent wrote, sorted.
fn text(metric: &serde_json::Map<String, Value>) -> String {
    let own = metric
        .iter()
        .filter(|(name, _)| !ASSIGNED.contains(&name.as_str()));
    let own: BTreeMap<&str, &str> = own
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    format!("{own:?}")
}

/// Everything that the embedded engine holds in this folder, read from a copy, without the times at
/// which a host reported twice, as one does that is restarted within a second: there the engine shows
/// the first, and a cluster the one it prefers.
pub(crate) fn embedded(series: &Path) -> Result<Held> {
    let copy = tempfile::tempdir()?;
    let dir = copy.path().join("series");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(series)
        .arg(&dir)
        .status()?;
    ensure!(copied.success(), "the samples cannot be copied");
    let options = xiezhi_series::SeriesOptions::default();
    let store = xiezhi_series::SeriesStore::open(&dir, options)?;
    let mut held = Held::new();
    for host in store.hosts() {
        let mut times = BTreeMap::<i64, u32>::new();
        for frame in store.frames(host)? {
            *times.entry(frame.batch.time_ms).or_default() += 1;
        }
        let is_told_once = |time_ms: i64| times.get(&time_ms) == Some(&1);
        for series in store.range(host, 0, i64::MAX, &|_| true)? {
            let (name, pairs) = xiezhi_protocol::report::parse_series(&series.series)
                .context("a series without a name")?;
            let mut metric = serde_json::Map::new();
            metric.insert("__name__".into(), name.into());
            for (label, value) in pairs.iter().filter(|pair| !pair.1.is_empty()) {
                metric.insert((*label).to_owned(), value.as_str().into());
            }
            let points = held.entry((host, text(&metric))).or_default();
            let told = series.points.into_iter();
            points.extend(told.filter(|point| is_told_once(point.0)));
        }
    }
    Ok(held)
}

fn program(kind: Kind) -> &'static str {
    match kind {
        Kind::VictoriaMetrics => "victoria-metrics",
        _ => "prometheus",
    }
}

fn is_installed(program: &str) -> bool {
    let mut asked = Command::new(program);
    let asked = asked.arg("--version").stdout(Stdio::null());
    asked.stderr(Stdio::null()).status().is_ok()
}
