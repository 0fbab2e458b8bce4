//! The sender against a cluster that crashes, forgets, stalls and refuses: in the end it has all that
//! can be had, and no host's reports were ever told in another order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has found something"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use xiezhi_metrics::Origins;
use xiezhi_metrics::cluster::{
    Auth, FreshDirectory, Refreshed, Sender, SenderSettings, Status, Target, TlsSettings,
};
use xiezhi_metrics::remote_write::encode::{Sent, sent};
use xiezhi_protocol::codec::{Encoder, peek};
use xiezhi_protocol::report::Report;
use xiezhi_series::{Frame, SeriesOptions, SeriesStore};

/// What the cluster does with the next requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Answers this to everything but probes, which it takes.
    Answers(u16),
    /// Answers this to a request that holds this host.
    Dislikes(i64, u16),
    /// Closes connections without a word.
    Gone,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    /// Times by host, on disk.
    stored: BTreeMap<i64, BTreeSet<i64>>,
    /// Acknowledged and in memory only: when, host, time.
    memory: Vec<(Instant, i64, i64)>,
    /// Highest time by host since the last crash, to see that order is kept.
    newest: BTreeMap<i64, i64>,
    disorder: Vec<(i64, i64, i64)>,
    requests: Vec<usize>,
    /// Requests with samples, refused ones too.
    asked: u64,
    authorization: BTreeSet<String>,
}

/// How long an acknowledged sample stays in memory only.
const FORGETS: Duration = Duration::from_millis(500);

/// A cluster of our own making.
#[derive(Debug, Clone)]
struct Fake {
    state: Arc<Mutex<State>>,
    port: u16,
    crash: watch::Sender<u64>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            mood: Mood::Well,
            stored: BTreeMap::new(),
            memory: Vec::new(),
            newest: BTreeMap::new(),
            disorder: Vec::new(),
            requests: Vec::new(),
            asked: 0,
            authorization: BTreeSet::new(),
        };
        let fake = Self {
            state: Arc::new(Mutex::new(state)),
            port,
            crash: watch::channel(0).0,
        };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                let mut crash = server.crash.subscribe();
                crash.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = server.serve(stream) => {}
                        _ = crash.changed() => {}
                    }
                });
            }
        });
        fake
    }

    /// Forgets what was acknowledged last, and ends all connections.
    fn crash(&self) {
        let mut state = self.state.lock().unwrap();
        for (at, host, time_ms) in std::mem::take(&mut state.memory) {
            if at.elapsed() > FORGETS {
                state.stored.entry(host).or_default().insert(time_ms);
            }
        }
        state.newest.clear();
        self.crash.send_modify(|crashes| *crashes += 1);
    }

    fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    fn has(&self, host: i64) -> usize {
        let state = self.state.lock().unwrap();
        let mut all = state.stored.get(&host).cloned().unwrap_or_default();
        let memory = state.memory.iter().filter(|one| one.1 == host);
        all.extend(memory.map(|one| one.2));
        all.len()
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let life = *self.crash.borrow();
        loop {
            let (head, body) = read_request(&mut stream).await?;
            if self.state.lock().unwrap().mood == Mood::Gone {
                return None;
            }
            let status = self.take(life, &head, &body)?;
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nno");
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    /// What it answers; nothing to what reached it in a life before.
    fn take(&self, life: u64, head: &str, body: &[u8]) -> Option<u16> {
        let series = sent(body).unwrap();
        let label = |series: &Sent, name: &str| {
            let found = series.labels.iter().find(|label| label.0 == name);
            found.map(|label| label.1.clone()).unwrap_or_default()
        };
        let mut state = self.state.lock().unwrap();
        if *self.crash.borrow() != life {
            return None;
        }
        let secret = head.lines().find(|line| line.starts_with("authorization:"));
        state.authorization.extend(secret.map(str::to_owned));
        assert!(head.contains("x-scope-orgid: courts\r\n"), "{head}");
        let samples: Vec<(i64, i64)> = series
            .iter()
            .filter(|series| label(series, "__name__") != "xiezhi_cluster_probe")
            .map(|series| {
                (
                    label(series, "host_id").parse().unwrap(),
                    series.samples[0].0,
                )
            })
            .collect();
        if samples.is_empty() {
            // Who refuses everything refuses the good sample too.
            return match state.mood {
                Mood::Answers(status) => Some(status),
                _ => Some(200),
            };
        }
        state.asked += 1;
        match state.mood {
            Mood::Answers(status) => return Some(status),
            Mood::Dislikes(host, status) if samples.iter().any(|one| one.0 == host) => {
                return Some(status);
            }
            _ => {}
        }
        state.requests.push(samples.len());
        for (host, time_ms) in samples {
            let newest = state.newest.insert(host, time_ms);
            if let Some(newest) = newest.filter(|&newest| newest > time_ms) {
                state.disorder.push((host, newest, time_ms));
            }
            state.memory.push((Instant::now(), host, time_ms));
        }
        Some(200)
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1)?;
    let length: usize = length.split("\r\n").next()?.parse().ok()?;
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes.split_off(end)))
}

