//! Sending on: waves of reports from the log to the cluster, for as long as the controller runs.
//!
//! A wave is what lies next in the log, shared out among a few requests so that all of a host is in
//! one. The next wave begins when all of this one is settled. That is all it takes to keep a host's
//! order: no queue per request, no numbers.

use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio::time::sleep;
use xiezhi_series::{Missed, Place, SeriesStore, Tail, TailReport};

use super::body::{Encoder, Piece};
use super::deliver::{Broken, Manner, Outcome, deliver, takes_others};
use super::link::Link;
use super::marks::Marks;
use super::place::PlaceFile;
use super::status::Status;
use super::target::Target;
use crate::directory::Origins;

/// How often the log is looked at while nothing waits.
const POLL: Duration = Duration::from_millis(500);
/// First and longest pause before another attempt.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Answers 5xx for the same samples after which others are tried.
const SUSPICION: u32 = 5;

/// What a directory's refresh yields.
pub type Refreshed<'a> = BoxFuture<'a, Result<Origins, Box<dyn Error + Send + Sync>>>;

/// Who there is, brought up to date first.
pub trait FreshDirectory: Send + Sync + std::fmt::Debug {
    /// Every origin, at most a few seconds old. Called for each wave.
    fn fresh(&self) -> Refreshed<'_>;
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderSettings {
    /// Folder of the durable place.
    pub folder: PathBuf,
    /// Requests at one time.
    pub requests: usize,
    /// Samples for which a request does not wait.
    pub batch: usize,
    /// Samples of a request at most, about.
    pub most: usize,
    /// Longest wait for `batch` samples.
    pub wait: Duration,
    /// What was acknowledged so long before a loss is sent again.
    pub resend: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            requests: 4,
            batch: 2_000,
            most: 10_000,
            wait: Duration::from_secs(5),
            resend: Duration::from_secs(60),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Sends samples on.
#[derive(Debug)]
pub struct Sender {
    series: SeriesStore,
    directory: Arc<dyn FreshDirectory>,
    target: Arc<Target>,
    settings: SenderSettings,
    status: Status,
    links: Vec<Link>,
    marks: Marks,
    /// Read, and in no wave yet.
    waiting: VecDeque<TailReport>,
    reader: Option<Reader>,
    /// Attempts that failed since one succeeded.
    attempts: u32,
    /// Answers 5xx since something new was taken.
    suspicions: u32,
    is_suspect: bool,
}

/// What is done on a thread that may block.
#[derive(Debug)]
struct Reader {
    tail: Tail,
    encoder: Encoder,
    place: PlaceFile,
    missed: Missed,
}

impl Sender {
    /// A sender that goes on where the last one ended. Nothing is sent before [`Sender::run`].
    ///
    /// # Errors
    /// If the durable place cannot be read.
    pub fn new(
        series: SeriesStore,
        directory: Arc<dyn FreshDirectory>,
        target: Arc<Target>,
        settings: SenderSettings,
        status: Status,
    ) -> std::io::Result<Self> {
        let (file, place) = PlaceFile::open(&settings.folder)?;
        let links = (0..settings.requests.max(1))
            .map(|_| Link::new(Arc::clone(&target), settings.timeout))
            .collect();
        let reader = Reader {
            tail: series.tail(place),
            encoder: Encoder::default(),
            place: file,
            missed: Missed::default(),
        };
        series.release(place);
        Ok(Self {
            marks: Marks::new(place, settings.resend),
            reader: Some(reader),
            waiting: VecDeque::new(),
            attempts: 0,
            suspicions: 0,
            is_suspect: false,
            series,
            directory,
            target,
            settings,
            status,
            links,
        })
    }

    /// Sends until `stop` says so. What is not acknowledged then is sent by the next run.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let shown = Target::shown(&self.target.write);
        tracing::info!(cluster = shown, "samples are sent on");
        tokio::select! {
            () = self.send() => {}
            // An error means that nobody is left who could say stop.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn send(&mut self) {
        let mut since = Instant::now();
        loop {
            if let Err(error) = self.fill().await {
                self.fail(&Broken {
                    reason: format!("the log cannot be read: {error}"),
                    forgot: false,
                    answered: false,
                    retry_after: None,
                })
                .await;
                continue;
            }
            if self.waiting.is_empty() {
                since = Instant::now();
            }
            let samples: usize = self.waiting.iter().map(|one| one.samples.len()).sum();
            if samples < self.settings.batch.max(1) && since.elapsed() < self.settings.wait {
                sleep(POLL).await;
                continue;
            }
            since = Instant::now();
            self.send_wave().await;
        }
    }

    /// Reads on until a wave is full, and makes what is certain durable.
    async fn fill(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let held: usize = self.waiting.iter().map(|one| one.samples.len()).sum();
        let room = (self.settings.most * self.links.len()).saturating_sub(held);
        let certain = self.marks.certain();
        let mut reader = self.take_reader()?;
        let done = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            let written = reader.place.write(certain);
            let read = if room > 0 {
                reader.tail.read(room, &mut found).map(drop)
            } else {
                Ok(())
            };
            (reader, found, written, read)
        });
        let (reader, found, written, read) = done.await?;
        self.waiting.extend(found);
        self.note_missed(reader);
        written?;
        self.series.release(certain);
        self.note_lag();
        Ok(read?)
    }

