//! Many simulated hosts at a cadence, with counters.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use xiezhi_protocol::PROTOCOL_VERSION;
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::message::{Ack, DirectiveOutcome, Hello};
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_protocol::record::Kind;
use xiezhi_protocol::report::Report;

use super::credentials::Credentials;
use super::latency::Latencies;
use super::machine::{Machine, Random};
use super::session::{Down, Session};

/// How the hosts behave.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// The agents' port.
    pub address: String,
    /// Time between two reports of a host.
    pub interval: Duration,
    /// The first connections are spread over this time.
    pub start_within: Duration,
    /// After a lost session a host comes back within this time, at random.
    pub retry_within: Duration,
    /// Reports of the time before, sent on the backlog lane when the host first comes; 0 for a host
    /// that was never cut off.
    pub backlog: u64,
}

/// Reports of a backlog that wait for their acknowledgement at most: two of the controller's
/// acknowledgements.
const BACKLOG_WINDOW: usize = 128;

/// Time between two reports of a backlog, milliseconds.
const BACKLOG_STEP_MS: i64 = 15_000;

/// What all hosts did together.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions that are open now.
    pub connected: AtomicU64,
    /// Sessions that were opened.
    pub sessions: AtomicU64,
    /// Attempts that failed.
    pub failures: AtomicU64,
    /// Reports sent, repetitions included.
    pub reports: AtomicU64,
    /// Reports acknowledged.
    pub acknowledged: AtomicU64,
    /// Samples acknowledged.
    pub samples: AtomicU64,
    /// Batches refused.
    pub refused: AtomicU64,
    /// Bytes of all frames of the live lane.
    pub payload_bytes: AtomicU64,
    /// Directives obeyed.
    pub directives: AtomicU64,
    /// How long reports of the live lane waited for their acknowledgement.
    pub latencies: Latencies,
}

/// A simulated host that runs for ever; the acknowledged numbers are kept for checking.
pub struct SimulatedHost {
    credentials: Credentials,
    machine: Machine,
    random: Random,
    encoder: Encoder,
    report: Report,
    seq: u64,
    epoch: u64,
    session: String,
    /// Reports that are not acknowledged: number, time, values.
    waiting: VecDeque<Waiting>,
    /// Numbers that were acknowledged.
    pub acknowledged: RangeSet,
}

struct Waiting {
    seq: u64,
    time_ms: i64,
    values: Vec<f64>,
    /// When it went up the live lane.
    sent: Option<Instant>,
}

impl SimulatedHost {
    /// A host with these credentials.
    #[must_use]
    pub fn new(credentials: Credentials, seed: u64) -> Self {
        Self {
            machine: Machine::new(seed, now_ms()),
            random: Random::new(seed ^ 0x5eed),
            encoder: Encoder::new(15_000),
            report: Report::new(),
            seq: 0,
            epoch: 0,
            session: String::new(),
            waiting: VecDeque::new(),
            acknowledged: RangeSet::new(),
            credentials,
        }
    }

