//! Queries that never end, or that cost all they may, and agents that are acknowledged meanwhile.
//!
//! The runtime has a single thread, as on the smallest machine: whatever a query does on it, an agent
//! waits for. No time is measured; what must go on, goes on, or the test hangs until its deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use xiezhi_bench::load::session::{Down, Session};
use xiezhi_model::ApiRight;
use xiezhi_protocol::PROTOCOL_VERSION;
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::message::Hello;
use xiezhi_protocol::record::Kind;
use xiezhi_protocol::report::Report;
use xiezhi_series::Frame;
use xiezhi_series::disk::{Disk, DiskFile, Folder, ReadAt};

use super::bench::*;
use super::prometheus::token;

/// Far beyond what anything here takes; a test that waits so long has found something.
const HANG: Duration = Duration::from_secs(120);
/// Batches that must be acknowledged while no query gets on.
const BATCHES: u64 = 50;
/// Query threads, and places in their line.
const THREADS: usize = 2;
const LINE: usize = 20;

/// Where whoever reads a block waits while it is shut.
#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    bell: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        // Sealing and the like may go on.
        if std::thread::current().name() != Some("xiezhi-query") {
            return;
        }
        let mut is_shut = self.is_shut.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while *is_shut {
            is_shut = self.bell.wait(is_shut).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.bell.notify_all();
    }
}

/// One gate for the one test that uses it: a disk is made by a plain function.
static GATE: std::sync::LazyLock<Arc<Gate>> = std::sync::LazyLock::new(Arc::default);

/// A folder of whose blocks nothing is read while the gate is shut. Logs are written as ever.
#[derive(Debug)]
struct GatedDisk(Folder);

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn DiskFile>,
    is_block: bool,
}

impl ReadAt for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.is_block {
            GATE.pass();
        }
        self.file.read_at(buffer, offset)
    }
}

impl DiskFile for GatedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

impl Disk for GatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let is_block = name.starts_with("block-");
        let file = self.0.open(name)?;
        Ok(Arc::new(GatedFile { file, is_block }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

fn gated(folder: &Path) -> Arc<dyn Disk> {
    Arc::new(GatedDisk(Folder::open(folder).unwrap()))
}

/// One agent, connected.
struct Agent {
    session: Session,
    encoder: Encoder,
    /// Number of the last batch.
    seq: u64,
    start_ms: i64,
}

/// A controller with one agent, whose clock is the machine's: TLS looks at that one.
async fn with_an_agent(disk: fn(&Path) -> Arc<dyn Disk>) -> (Bench, Agent) {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    let bench = Bench::shaped(Shape {
        start_ms: since.as_millis() as i64,
        disk,
        agents: 1,
        ..Shape::default()
    })
    .await;
    let tls = bench.credentials[0].tls().unwrap();
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        hostname: bench.credentials[0].hostname.clone(),
        clock_ms: bench.now_ms(),
        interval_ms: 15_000,
        ..Hello::default()
    };
    let address = bench.agents.to_string();
    let opened = Session::open(&address, tls, &hello);
    let (session, _) = tokio::time::timeout(HANG, opened).await.unwrap().unwrap();
    let agent = Agent {
        session,
        encoder: Encoder::new(15_000),
        seq: 0,
        start_ms: bench.now_ms(),
    };
    (bench, agent)
}

impl Agent {
    /// Sends batches one by one, each as soon as the one before is acknowledged.
    async fn reports(&mut self) {
        for _ in 0..BATCHES {
            self.seq += 1;
            let mut report = Report::new();
            report.start(self.start_ms + self.seq as i64);
            report.push("node_load1", &[], self.seq as f64).unwrap();
            let mut bytes = Vec::new();
            self.encoder.encode(self.seq, &report, &mut bytes);
            self.session.send(Kind::LiveSamples, &bytes).unwrap();
            // Otherwise four reports share an acknowledgement.
            self.session.send(Kind::Flush, &[]).unwrap();
            self.acknowledged().await;
        }
    }

    async fn acknowledged(&mut self) {
        loop {
            let down = tokio::time::timeout(HANG, self.session.next()).await;
            let down = down.expect("no acknowledgement while queries wait");
            match down.unwrap() {
                Down::Ack(ack) if ack.ranges.contains(self.seq) => return,
                Down::Ack(_) | Down::Directive(_) => {}
                Down::Refused(refused) => panic!("{refused:?}"),
            }
        }
    }
}

fn to_ask(secret: &str, path: &str, form: String) -> Request<Body> {
    Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {secret}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT_ENCODING, "gzip")
        .body(Body::from(form))
        .unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let there = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(HANG, there).await;
    waited.unwrap_or_else(|_| panic!("waited too long: {what}"));
}

