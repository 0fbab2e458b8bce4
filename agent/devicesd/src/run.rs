//! `xiezhi-devices run`: asks every device of a folder when its turn comes, and measures the links of another, for
//! as long as it runs.
//!
//! What it reads goes to the agent's worker over one socket, which it was given; it holds no identity
//! and no spool, and connects to nothing but devices. A full socket delays and loses nothing: a poll
//! waits, and while many wait no other is begun.
//!
//! ```text
//! xiezhi-devices run --config-dir DIR --state DIR [--profiles DIR] [--links DIR] [--key FILE] [--to-fd 0]
//!                    [--traps ADDRESS:PORT | --traps stdout] [--report-every SECONDS]
//! ```
//!
//! Traps come in at a port that it opens itself, or by the socket that it was started with as standard
//! output, because it may open no port below 1024.

mod clock;
mod folder;
mod limiter;
mod link;
mod links;
mod tally;
mod traps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lexopt::prelude::*;
use tokio::task::JoinSet;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xiezhi_devices::memory::Memory;
use xiezhi_devices::schedule::Schedule;
use xiezhi_devices::traps::meaning;
use xiezhi_devices::visit::{Profiles, Subject, Visit, visit};
use xiezhi_devices::{Poller, Socket};
use xiezhi_document::Language;
use xiezhi_protocol::event::Event;
use xiezhi_protocol::poll::Poll;

use folder::Folder;
use limiter::Limiter;
use link::{Link, Message};
use links::Links;
use tally::Tally;
use traps::{Port, Taken, Traps};

pub(crate) use links::read as read_links;

/// Devices that are read at the same time; each takes some 200 kB meanwhile.
const AT_ONCE: usize = 16;

/// Devices that are asked at the same time, most of them silent ones.
const MOST_ASKED: usize = 1024;

/// Polls that may wait for the worker before no other is begun.
const MOST_WAITING: usize = 32;

/// Tasks at the same time; while there are so many, traps wait in their queue.
const MOST_TASKS: usize = 2 * MOST_ASKED;

/// Traps that are taken before anything else has its turn.
const TRAPS_AT_ONCE: usize = 64;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often this program tells of itself, unless the command line says otherwise.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// What the command line asks.
#[derive(Debug)]
pub(crate) struct Options {
    /// The folder of devices.
    pub(crate) config: PathBuf,
    /// The folder of all that is remembered.
    pub(crate) state: PathBuf,
    /// The folder of memories of devices, in it.
    pub(crate) memories: PathBuf,
    /// Where traps come in, if they do.
    traps: Option<Port>,
    /// How often this program tells of itself.
    report_every: Duration,
    /// The folder of profiles.
    pub(crate) profiles: Option<PathBuf>,
    /// The folder of links.
    pub(crate) links: PathBuf,
    /// The key of sealed secrets.
    pub(crate) key: PathBuf,
    /// In which problems are told.
    pub(crate) language: Language,
}

