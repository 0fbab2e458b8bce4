//! The worker: collects, spools and sends, on one thread.
//!
//! Each turn of the loop does one thing to its end: a report is encoded, appended to the spool and
//! only then announced to the uplink, so that whatever was sent can be sent again. Nothing here
//! waits for the network.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};
use xiezhi_collect::security::{SecurityOptions, SecurityWatch};
use xiezhi_collect::{Collectors, HostRoot, Options, facts};
use xiezhi_protocol::batch::{Stream, encode_signed_events};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::message::{
    Directive, DirectiveMessage, DirectiveOutcome, Dropped, GoodbyeReason,
};
use xiezhi_protocol::poll::encode_poll;
use xiezhi_protocol::report::Report;
use xiezhi_spool::{Spool, SpoolError};
use xiezhi_uplink::Uplink;

use crate::clock::now_ms;
use crate::config::Config;
use crate::devices::{Devices, Packet};
use crate::events::split;
use crate::identity::{EvidenceSigner, Place};
use crate::link::Link;
use crate::metrics::{self, Metrics};
use crate::schedule::Due;
use crate::status::Note;
use crate::{privilege, self_use};

/// Wait before security sources are opened again after the spool refused their events.
const SECURITY_RETRY: Duration = Duration::from_secs(30);
/// How long the first report waits for a session.
const FIRST_REPORT_WITHIN: Duration = Duration::from_secs(3);
/// How long a goodbye may hold up a stop.
const GOODBYE_WITHIN: Duration = Duration::from_secs(3);

/// Runs until a signal asks it to stop.
pub(crate) async fn run(config: Config, link: Arc<Link>, supervised: bool) -> Result<()> {
    privilege::ensure_filtered(supervised);
    let spool_dir = config.state_dir.join("spool");
    let spool = Spool::open(&spool_dir, config.spool, now_ms())
        .with_context(|| format!("opening the spool in {}", spool_dir.display()))?;
    let metrics = Arc::new(Metrics::new()?);
    let last = Arc::new(Mutex::new(Report::new()));
    if let Some(address) = config.metrics {
        let served = metrics::serve(address, Arc::clone(&metrics), Arc::clone(&last));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                error!(error = format!("{error:#}"), "the /metrics page is off");
            }
        });
    }
    let mut worker = Worker::start(config, link, spool, metrics, last, supervised)?;
    worker.run().await
}

struct Worker {
    config: Config,
    link: Arc<Link>,
    spool: Arc<Mutex<Spool>>,
    uplink: Uplink,
    directives: mpsc::Receiver<DirectiveMessage>,
    collectors: Collectors,
    devices: Devices,
    security: Option<SecurityWatch>,
    reopen_security_after: Option<Instant>,
    /// Signs security events; without it they go unsigned.
    signer: Option<EvidenceSigner>,
    encoder: Encoder,
    chain: u64,
    report: Report,
    last: Arc<Mutex<Report>>,
    metrics: Arc<Metrics>,
    facts_reader: facts::Reader,
    facts: String,
    supervised: bool,
    /// What is left on the disk for `xiezhi-agent status`.
    note: Note,
    /// Whether the spool was in trouble at the last report.
    noted_trouble: bool,
    /// What the agent used when it last looked.
    used: self_use::SelfUse,
    frame: Vec<u8>,
}

impl Worker {
    fn start(
        config: Config,
        link: Arc<Link>,
        spool: Spool,
        metrics: Arc<Metrics>,
        last: Arc<Mutex<Report>>,
        supervised: bool,
    ) -> Result<Self> {
        let interval_ms = u32::try_from(config.interval.as_millis()).unwrap_or(15_000);
        let security = open_security(&config, &link, &spool)?;
        let signer = link.evidence_signer();
        let signer = signer.inspect_err(|error| {
            let error = format!("{error:#}");
            error!(error, "security events go unsigned");
        });
        let devices = Devices::new(&config.devices, supervised)?;
        let spool = Arc::new(Mutex::new(spool));
        let (sender, directives) = mpsc::channel(32);
        let uplink_config = xiezhi_uplink::Config {
            retry_within: config.reconnect_within,
            start_within: config.reconnect_within.min(Duration::from_secs(1)),
            ..xiezhi_uplink::Config::default()
        };
        let connector: Arc<dyn xiezhi_uplink::Connector> = Arc::clone(&link) as _;
        let uplink = Uplink::spawn(uplink_config, Arc::clone(&spool), connector, sender);
        let options = Options {
            disabled: config.disabled.clone(),
            ..Options::default()
        };
        Ok(Self {
            collectors: Collectors::new(HostRoot::real(), options),
            encoder: Encoder::new(interval_ms),
            chain: uplink.chain(),
            report: Report::new(),
            facts_reader: facts::Reader::new(HostRoot::real()),
            facts: String::new(),
            used: self_use::read(supervised),
            note: Note::read(&config.state_dir).unwrap_or_default(),
            noted_trouble: false,
            frame: Vec::new(),
            config,
            link,
            spool,
            uplink,
            directives,
            devices,
            security,
            reopen_security_after: None,
            signer: signer.ok(),
            last,
            metrics,
            supervised,
        })
    }