    /// Connects, reports and reconnects until the task is dropped.
    pub async fn run(&mut self, behaviour: &Behaviour, counters: &Counters) {
        tokio::time::sleep(self.within(behaviour.start_within)).await;
        loop {
            match self.session(behaviour, counters).await {
                Ok(()) | Err(Lost::AfterWelcome) => {
                    counters.connected.fetch_sub(1, Ordering::Relaxed);
                }
                Err(Lost::Before) => {
                    counters.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(self.within(behaviour.retry_within)).await;
        }
    }

    fn within(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.random.unit())
    }

    async fn session(&mut self, behaviour: &Behaviour, counters: &Counters) -> Result<(), Lost> {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.credentials.hostname.clone(),
            epoch: self.epoch,
            previous_session: self.session.clone(),
            boot_id: self.credentials.hostname.clone(),
            clock_ms: now_ms(),
            interval_ms: u32::try_from(behaviour.interval.as_millis()).unwrap_or(15_000),
            ..Hello::default()
        };
        let tls = self.credentials.tls().map_err(|_| Lost::Before)?;
        let opened = Session::open(&behaviour.address, tls, &hello);
        let opened = tokio::time::timeout(Duration::from_secs(60), opened).await;
        let (mut session, welcome) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                if counters.failures.load(Ordering::Relaxed) < 3 {
                    eprintln!("simulated host {}: {error:#}", self.credentials.hostname);
                }
                return Err(Lost::Before);
            }
            Err(_) => return Err(Lost::Before),
        };
        self.session = welcome.session;
        self.epoch = welcome.epoch;
        self.encoder.restart();
        counters.connected.fetch_add(1, Ordering::Relaxed);
        counters.sessions.fetch_add(1, Ordering::Relaxed);
        self.send_backlog(&mut session, counters)
            .map_err(|_| Lost::AfterWelcome)?;
        if self.seq < behaviour.backlog {
            self.catch_up(&mut session, behaviour.backlog, counters)
                .await
                .map_err(|_| Lost::AfterWelcome)?;
        }
        self.report_on(&mut session, behaviour, counters)
            .await
            .map_err(|_| Lost::AfterWelcome)
    }

    async fn report_on(
        &mut self,
        session: &mut Session,
        behaviour: &Behaviour,
        counters: &Counters,
    ) -> Result<()> {
        // Every host has its own place in the interval, as hosts that started at any time have.
        let mut next = tokio::time::Instant::now() + self.within(behaviour.interval);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    next += behaviour.interval;
                    let frame = self.next_frame(behaviour);
                    session.send(Kind::LiveSamples, &frame)?;
                    counters.reports.fetch_add(1, Ordering::Relaxed);
                    counters.payload_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                }
                down = session.next() => self.take(down?, session, counters)?,
            }
        }
    }

    fn next_frame(&mut self, behaviour: &Behaviour) -> Vec<u8> {
        let interval_ms = i64::try_from(behaviour.interval.as_millis())
            .unwrap_or(15_000)
            .max(1);
        let now = now_ms();
        let mut time_ms = now - now.rem_euclid(interval_ms);
        if let Some(last) = self.waiting.back() {
            time_ms = time_ms.max(last.time_ms + 1);
        }
        self.machine
            .report(time_ms, behaviour.interval.as_secs_f64(), &mut self.report);
        self.seq += 1;
        let mut frame = Vec::with_capacity(256);
        self.encoder.encode(self.seq, &self.report, &mut frame);
        let values = self.report.iter().map(|(_, value)| value).collect();
        self.waiting.push_back(Waiting {
            seq: self.seq,
            time_ms,
            values,
            sent: Some(Instant::now()),
        });
        frame
    }

    /// What was not acknowledged goes up again as a chain of its own.
    fn send_backlog(&mut self, session: &mut Session, counters: &Counters) -> Result<()> {
        let Some(first) = self.waiting.front() else {
            return Ok(());
        };
        // A report of the same machine gives the names; the values are those that were sent.
        let mut names = Report::new();
        self.machine.clone().report(first.time_ms, 15.0, &mut names);
        let mut encoder = Encoder::new(15_000);
        let mut report = Report::new();
        for waiting in &mut self.waiting {
            waiting.sent = None;
            report.start(waiting.time_ms);
            for ((series, _), value) in names.iter().zip(&waiting.values) {
                report.push_series(series, *value)?;
            }
            let mut frame = Vec::with_capacity(256);
            encoder.encode(waiting.seq, &report, &mut frame);
            session.send(Kind::BacklogSamples, &frame)?;
            counters.reports.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends the reports up to number `last` that were made while the host was cut off, at the
    /// controller's pace.
    async fn catch_up(
        &mut self,
        session: &mut Session,
        last: u64,
        counters: &Counters,
    ) -> Result<()> {
        let mut encoder = Encoder::new(15_000);
        let now = now_ms();
        while self.seq < last || !self.waiting.is_empty() {
            while self.seq < last && self.waiting.len() < BACKLOG_WINDOW {
                self.seq += 1;
                let before = i64::try_from(last - self.seq + 1)?;
                let time_ms = now - now.rem_euclid(BACKLOG_STEP_MS) - before * BACKLOG_STEP_MS;
                self.machine.report(time_ms, 15.0, &mut self.report);
                let mut frame = Vec::with_capacity(256);
                encoder.encode(self.seq, &self.report, &mut frame);
                let values = self.report.iter().map(|(_, value)| value).collect();
                self.waiting.push_back(Waiting {
                    seq: self.seq,
                    time_ms,
                    values,
                    sent: None,
                });
                session.send(Kind::BacklogSamples, &frame)?;
                counters.reports.fetch_add(1, Ordering::Relaxed);
            }
            if self.seq >= last {
                session.send(Kind::Flush, &[])?;
            }
            let down = session.next().await?;
            self.take(down, session, counters)?;
        }
        Ok(())
    }

    fn take(&mut self, down: Down, session: &mut Session, counters: &Counters) -> Result<()> {
        match down {
            Down::Ack(ack) => self.settle(&ack, counters),
            Down::Refused(refused) => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                if refused.resend {
                    self.encoder.restart();
                }
            }
            Down::Directive(message) => {
                let outcome = "done".to_owned();
                session.answer(&DirectiveOutcome {
                    id: message.id,
                    outcome,
                    detail: String::new(),
                })?;
                counters.directives.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn settle(&mut self, ack: &Ack, counters: &Counters) {
        if ack.stream != Stream::Samples {
            return;
        }
        self.epoch = self.epoch.max(ack.epoch);
        let (acknowledged, epoch_ranges) = (&mut self.acknowledged, &ack.ranges);
        // Four reports share an acknowledgement; the last of them makes it due.
        let mut newest = None;
        self.waiting.retain(|waiting| {
            let settled = epoch_ranges.contains(waiting.seq);
            if settled {
                acknowledged.insert(waiting.seq);
                newest = waiting.sent.or(newest);
                counters.acknowledged.fetch_add(1, Ordering::Relaxed);
                counters
                    .samples
                    .fetch_add(waiting.values.len() as u64, Ordering::Relaxed);
            }
            !settled
        });
        if let Some(sent) = newest {
            counters.latencies.add(sent.elapsed());
        }
    }
}

/// When a session was lost.
enum Lost {
    /// It never came to be.
    Before,
    /// It had been welcomed.
    AfterWelcome,
}

/// Starts a task per host on the current runtime.
pub fn start(
    hosts: impl IntoIterator<Item = Credentials>,
    behaviour: &Behaviour,
    counters: &Arc<Counters>,
) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for (seed, credentials) in hosts.into_iter().enumerate() {
        let (behaviour, counters) = (behaviour.clone(), Arc::clone(counters));
        tasks.spawn(async move {
            SimulatedHost::new(credentials, seed as u64 + 1)
                .run(&behaviour, &counters)
                .await;
        });
    }
    tasks
}

/// The local clock, Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