    /// The reader is away only while it reads, unless reading ended by a fault of ours.
    fn take_reader(&mut self) -> Result<Reader, Box<dyn Error + Send + Sync>> {
        if let Some(reader) = self.reader.take() {
            return Ok(reader);
        }
        let (place, _) = PlaceFile::open(&self.settings.folder)?;
        self.waiting.clear();
        Ok(Reader {
            tail: self.series.tail(self.marks.certain()),
            encoder: Encoder::default(),
            place,
            missed: Missed::default(),
        })
    }

    fn note_missed(&mut self, mut reader: Reader) {
        let (now, before) = (reader.tail.missed(), reader.missed);
        let undecodable = now.undecodable - before.undecodable;
        self.status.note_undecodable(undecodable);
        if now.damaged > before.damaged || now.gaps > before.gaps {
            tracing::error!(
                damaged = now.damaged - before.damaged,
                gaps = now.gaps - before.gaps,
                "parts of the log could not be sent on; `series verify` tells what is damaged"
            );
        }
        reader.missed = now;
        self.reader = Some(reader);
    }

    fn note_lag(&self) {
        let oldest = self.waiting.front().map(|report| report.received_ms);
        let lag_ms = oldest.map_or(0, |received_ms| now_ms().saturating_sub(received_ms));
        let (held_bytes, unfollowed) = self.series.held();
        self.status.note_lag(lag_ms.max(0), held_bytes, unfollowed);
    }