/// Samples of a host that lie in a block.
fn in_a_block(bench: &Bench) -> i64 {
    let old_ms = bench.now_ms();
    let mut encoder = Encoder::new(15_000);
    for seq in 1..3 {
        let mut report = Report::new();
        report.start(bench.now_ms());
        report.push("node_load5", &[], 1.0).unwrap();
        let mut bytes = Vec::new();
        let batch = encoder.encode(seq, &report, &mut bytes);
        let frame = Frame {
            host: bench.credentials[0].host,
            epoch: 7,
            batch,
            key: seq == 1,
            bytes: &bytes,
        };
        bench.series.append(&[frame]).unwrap();
        // The second begins a new log, so that the first is due.
        bench.advance_ms(2 * 3_600_000);
    }
    bench.series.maintain().unwrap();
    old_ms
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn queries_that_never_end_delay_no_acknowledgement() {
    let (bench, mut agent) = with_an_agent(gated).await;
    let old_ms = in_a_block(&bench);
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let form = format!("query=node_load5&time={}", old_ms as f64 / 1000.0);
    GATE.set(true);
    let mut stuck = tokio::task::JoinSet::new();
    for _ in 0..THREADS + LINE {
        let sent = bench.sender(to_ask(&secret, "/api/v1/query", form.clone()));
        stuck.spawn(sent);
    }
    until("every query thread is stuck", || {
        GATE.waiting.load(Ordering::SeqCst) == THREADS
    })
    .await;
    // The line is full when somebody is refused.
    loop {
        let sent = bench.sender(to_ask(&secret, "/api/v1/query", form.clone()));
        let one_more = tokio::spawn(sent);
        tokio::time::sleep(Duration::from_millis(5)).await;
        if one_more.is_finished() {
            let got = one_more.await.unwrap();
            assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(got.json()["errorType"], "unavailable");
            break;
        }
        stuck.spawn(async move { one_more.await.unwrap() });
    }

    agent.reports().await;
    assert_eq!(GATE.waiting.load(Ordering::SeqCst), THREADS);

    GATE.set(false);
    while let Some(got) = stuck.join_next().await {
        let kind = got.unwrap().json()["errorType"].clone();
        let is_known = kind.is_null() || kind == "timeout" || kind == "unavailable";
        assert!(is_known, "{kind}");
    }
    let queries = &bench.state.inner.queries;
    until("everything is given back", || {
        queries.held_bytes() == (0, 0)
    })
    .await;
}

/// CPU time of a thread, in ticks of 10 ms.
fn ticks(stat: &str) -> u64 {
    let after = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn own_ticks() -> u64 {
    ticks(&std::fs::read_to_string("/proc/thread-self/stat").unwrap())
}

fn query_ticks() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        stat.contains("(xiezhi-query)").then(|| ticks(&stat))
    });
    stats.sum()
}

/// Reading texts, matching, evaluating, JSON and gzip: each of these dear in one of the questions.
fn dear_questions() -> Vec<(&'static str, String)> {
    let patterns = (0..100).map(|n| format!("match[]={{a=~\"%5C%5Cp{{L}}{{14}}{n}\"}}"));
    let patterns: Vec<String> = patterns.collect();
    let lines = (0..60).map(|n| format!("label_replace(vector(time()),\"i\",\"{n}\",\"\",\"\")"));
    let lines: Vec<String> = lines.collect();
    vec![
        ("/api/v1/series", patterns.join("&")),
        ("/api/v1/labels", patterns.join("&")),
        (
            "/api/v1/query_range",
            format!("query={}&start=0&end=10000&step=1", lines.join(" or ")),
        ),
        (
            "/api/v1/query",
            "query=sum_over_time((vector(1))[20d:1s])".to_owned(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_threads_that_agents_share_do_next_to_none_of_a_querys_work() {
    let (bench, mut agent) = with_an_agent(Shape::default().disk).await;
    let (_, secret) = token(&bench, ApiRight::ReadMetrics, None).await;
    let shared_before = tokio::spawn(async { own_ticks() }).await.unwrap();
    for (path, form) in dear_questions() {
        let sent = bench.sender(to_ask(&secret, path, form));
        let asked = tokio::spawn(sent);
        agent.reports().await;
        let got = tokio::time::timeout(HANG, asked).await.unwrap().unwrap();
        assert!(!got.body.is_empty());
    }
    let shared_after = tokio::spawn(async { own_ticks() }).await.unwrap();
    let (shared, queries) = (shared_after - shared_before, query_ticks());
    assert!(
        queries > 5 * shared,
        "agents' threads worked {shared} ticks, query threads {queries}"
    );
}