fn options(parser: &mut lexopt::Parser) -> Result<Options> {
    let (mut config, mut state, mut profiles, mut key) = (None, None, None, None);
    let (mut traps, mut report_every) = (None, REPORT_EVERY);
    let mut links = None;
    let mut language = crate::of_the_terminal();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config-dir") => config = Some(PathBuf::from(parser.value()?)),
            Long("state") => state = Some(PathBuf::from(parser.value()?)),
            Long("profiles") => profiles = Some(PathBuf::from(parser.value()?)),
            Long("links") => links = Some(PathBuf::from(parser.value()?)),
            Long("key") => key = Some(PathBuf::from(parser.value()?)),
            Long("traps") => {
                let word = parser.value()?.string()?;
                traps =
                    Some(match word.as_str() {
                        "stdout" => Port::HandedOver,
                        address => Port::Own(address.parse().with_context(|| {
                            format!("`--traps {word}`: no address with a port")
                        })?),
                    });
            }
            Long("report-every") => {
                report_every = Duration::from_secs(parser.value()?.parse::<u32>()?.max(1).into());
            }
            Long("to-fd") => {
                let number: u32 = parser.value()?.parse()?;
                ensure!(
                    number == 0,
                    "--to-fd {number}: the socket is standard input, 0"
                );
            }
            Long("lang") => {
                let word = parser.value()?.string()?;
                language = crate::language(&word).context("`--lang`: there are zh and en")?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let config = config.context("--config-dir DIR is missing")?;
    let state = state.context("--state DIR is missing")?;
    Ok(Options {
        key: key.unwrap_or_else(|| crate::device::key_beside(&config)),
        links: links.unwrap_or_else(|| config.with_file_name("links.d")),
        config,
        memories: state.join("devices"),
        state,
        traps,
        report_every,
        profiles: profiles.filter(|folder| folder.is_dir()),
        language,
    })
}

/// Polls until the worker is gone or this process is stopped.
pub(crate) fn run(parser: &mut lexopt::Parser) -> Result<ExitCode> {
    let options = options(parser)?;
    start_log();
    std::fs::create_dir_all(&options.memories)
        .with_context(|| format!("making {}", options.memories.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // They wait for the disk, nothing else.
        .max_blocking_threads(2)
        .thread_stack_size(256 << 10)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let link = Link::open()?;
        let socket = Socket::open().await.context("opening a socket for SNMP")?;
        let traps = Traps::start(options.traps, &options.state)?;
        let run = Run::new(options, link, Poller::new(socket, AT_ONCE), traps);
        run.go().await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One line per event on standard error. The SNMP library's own warnings are left out: each of what it
/// tells is counted, and some are one per datagram of any stranger.
fn start_log() {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let wanted = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("async_snmp", LevelFilter::OFF);
    // The journal stamps lines itself. Twice started, in a test, the first stays.
    let started = if journal {
        tracing_subscriber::registry()
            .with(wanted)
            .with(lines.without_time())
            .try_init()
    } else {
        tracing_subscriber::registry()
            .with(wanted)
            .with(lines)
            .try_init()
    };
    started.ok();
}

struct Run {
    options: Options,
    link: Arc<Link>,
    poller: Arc<Poller>,
    folder: Folder,
    profiles: Arc<Profiles>,
    subjects: BTreeMap<String, Subject>,
    schedule: Schedule,
    tally: Tally,
    links: Links,
    limiter: Limiter,
    traps: Traps,
    /// The profile that each device was read with last.
    recognised: BTreeMap<String, String>,
    asked: JoinSet<(String, Visit, Result<()>)>,
}

impl Run {
    fn new(options: Options, link: Link, poller: Poller, traps: Traps) -> Self {
        Self {
            links: Links::new(&options.links, &options.key),
            options,
            link: Arc::new(link),
            poller: Arc::new(poller),
            folder: Folder::default(),
            profiles: Arc::default(),
            subjects: BTreeMap::new(),
            schedule: Schedule::default(),
            tally: Tally::default(),
            limiter: Limiter::default(),
            traps,
            recognised: BTreeMap::new(),
            asked: JoinSet::new(),
        }
    }

    /// Comes back only with why it cannot go on.
    async fn go(mut self) -> Result<()> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut report = tokio::time::interval(self.options.report_every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick comes at once: the folder is read, and there is nothing to tell yet.
        report.tick().await;
        loop {
            self.begin();
            let due = self.until_due();
            tokio::select! {
                () = tokio::time::sleep(due) => {}
                _ = look.tick() => self.look(),
                measured = self.links.next() => self.tell_of_link(&measured),
                _ = report.tick() => self.report().await?,
                () = self.traps.come(), if self.asked.len() < MOST_TASKS => self.hear(),
                Some(done) = self.asked.join_next(), if !self.asked.is_empty() => {
                    if let Ok((name, visit, sent)) = done {
                        sent?;
                        // An event or a link that was told has no device.
                        if !name.is_empty() {
                            self.take(&name, &visit);
                        }
                    }
                }
            }
        }
    }

    /// Begins what is due, unless enough is on its way.
    fn begin(&mut self) {
        let now_ms = clock::now().boot_ms;
        while self.has_room() {
            let Some(name) = self.schedule.next(now_ms) else {
                return;
            };
            let Some(subject) = self.subjects.get(&name).cloned() else {
                continue;
            };
            let (poller, profiles) = (Arc::clone(&self.poller), Arc::clone(&self.profiles));
            let (link, memories) = (Arc::clone(&self.link), self.options.memories.clone());
            self.asked.spawn(async move {
                let mut visit = visit(&poller, &profiles, &memories, &subject, clock::now).await;
                let time_ms = visit.time_ms;
                let mut sent = Ok(());
                for content in std::mem::take(&mut visit.contents) {
                    sent = link.send(&Message::Poll(time_ms, &content)).await;
                    if sent.is_err() {
                        break;
                    }
                }
                (subject.name, visit, sent)
            });
        }
    }

    fn has_room(&self) -> bool {
        self.asked.len() < MOST_ASKED && self.link.waiting() < MOST_WAITING
    }

    /// How long nothing is due. Where there is no room, what ends next makes some.
    fn until_due(&self) -> Duration {
        let due = self.schedule.next_due_ms().filter(|_| self.has_room());
        let wait = due.map(|due| due.saturating_sub(clock::now().boot_ms));
        wait.map_or(LOOK_EVERY, Duration::from_millis)
    }

    /// Looks at the folder, and takes up what changed.
    fn look(&mut self) {
        self.links.look(self.options.language);
        let Some(read) = self.folder.look(&self.options) else {
            return;
        };
        for problem in &read.problems {
            tracing::warn!("{problem}");
        }
        for hint in &read.hints {
            tracing::info!("{hint}");
        }
        self.tally.problems = read.problems;
        if let Some(profiles) = read.profiles {
            self.profiles = Arc::new(profiles);
        }
        let now_ms = clock::now().boot_ms;
        let mut subjects = BTreeMap::new();
        let mut changed = Vec::new();
        for mut subject in read.subjects {
            if let Some(old) = self.subjects.get(&subject.name) {
                let is_there = old.address == subject.address;
                subject.pace = old.pace.filter(|_| is_there);
                if !is_there {
                    changed.push(subject.name.clone());
                }
            }
            subjects.insert(subject.name.clone(), subject);
        }
        let every = subjects
            .iter()
            .map(|(name, subject)| (name.clone(), subject.every))
            .collect();
        self.recognised
            .retain(|name, _| subjects.contains_key(name));
        self.subjects = subjects;
        self.traps.know(read.traps);
        self.schedule.set(&every, now_ms);
        for name in changed {
            self.schedule.hurry(&name, now_ms);
        }
        tracing::info!(devices = self.subjects.len(), "devices read");
    }

    /// Takes what a visit came to.
    fn take(&mut self, name: &str, visit: &Visit) {
        self.schedule
            .done(name, visit.answered, clock::now().boot_ms);
        if let Some(subject) = self.subjects.get_mut(name) {
            subject.pace = visit.pace;
            if let Some(profile) = &visit.profile {
                let known = self.recognised.entry(name.to_owned()).or_default();
                known.clone_from(profile);
            }
        }
        self.tally.add(visit);
        for fault in &visit.faults {
            tracing::warn!(device = name, "{fault}");
        }
        for event in self.limiter.pass(name, &visit.events, clock::now().boot_ms) {
            self.tell(event);
        }
    }

    /// Tells an event.
    fn tell(&mut self, event: Event) {
        tracing::info!(kind = event.kind, "{}", event.message);
        let link = Arc::clone(&self.link);
        // In the queue behind what was sent before it; whoever is gone is found out by the next poll.
        self.asked.spawn(async move {
            let sent = link.send(&Message::Event(&event)).await;
            (String::new(), Visit::default(), sent)
        });
    }

    /// Takes some of the traps that wait: their devices are asked at once, because what a trap says is
    /// never the whole truth.
    fn hear(&mut self) {
        let now = clock::now();
        for _ in 0..TRAPS_AT_ONCE {
            let (profiles, recognised) = (&self.profiles, &self.recognised);
            let subjects = &self.subjects;
            let taken = self.traps.take(now, |device, notice| {
                let chosen = subjects.get(device).and_then(|one| one.profile.as_ref());
                let name = chosen.or_else(|| recognised.get(device));
                meaning::clears(name.and_then(|name| profiles.library().get(name)), notice)
            });
            match taken {
                None => return,
                Some(Taken::New(new)) => {
                    self.schedule.trap(&new.device, now.boot_ms);
                    self.tell_trap(*new);
                }
                Some(Taken::HeldBack(device)) => self.schedule.trap(&device, now.boot_ms),
                Some(Taken::Nothing(None)) => {}
                Some(Taken::Nothing(Some(event))) => self.tell(event),
            }
        }
    }

    /// Tells a trap in the words of its device's profile, with its ports' names, which lie in its memory.
    fn tell_trap(&mut self, new: traps::New) {
        let (link, profiles) = (Arc::clone(&self.link), Arc::clone(&self.profiles));
        let chosen = self
            .subjects
            .get(&new.device)
            .and_then(|one| one.profile.clone());
        let path = Memory::path(&self.options.memories, &new.device);
        self.asked.spawn(async move {
            let loaded = tokio::task::spawn_blocking(move || Memory::load(&path).0).await;
            let memory = loaded.unwrap_or_default();
            let name = chosen.unwrap_or(memory.profile);
            let event = new.event(profiles.library().get(&name), &memory.ports);
            tracing::info!(kind = event.kind, "{}", event.message);
            let sent = link.send(&Message::Event(&event)).await;
            (String::new(), Visit::default(), sent)
        });
    }

    /// Hands over what was measured of a link.
    fn tell_of_link(&mut self, measured: &Poll) {
        let mut content = Vec::new();
        if let Err(error) = measured.encode_content(&mut content) {
            tracing::warn!(link = measured.device, %error, "numbers of a link cannot be told");
            return;
        }
        // A worker that takes nothing keeps so many; more are lost, and their counters are in the next.
        if self.link.waiting() >= MOST_WAITING {
            return;
        }
        let (link, time_ms) = (Arc::clone(&self.link), measured.time_ms);
        self.asked.spawn(async move {
            let sent = link.send(&Message::Poll(time_ms, &content)).await;
            (String::new(), Visit::default(), sent)
        });
    }

    /// Tells of itself.
    async fn report(&mut self) -> Result<()> {
        for event in self.traps.tend(clock::now()) {
            self.tell(event);
        }
        let mut report = self.tally.report(
            self.schedule.count(),
            self.poller.socket().strays(),
            self.traps.report(),
        );
        report.add_links(&self.links);
        // A worker that takes nothing at all must not keep this loop.
        if self.link.waiting() == 0 {
            self.link.send(&Message::Report(&report)).await?;
        }
        Ok(())
    }
}