/// Nobody is known: hosts are told by their number.
#[derive(Debug)]
struct Nobody;

impl FreshDirectory for Nobody {
    fn fresh(&self) -> Refreshed<'_> {
        Box::pin(async { Ok(Origins::default()) })
    }
}

const HOSTS: i64 = 5;
const SERIES: usize = 20;

struct Setting {
    folder: tempfile::TempDir,
    store: SeriesStore,
    fake: Fake,
    encoders: Vec<Encoder>,
    seq: u64,
    running: Option<(watch::Sender<bool>, tokio::task::JoinHandle<()>)>,
    status: Option<Status>,
    auth: Auth,
    /// Requests at one time, and samples of each at most.
    size: (usize, usize),
}

impl Setting {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SeriesOptions {
            hold: Some(Duration::from_secs(86_400)),
            ..SeriesOptions::default()
        };
        let store = SeriesStore::open(&folder.path().join("series"), options).unwrap();
        Self {
            store,
            fake: Fake::start().await,
            encoders: (0..HOSTS).map(|_| Encoder::new(15_000)).collect(),
            seq: 0,
            running: None,
            status: None,
            auth: Auth::None,
            size: (3, 200),
            folder,
        }
    }

    /// One report of each host.
    fn report(&mut self) {
        self.report_of(|_| true);
    }

    /// One report of some hosts.
    fn report_of(&mut self, is_one: impl Fn(i64) -> bool) {
        self.seq += 1;
        let hosts = (1..=HOSTS).zip(&mut self.encoders);
        for (host, encoder) in hosts.filter(|(host, _)| is_one(*host)) {
            let mut report = Report::new();
            report.start(1_700_000_000_000 + self.seq as i64 * 15_000);
            for index in 0..SERIES {
                let name = format!("metric_{index}");
                report.push(&name, &[], self.seq as f64).unwrap();
            }
            let mut bytes = Vec::new();
            let batch = encoder.encode(self.seq, &report, &mut bytes);
            let frame = Frame {
                host,
                epoch: 1,
                batch,
                key: peek(&bytes).unwrap().key,
                bytes: &bytes,
            };
            self.store.append(&[frame]).unwrap();
        }
    }

    fn start(&mut self) {
        let base = format!("http://127.0.0.1:{}", self.fake.port);
        let target = Target {
            write: format!("{base}/api/v1/write").parse().unwrap(),
            query: base.parse().unwrap(),
            auth: self.auth.clone(),
            tenant: Some("courts".to_owned()),
            tls: TlsSettings::default().build().unwrap(),
        };
        let settings = SenderSettings {
            folder: self.folder.path().join("cluster"),
            requests: self.size.0,
            batch: self.size.1 / 2,
            most: self.size.1,
            wait: Duration::from_millis(100),
            // Twice what the cluster forgets.
            resend: FORGETS * 2,
            timeout: Duration::from_secs(2),
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
        self.running = Some((stop, task));
        self.status = Some(status);
    }

    /// Ends the sender wherever it is, as a crash would.
    async fn kill(&mut self) {
        let (_, task) = self.running.take().unwrap();
        task.abort();
        task.await.err();
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.standing());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn standing(&self) -> xiezhi_metrics::cluster::Standing {
        self.status.as_ref().unwrap().now()
    }

    async fn until_all_are_there(&self) {
        let all = self.seq as usize;
        self.until("all samples", |now| {
            (1..=HOSTS).all(|host| now.fake.has(host) == all)
        })
        .await;
        assert_eq!(self.fake.state.lock().unwrap().disorder, []);
    }
}

#[tokio::test]
async fn crashes_of_either_side_lose_nothing_and_change_no_order() {
    let mut setting = Setting::new().await;
    setting.start();
    for round in 0..8u64 {
        for _ in 0..40 {
            setting.report();
        }
        let wanted = setting.seq as usize - 10;
        setting
            .until("some of it", |now| now.fake.has(1) >= wanted)
            .await;
        if round % 2 == 0 {
            setting.fake.crash();
        } else {
            setting.kill().await;
            // What was in flight may come again, and then the cluster sees it twice.
            setting.fake.crash();
            setting.start();
        }
    }
    setting.report();
    setting.until_all_are_there().await;
}

