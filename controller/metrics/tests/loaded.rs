//! A real VictoriaMetrics that is killed, a line that is cut and a sender that ends, all while hundreds of
//! hosts report: in the end the cluster has every sample with its value.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xiezhi_metrics::Origins;
use xiezhi_metrics::cluster::{
    Auth, FreshDirectory, Refreshed, Sender, SenderSettings, Status, Target, TlsSettings,
};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Frame, SeriesOptions, SeriesStore};

const HOSTS: i64 = 300;
const SERIES: usize = 10;
/// Reports of each host between two faults.
const REPORTS: u64 = 20;
const START_MS: i64 = 1_700_000_000_000;
const LIMIT: Duration = Duration::from_secs(240);

/// Nobody is known: hosts are told by their number.
#[derive(Debug)]
struct Nobody;

impl FreshDirectory for Nobody {
    fn fresh(&self) -> Refreshed<'_> {
        Box::pin(async { Ok(Origins::default()) })
    }
}

struct Victoria {
    port: u16,
    data: std::path::PathBuf,
    child: Option<Child>,
}

impl Victoria {
    fn new(folder: &Path) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: listener.local_addr().unwrap().port(),
            data: folder.join("victoria"),
            child: None,
        }
    }

    async fn run(&mut self) {
        let child = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", self.data.display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{}", self.port))
            .args(["-retentionPeriod=100y", "-dedup.minScrapeInterval=1ms"])
            .args(["-search.latencyOffset=0s", "-memory.allowedPercent=20"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let deadline = Instant::now() + LIMIT;
        while self.get("/health").await.is_none() {
            assert!(Instant::now() < deadline, "VictoriaMetrics does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL: what it holds in memory only is gone.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The body of an answer 200.
    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// A figure of all samples of all hosts; `None` if it does not tell.
    async fn figure(&self, function: &str, newest_ms: i64) -> Option<f64> {
        self.get("/internal/force_flush").await?;
        let query = format!("sum({function}(%7B__name__=~%22metric_.%2B%22%7D[1d]))");
        let time = newest_ms / 1000;
        let path = format!("/api/v1/query?query={query}&time={time}&nocache=1");
        let answer: serde_json::Value = serde_json::from_str(&self.get(&path).await?).ok()?;
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line to the cluster that can be cut.
struct Line {
    port: u16,
    open: watch::Sender<bool>,
}

impl Line {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    if !*is_open.borrow_and_update() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.changed() => {}
                    }
                });
            }
        });
        Self { port, open }
    }
}

struct Setting {
    folder: tempfile::TempDir,
    store: SeriesStore,
    encoders: Vec<Encoder>,
    seq: u64,
    line: Line,
    running: Option<(watch::Sender<bool>, JoinHandle<()>, Status)>,
}

impl Setting {
    /// Every host reports so many times, as fast as the store takes it.
    async fn report(&mut self, times: u64) {
        for _ in 0..times {
            self.seq += 1;
            let (newest_ms, mut sent) = (self.newest_ms(), Vec::new());
            for (host, encoder) in (1..=HOSTS).zip(&mut self.encoders) {
                let mut report = Report::new();
                report.start(newest_ms);
                for index in 0..SERIES {
                    let name = format!("metric_{index:02}");
                    report
                        .push(&name, &[], value(host, self.seq, index))
                        .unwrap();
                }
                let mut bytes = Vec::new();
                let batch = encoder.encode(self.seq, &report, &mut bytes);
                sent.push((host, batch, peek(&bytes).unwrap().key, bytes));
            }
            let frames = sent.iter().map(|(host, batch, key, bytes)| Frame {
                host: *host,
                epoch: 1,
                batch: *batch,
                key: *key,
                bytes,
            });
            let frames: Vec<Frame<'_>> = frames.collect();
            self.store.append(&frames).unwrap();
            // The sender has its turn.
            tokio::task::yield_now().await;
        }
    }

    fn newest_ms(&self) -> i64 {
        START_MS + self.seq as i64 * 15_000
    }