    async fn run(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        self.announce();
        self.leave_note(std::process::id());
        self.wait_for_session().await;
        self.leave_note(std::process::id());
        let mut due = Due::new(self.config.interval, now_ms());
        loop {
            tokio::select! {
                () = tokio::time::sleep(due.wait(now_ms())) => self.turn(&mut due).await,
                Some(message) = self.directives.recv() => self.obey(&message).await,
                packet = self.devices.next() => self.keep(packet),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        self.stop().await;
        Ok(())
    }

    /// Does what is due.
    async fn turn(&mut self, due: &mut Due) {
        if let Some(at_ms) = due.report.take(now_ms()) {
            self.report(at_ms);
            self.note_trouble();
        }
        if due.security.take(now_ms()).is_some() {
            self.reopen_security();
            self.look_for_security_events();
            self.devices.tend();
        }
        if due.slow.take(now_ms()).is_some() {
            self.look_after().await;
        }
    }

    /// A first report that waits for the session is a live one, and the host is seen at once. Without
    /// a session it is not held up for long.
    async fn wait_for_session(&self) {
        let deadline = Instant::now() + FIRST_REPORT_WITHIN;
        while self.uplink.state().connected_since_ms.is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one report and hands it to the spool. `at_ms` is aligned to the interval, so that the
    /// controller's series of all hosts share their times.
    fn report(&mut self, at_ms: i64) {
        self.collectors.collect(at_ms, &mut self.report);
        self.metrics.reports.inc();
        self.add_own_samples();
        let chain = self.uplink.chain();
        if chain != self.chain {
            self.chain = chain;
            self.encoder.restart();
        }
        let mut appended = self.append_report();
        if matches!(appended, Err(SpoolError::NeedsKey { .. })) {
            // Making room took the open chain away.
            self.encoder.restart();
            appended = self.append_report();
        }
        if let Err(error) = appended {
            self.encoder.restart();
            self.metrics.spool_errors.inc();
            warn!(error = %error, "a report could not be kept");
        }
        self.uplink.notify_live();
        std::mem::swap(
            &mut *self.last.lock().unwrap_or_else(PoisonError::into_inner),
            &mut self.report,
        );
    }

    fn append_report(&mut self) -> Result<(), SpoolError> {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        if spool.needs_key() {
            self.encoder.restart();
        }
        self.frame.clear();
        let seq = spool.next_seq(Stream::Samples);
        let info = self.encoder.encode(seq, &self.report, &mut self.frame);
        let key = xiezhi_protocol::codec::peek(&self.frame).is_ok_and(|head| head.key);
        spool.append(Stream::Samples, info, key, &self.frame)
    }

    /// A handful of samples about the agent itself; the fleet list is made of them.
    fn add_own_samples(&mut self) {
        let state = self.uplink.state();
        let status = self.spool().status();
        self.metrics.sent_bytes.set(clamp(state.bytes_up));
        let dropped = count(&status.dropped);
        for (name, value) in [
            ("xiezhi_agent_spool_pending", status.pending as f64),
            ("xiezhi_agent_spool_dropped", dropped as f64),
            ("xiezhi_agent_memory_bytes", self.used.memory_bytes as f64),
            ("xiezhi_agent_sessions", state.sessions as f64),
            ("xiezhi_agent_spool_bytes", status.bytes as f64),
            (
                "xiezhi_agent_cpu_seconds_total",
                self.used.cpu_ms as f64 / 1000.0,
            ),
        ]
        .into_iter()
        .chain(self.devices.state.samples())
        {
            // Refused only if the report is full, and then the report has counted it.
            if self.report.push(name, &[], value).is_err() {
                return;
            }
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        // As above.
        self.report.push("xiezhi_agent_info", &version, 1.0).ok();
    }

    fn look_for_security_events(&mut self) {
        let Some(mut watch) = self.security.take() else {
            return;
        };
        let events = watch.poll(now_ms());
        self.metrics.events.inc_by(events.len() as u64);
        if self.append_security(&mut watch, &events) {
            if let Err(error) = watch.commit() {
                warn!(error = %error, "positions of the security sources are not durable");
            }
            self.security = Some(watch);
        } else {
            // The sources are read again from their last durable positions once there is room.
            drop(watch);
            self.reopen_security_after = Some(Instant::now() + SECURITY_RETRY);
        }
    }

    /// Hands all events of one poll to the spool; tells whether it took them. The events are staged
    /// with the positions: after a crash in between, the batches that are not in the spool are made
    /// again from what was staged, and nothing comes twice.
    fn append_security(&mut self, watch: &mut SecurityWatch, events: &[Event]) -> bool {
        if events.is_empty() {
            return true;
        }
        let batches = split(events);
        let first = self.spool().next_seq(Stream::Security);
        if let Err(error) = watch.stage(first, &batches) {
            warn!(error = %error, "positions of the security sources are not durable");
        }
        let taken = batches
            .iter()
            .all(|some| self.append_events(Stream::Security, some));
        self.uplink.notify_live();
        taken
    }

    /// After a spool that took no security events: opens the sources anew when it is time.
    fn reopen_security(&mut self) {
        if self
            .reopen_security_after
            .is_none_or(|after| Instant::now() < after)
        {
            return;
        }
        self.reopen_security_after = None;
        let opened = open_security(&self.config, &self.link, &self.spool());
        match opened {
            Ok(watch) => self.security = watch,
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "the sources of security events cannot be opened"
                );
                self.reopen_security_after = Some(Instant::now() + SECURITY_RETRY);
            }
        }
    }

    /// Hands one batch of events to the spool; tells whether it was taken, or given up and counted.
    fn append_events(&mut self, stream: Stream, events: &[Event]) -> bool {
        self.frame.clear();
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place {
            epoch: spool.epoch(),
            stream,
            seq: spool.next_seq(stream),
            time_ms: now_ms(),
        };
        let signer = self.signer.as_ref();
        let signer = signer.filter(|_| stream == Stream::Security);
        let sign = |content: &[u8]| signer.map(|signer| signer.sign(place, content));
        let encoded = encode_signed_events(place.seq, place.time_ms, events, &mut self.frame, sign);
        let appended = encoded
            .map_err(anyhow::Error::from)
            .and_then(|info| Ok(spool.append(stream, info, true, &self.frame)?));
        let Err(error) = appended else { return true };
        self.metrics.spool_errors.inc();
        error!(
            error = format!("{error:#}"),
            stream = stream.name(),
            "events could not be kept"
        );
        // A full spool has counted the batch as lost; anything else left no trace of it.
        matches!(error.downcast_ref(), Some(SpoolError::Full { .. }))
    }

    /// Says that the agent started; facts follow with the first slow turn.
    fn announce(&mut self) {
        let version = env!("CARGO_PKG_VERSION");
        let message = format!("agent {version} started");
        let event = Event::new(now_ms(), kinds::AGENT_STARTED, Severity::Info, message);
        self.append_events(Stream::Events, &[event.with("version", version)]);
        self.uplink.notify_live();
    }

    async fn look_after(&mut self) {
        self.spool().tick(now_ms());
        self.leave_note(std::process::id());
        let used = self_use::read(self.supervised);
        self.used = used;
        self.link.note_use(used);
        self.send_changed_facts();
        if self.link.renew_if_due(now_ms()).await {
            self.expect_changed_keys();
            self.uplink.reconnect();
        }
    }

    /// Keeps what was learnt of a device.
    fn keep(&mut self, packet: Packet) {
        match packet {
            Packet::Poll { time_ms, content } => self.append_poll(time_ms, &content),
            Packet::Event(event) => {
                self.append_events(Stream::Events, &[event]);
            }
            Packet::State(state) => {
                self.devices.state = state;
                return;
            }
            Packet::Refused(reason) => {
                self.metrics.refused_packets.inc();
                debug!(reason, "a packet of xiezhi-devices was refused");
                return;
            }
        }
        self.uplink.notify_live();
    }

    /// A poll that the spool does not take is lost like a report, and counted.
    fn append_poll(&mut self, time_ms: i64, content: &[u8]) {
        self.frame.clear();
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = spool.next_seq(Stream::Polls);
        let encoded = encode_poll(seq, time_ms, content, &mut self.frame);
        let appended = encoded
            .map_err(anyhow::Error::from)
            .and_then(|info| Ok(spool.append(Stream::Polls, info, true, &self.frame)?));
        if let Err(error) = appended {
            drop(spool);
            self.metrics.spool_errors.inc();
            let error = format!("{error:#}");
            warn!(error, "a poll of a device could not be kept");
        }
    }

    /// A spool that can no longer write, or can again, is noted at once.
    fn note_trouble(&mut self) {
        let is_troubled = self.spool().is_troubled();
        if is_troubled != self.noted_trouble {
            self.noted_trouble = is_troubled;
            self.leave_note(std::process::id());
        }
    }

    /// Leaves a note for a person; `process` is 0 at the end.
    fn leave_note(&mut self, process: u32) {
        let state = self.uplink.state();
        let spool = self.spool().status();
        let earlier = std::mem::take(&mut self.note);
        let trouble = [state.trouble, spool.trouble];
        self.note = Note {
            version: 1,
            process,
            written_ms: now_ms(),
            connected_since_ms: state.connected_since_ms,
            last_session_ms: state.connected_since_ms.or(earlier.last_session_ms),
            last_ack_ms: state.last_ack_ms.or(earlier.last_ack_ms),
            pending: spool.pending,
            spool_bytes: spool.bytes,
            dropped: count(&spool.dropped),
            trouble: trouble
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("; "),
            refused: self.link.refusal(),
        };
        if let Err(error) = self.note.write(&self.config.state_dir) {
            debug!(%error, "the note for `status` was not written");
        }
    }

    fn send_changed_facts(&mut self) {
        let facts = self.facts_reader.read();
        let Ok(text) = serde_json::to_string(&facts) else {
            return;
        };
        if text == self.facts {
            return;
        }
        let event = Event::new(now_ms(), kinds::FACTS, Severity::Info, "facts");
        let mut event = event;
        // Not `with`: facts may be longer than a message, and are our own text.
        event.fields.insert("facts".to_owned(), text.clone());
        if self.append_events(Stream::Events, &[event]) {
            self.facts = text;
        }
        self.uplink.notify_live();
    }

    /// A renewed key is our own doing, not tampering.
    fn expect_changed_keys(&mut self) {
        if let Some(watch) = &mut self.security {
            for path in self.link.guarded_files() {
                watch.expect_change(&path);
            }
        }
    }

    async fn obey(&mut self, message: &DirectiveMessage) {
        let (outcome, detail) = match &message.directive {
            Directive::CollectNow => {
                self.report(now_ms());
                self.uplink.flush();
                ("done", String::new())
            }
            Directive::RenewCertificate => match self.link.renew().await {
                Ok(()) => {
                    self.expect_changed_keys();
                    ("done", String::new())
                }
                Err(error) => ("refused", format!("{error:#}")),
            },
            Directive::Repoll { .. } => ("unsupported", "this agent polls no devices".to_owned()),
            Directive::Resend { .. } | Directive::SetBandwidth { .. } => ("done", String::new()),
        };
        self.uplink.outcome(DirectiveOutcome {
            id: message.id,
            outcome: outcome.to_owned(),
            detail,
        });
        if matches!(message.directive, Directive::RenewCertificate) && outcome == "done" {
            self.uplink.reconnect();
        }
    }

    async fn stop(&mut self) {
        let shutdown = host_is_shutting_down();
        let (reason, word) = if shutdown {
            (GoodbyeReason::HostShutdown, "host shuts down")
        } else {
            (GoodbyeReason::AgentStopped, "agent stops")
        };
        info!(reason = word, "stopping");
        self.look_for_security_events();
        let event = Event::new(now_ms(), kinds::AGENT_STOPPED, Severity::Notice, word);
        self.append_events(Stream::Events, &[event.with("reason", word)]);
        self.uplink.goodbye(reason, GOODBYE_WITHIN).await;
        self.leave_note(0);
        self.spool().close();
    }
}

fn open_security(config: &Config, link: &Link, spool: &Spool) -> Result<Option<SecurityWatch>> {
    if !config.security {
        return Ok(None);
    }
    let options = SecurityOptions {
        guarded: link.guarded_files(),
        spooled: Some(spool.last_used(Stream::Security)),
        ..SecurityOptions::default()
    };
    let privileged: Box<dyn xiezhi_collect::security::privileged::Privileged> =
        match privilege::PrivilegedClient::from_stdin() {
            Some(client) => Box::new(client),
            None => Box::new(xiezhi_collect::security::privileged::Unprivileged),
        };
    let state = config.state_dir.join("security");
    let watch = SecurityWatch::open(std::path::Path::new("/"), &state, options, privileged)
        .context("opening the sources of security events")?;
    Ok(Some(watch))
}

/// Whether the whole host stops, and not only the agent: systemd says so.
fn host_is_shutting_down() -> bool {
    let asked = std::process::Command::new("systemctl")
        .arg("is-system-running")
        .output();
    asked.is_ok_and(|answer| answer.stdout.starts_with(b"stopping"))
}

/// Batches in these gaps.
fn count(dropped: &[Dropped]) -> u64 {
    dropped.iter().map(|gap| gap.last - gap.first + 1).sum()
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