#[tokio::test]
async fn a_backlog_goes_in_large_requests() {
    let mut setting = Setting::new().await;
    for _ in 0..200 {
        setting.report();
    }
    setting.start();
    setting.until_all_are_there().await;
    let requests = setting.fake.state.lock().unwrap().requests.clone();
    let small = requests.iter().filter(|&&samples| samples < 100).count();
    assert!(small <= 3, "{requests:?}");
}

#[tokio::test]
async fn a_cluster_that_is_away_is_waited_for() {
    for mood in [
        Mood::Gone,
        Mood::Answers(503),
        Mood::Answers(429),
        Mood::Answers(401),
    ] {
        let mut setting = Setting::new().await;
        setting.fake.set(mood);
        setting.report();
        setting.start();
        setting
            .until("trouble", |now| now.standing().trouble.is_some())
            .await;
        assert_eq!(setting.fake.has(1), 0);
        setting.fake.set(Mood::Well);
        setting.report();
        setting.until_all_are_there().await;
        // It hears of the last answer after the cluster gave it.
        setting
            .until("all is well", |now| now.standing().trouble.is_none())
            .await;
        assert_eq!(setting.standing().dropped, 0, "{mood:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_dropped_alone_and_counted() {
    // 500 takes a while: first it might be the cluster.
    for status in [400, 413, 500] {
        let mut setting = Setting::new().await;
        for _ in 0..20 {
            setting.report();
        }
        setting.fake.set(Mood::Dislikes(3, status));
        setting.start();
        setting
            .until("the others", |now| {
                [1, 2, 4, 5].iter().all(|&host| now.fake.has(host) == 20)
                    && now.standing().dropped == (20 * SERIES) as u64
            })
            .await;
        assert_eq!(setting.fake.has(3), 0);
    }
}

#[tokio::test]
async fn hundreds_of_refusals_in_one_request_cost_no_report_that_is_taken() {
    let mut setting = Setting::new().await;
    // All of it in one request: every fifth of its reports is refused.
    setting.size = (1, 1_000 * SERIES);
    for _ in 0..200 {
        setting.report();
    }
    setting.fake.set(Mood::Dislikes(3, 400));
    setting.start();
    setting
        .until("the others", |now| {
            [1, 2, 4, 5].iter().all(|&host| now.fake.has(host) == 200)
                && now.standing().dropped == (200 * SERIES) as u64
        })
        .await;
    let refusals = setting.standing().refusals.unwrap();
    assert_eq!(refusals.samples, (200 * SERIES) as u64);
}

#[tokio::test]
async fn hundreds_of_refusals_in_a_row_cost_no_report_behind_them() {
    let mut setting = Setting::new().await;
    setting.size = (1, 1_000 * SERIES);
    for _ in 0..300 {
        setting.report_of(|host| host == 3);
    }
    for _ in 0..10 {
        setting.report_of(|host| host == 1);
    }
    setting.fake.set(Mood::Dislikes(3, 400));
    setting.start();
    let bad = (300 * SERIES) as u64;
    setting
        .until("an end", |now| now.standing().dropped >= bad)
        .await;
    setting
        .until("the others", |now| now.fake.has(1) == 10)
        .await;
    assert_eq!(setting.standing().dropped, bad);
}

#[tokio::test]
async fn a_cluster_that_refuses_everything_is_not_asked_for_each_report() {
    let mut setting = Setting::new().await;
    setting.size = (1, 1_000 * SERIES);
    for _ in 0..200 {
        setting.report();
    }
    setting.fake.set(Mood::Answers(400));
    setting.start();
    let all = 200 * SERIES as u64 * HOSTS as u64;
    setting
        .until("an end", |now| now.standing().dropped == all)
        .await;
    let asked = setting.fake.state.lock().unwrap().asked;
    assert!(asked < 250, "{asked} requests");
}

#[tokio::test]
async fn secrets_are_read_from_their_files() {
    let mut setting = Setting::new().await;
    let file = setting.folder.path().join("token");
    std::fs::write(&file, "abc\n").unwrap();
    setting.auth = Auth::Bearer(file.clone());
    setting.report();
    setting.start();
    setting.until_all_are_there().await;
    setting.kill().await;
    setting.auth = Auth::Basic("me".to_owned(), file);
    setting.report();
    setting.start();
    setting.until_all_are_there().await;
    let seen = setting.fake.state.lock().unwrap().authorization.clone();
    let expected = ["authorization: basic bwu6ywjj", "authorization: bearer abc"];
    assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
}