    fn start(&mut self) {
        let base = format!("http://127.0.0.1:{}", self.line.port);
        let target = Target {
            write: format!("{base}/api/v1/write").parse().unwrap(),
            query: base.parse().unwrap(),
            auth: Auth::None,
            tenant: None,
            tls: TlsSettings::default().build().unwrap(),
        };
        let settings = SenderSettings {
            folder: self.folder.path().join("cluster"),
            wait: Duration::from_millis(100),
            timeout: Duration::from_secs(10),
            ..SenderSettings::default()
        };
        let status = Status::register(&Registry::new()).unwrap();
        let sender = Sender::new(
            self.store.clone(),
            Arc::new(Nobody),
            Arc::new(target),
            settings,
            status.clone(),
        );
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(sender.unwrap().run(stopped));
        self.running = Some((stop, task, status));
    }

    /// Ends the sender wherever it is, as a crash would.
    async fn kill(&mut self) {
        let (_, task, _) = self.running.take().unwrap();
        task.abort();
        task.await.err();
    }

    fn sent(&self) -> u64 {
        self.running.as_ref().unwrap().2.now().sent
    }

    /// Samples go on, and are taken.
    async fn until_it_sends(&self) {
        let before = self.sent();
        let deadline = Instant::now() + LIMIT;
        while self.sent() == before {
            let standing = self.running.as_ref().unwrap().2.now();
            assert!(Instant::now() < deadline, "{standing:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn value(host: i64, seq: u64, index: usize) -> f64 {
    ((seq * 31 + index as u64 * 7 + host.unsigned_abs()) % 1000) as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loaded_cluster_that_is_killed_and_cut_off_has_every_sample_in_the_end() {
    if Command::new("victoria-metrics")
        .arg("-version")
        .output()
        .is_err()
    {
        xiezhi_test_skip::skip("victoria-metrics is not installed (Debian's victoria-metrics)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut victoria = Victoria::new(folder.path());
    victoria.run().await;
    let options = SeriesOptions {
        hold: Some(Duration::from_secs(86_400)),
        ..SeriesOptions::default()
    };
    let mut setting = Setting {
        store: SeriesStore::open(&folder.path().join("series"), options).unwrap(),
        encoders: (0..HOSTS).map(|_| Encoder::new(15_000)).collect(),
        seq: 0,
        line: Line::start(victoria.port).await,
        running: None,
        folder,
    };
    setting.start();
    for round in 0..8 {
        setting.report(REPORTS).await;
        setting.until_it_sends().await;
        // More comes before, while and after something breaks.
        setting.report(REPORTS).await;
        match round % 4 {
            0 => {
                victoria.kill();
                setting.report(REPORTS).await;
                victoria.run().await;
            }
            1 => {
                setting.line.open.send_replace(false);
                setting.report(REPORTS).await;
                setting.line.open.send_replace(true);
            }
            2 => {
                setting.kill().await;
                setting.report(REPORTS).await;
                setting.start();
            }
            _ => {
                victoria.kill();
                setting.kill().await;
                setting.report(REPORTS).await;
                victoria.run().await;
                setting.start();
            }
        }
    }
    setting.report(1).await;
    let (mut count, mut sum) = (0.0, 0.0);
    for seq in 1..=setting.seq {
        for host in 1..=HOSTS {
            count += SERIES as f64;
            sum += (0..SERIES)
                .map(|index| value(host, seq, index))
                .sum::<f64>();
        }
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        let newest_ms = setting.newest_ms();
        let found = (
            victoria.figure("count_over_time", newest_ms).await,
            victoria.figure("sum_over_time", newest_ms).await,
        );
        if found == (Some(count), Some(sum)) {
            break;
        }
        let standing = setting.running.as_ref().unwrap().2.now();
        let wanted = (count, sum);
        assert!(
            Instant::now() < deadline,
            "{found:?} of {wanted:?}: {standing:?}"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let standing = setting.running.as_ref().unwrap().2.now();
    assert_eq!((standing.dropped, standing.unsent), (0, 0), "{standing:?}");
}