    async fn send_wave(&mut self) {
        let (wave, again) = self.next_wave();
        let Some(end) = wave.last().map(|report| report.end) else {
            return;
        };
        let shares = match self.encode(&wave).await {
            Ok(shares) => shares,
            Err(error) => {
                self.put_back(wave);
                let reason = format!("labels of hosts cannot be read: {error}");
                let broken = Broken {
                    reason,
                    forgot: false,
                    answered: false,
                    retry_after: None,
                };
                return self.fail(&broken).await;
            }
        };
        let count = shares.len();
        let manner = Manner {
            again,
            suspect: self.is_suspect && !again,
        };
        let status = &self.status;
        let links = self.links.iter_mut().zip(shares);
        let outcomes =
            join_all(links.map(|(link, share)| deliver(link, share.into(), manner, status))).await;
        let is_broken = |share: usize| matches!(outcomes.get(share), Some(Outcome::Broken(_)));
        let unsettled: Vec<TailReport> = wave
            .into_iter()
            .filter(|report| is_broken(share_of(report.host, count)))
            .collect();
        if unsettled.is_empty() {
            let refused = |outcome: &Outcome| matches!(outcome, Outcome::Settled { refused: true });
            let is_bad = outcomes.iter().any(refused);
            return self.settled(end, again || is_bad);
        }
        self.put_back(unsettled);
        let broken = outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Broken(broken) => Some(broken),
            Outcome::Settled { .. } => None,
        });
        if let Some(worst) = broken.max_by_key(|broken| (broken.forgot, broken.answered)) {
            self.fail(&worst).await;
        }
    }

    /// The next reports, either all sent before or none.
    fn next_wave(&mut self) -> (Vec<TailReport>, bool) {
        let high = self.marks.high();
        let before = self.waiting.partition_point(|report| report.end <= high);
        let length = if before > 0 {
            before
        } else {
            self.waiting.len()
        };
        (self.waiting.drain(..length).collect(), before > 0)
    }

    fn put_back(&mut self, wave: Vec<TailReport>) {
        for report in wave.into_iter().rev() {
            self.waiting.push_front(report);
        }
    }

    /// A wave is behind us. Suspicion ends with one that is new and taken whole.
    fn settled(&mut self, end: Place, stays_suspect: bool) {
        self.status.well(now_ms());
        self.attempts = 0;
        if !stays_suspect {
            (self.suspicions, self.is_suspect) = (0, false);
        }
        self.marks.acknowledge(end, Instant::now());
    }

    async fn encode(
        &mut self,
        wave: &[TailReport],
    ) -> Result<Vec<Vec<Piece>>, Box<dyn Error + Send + Sync>> {
        let origins = self.directory.fresh().await?;
        let samples: usize = wave.iter().map(|report| report.samples.len()).sum();
        let count = (samples / self.settings.batch.max(1)).clamp(1, self.links.len());
        let wave: Vec<TailReport> = wave.to_vec();
        let mut reader = self.take_reader()?;
        let done = tokio::task::spawn_blocking(move || {
            let mut shares = vec![Vec::new(); count];
            for report in &wave {
                let piece = reader.encoder.encode(report, &origins);
                if let Some(share) = shares.get_mut(share_of(report.host, count)) {
                    share.push(piece);
                }
            }
            (reader, shares)
        });
        let (reader, shares) = done.await?;
        self.reader = Some(reader);
        Ok(shares)
    }

    /// Tells of a failure, goes back if the cluster may have forgotten, and rests.
    async fn fail(&mut self, broken: &Broken) {
        let shown = Target::shown(&self.target.write);
        let reason = format!("{shown}: {}", broken.reason);
        self.status.unwell(now_ms(), reason);
        if broken.forgot {
            self.links.iter_mut().for_each(Link::close);
            if let Some(place) = self.marks.go_back() {
                tracing::info!(
                    cluster = shown,
                    log = place.log,
                    offset = place.offset,
                    "the last minute is sent again, for the cluster may have forgotten it"
                );
                self.status.note_return();
                self.waiting.clear();
                if let Some(reader) = &mut self.reader {
                    reader.tail = self.series.tail(place);
                    reader.missed = Missed::default();
                }
            }
        }
        self.attempts = self.attempts.saturating_add(1);
        sleep(pause(self.attempts, broken.retry_after)).await;
        if broken.answered && broken.forgot {
            self.suspicions = self.suspicions.saturating_add(1);
            if self.suspicions >= SUSPICION
                && !self.is_suspect
                && let Some(link) = self.links.first_mut()
            {
                self.is_suspect = takes_others(link).await;
            }
        }
    }
}

/// Which request of so many a host's reports go into.
fn share_of(host: i64, count: usize) -> usize {
    usize::try_from(host.rem_euclid(i64::try_from(count.max(1)).unwrap_or(1))).unwrap_or(0)
}

/// The pause before attempt `attempts` + 1: doubled each time, and jittered.
fn pause(attempts: u32, asked: Option<Duration>) -> Duration {
    let (first, longest) = PAUSE;
    let doubled = first.saturating_mul(1 << attempts.saturating_sub(1).min(10));
    let mut random = [0; 2];
    // Without randomness the pause is merely the longest of its range.
    let share = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    let jittered = doubled.min(longest).mul_f64(0.5 + share / 2.0);
    jittered.max(asked.unwrap_or_default().min(longest))
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
