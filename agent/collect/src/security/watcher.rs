//! What a watcher is, and what it is given at each poll.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Event, Severity, kinds};

use super::limiter::Limiter;
use super::privileged::{Answer, Ask, Privileged, PrivilegedError};
use super::zone::Zone;

/// One source of security events.
pub(crate) trait Watcher: Send {
    /// Name of the source: the field `source` of its events and the key of its saved state.
    fn name(&self) -> &'static str;

    /// How long to wait between polls; zero polls every time.
    fn every(&self) -> Duration;

    /// Looks for news and emits events. Must be cheap: a long piece of work is asked of a helper.
    fn poll(&mut self, context: &mut Context<'_>);

    /// What is lost at the moment, for people.
    fn loss(&self) -> Option<String> {
        None
    }

    /// The positions and the baseline, to be saved.
    fn save(&self) -> Value;

    /// Takes saved state back; `false` if it is not readable and a new baseline is needed.
    fn load(&mut self, saved: Value) -> bool;

    /// The agent will change this file itself.
    fn expect_change(&mut self, _path: &Path) {}
}

/// The time of a poll by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Wall clock, Unix milliseconds; may jump.
    pub(crate) wall_ms: i64,
    /// Milliseconds since boot, counting sleep; never jumps.
    pub(crate) boot_ms: i64,
}

/// What a watcher may use during a poll.
pub(crate) struct Context<'a> {
    pub(crate) root: &'a Path,
    pub(crate) state_dir: &'a Path,
    pub(crate) now: Now,
    pub(crate) zone: &'a Zone,
    pub(crate) source: &'static str,
    pub(crate) asks: &'a mut Asks,
    pub(crate) limiter: &'a mut Limiter,
    pub(crate) events: &'a mut Vec<Event>,
    pub(crate) urgent: &'a mut bool,
}

impl Context<'_> {
    /// A path of the host.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// An event of now.
    pub(crate) fn event(
        &self,
        kind: &str,
        severity: Severity,
        message: impl Into<String>,
    ) -> Event {
        Event::new(self.now.wall_ms, kind, severity, message)
    }

    /// Hands an event on, unless the source has given too many of its kind in this minute.
    pub(crate) fn emit(&mut self, mut event: Event) {
        event
            .fields
            .entry("source".to_owned())
            .or_insert_with(|| self.source.to_owned());
        if let Some(event) = self.limiter.admit(self.source, event, self.now.wall_ms) {
            self.events.push(event);
        }
    }

    /// The saved state must be written at the next commit (a baseline was taken).
    pub(crate) fn mark_urgent(&mut self) {
        *self.urgent = true;
    }

    /// Says that part of the source is lost for ever.
    pub(crate) fn emit_gap(&mut self, reason: &str, from_ms: Option<i64>) {
        let mut event = self.event(
            kinds::SOURCE_GAP,
            Severity::Warning,
            format!("{}: {reason}", self.source),
        );
        event = event
            .with("reason", reason)
            .with("to_ms", self.now.wall_ms.to_string());
        if let Some(from_ms) = from_ms {
            event = event.with("from_ms", from_ms.to_string());
        }
        self.emit(event);
    }
}

/// Privileged requests of all watchers: hands each answer to whoever asked.
pub(crate) struct Asks {
    privileged: Box<dyn Privileged>,
    ready: Vec<Answer>,
}

/// Most answers that wait to be fetched; watchers have one request each under way.
const MAX_READY: usize = 32;

impl Asks {
    pub(crate) fn new(privileged: Box<dyn Privileged>) -> Self {
        Self {
            privileged,
            ready: Vec::new(),
        }
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> Result<u64, PrivilegedError> {
        self.privileged.ask(ask)
    }

    pub(crate) fn refresh(&mut self) {
        self.ready.extend(self.privileged.take());
        let surplus = self.ready.len().saturating_sub(MAX_READY);
        self.ready.drain(..surplus);
    }

    pub(crate) fn answer(&mut self, id: u64) -> Option<Result<Vec<u8>, String>> {
        let index = self.ready.iter().position(|answer| answer.id == id)?;
        Some(self.ready.swap_remove(index).result)
    }
}

/// A privileged request that a watcher repeats: at most one under way.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    id: Option<u64>,
    asked_boot_ms: i64,
}

/// How long an answer may take before the watcher asks again; longer than any helper lives.
const FORGET_MS: i64 = 40 * 60 * 1000;

impl Pending {
    /// Asks unless a request is under way.
    pub(crate) fn ask(
        &mut self,
        context: &mut Context<'_>,
        ask: Ask,
    ) -> Result<(), PrivilegedError> {
        if self.id.is_some() && context.now.boot_ms - self.asked_boot_ms < FORGET_MS {
            return Ok(());
        }
        self.id = None;
        self.id = Some(context.asks.ask(ask)?);
        self.asked_boot_ms = context.now.boot_ms;
        context.asks.refresh();
        Ok(())
    }

    /// The answer, once.
    pub(crate) fn take(&mut self, context: &mut Context<'_>) -> Option<Result<Vec<u8>, String>> {
        let answer = context.asks.answer(self.id?)?;
        self.id = None;
        Some(answer)
    }

    /// Whether a request is under way.
    pub(crate) fn waiting(&self) -> bool {
        self.id.is_some()
    }
}

/// Remembers since when a source is lost, and says so once at the start and once at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    since_ms: Option<i64>,
    reported: bool,
    reason: String,
}

/// A loss shorter than this is not reported when it starts (a busy helper, a rotation).
const REPORT_AFTER_MS: i64 = 60_000;

impl Loss {
    /// The source could not be read just now.
    pub(crate) fn lost(&mut self, context: &mut Context<'_>, reason: &str) {
        let since = *self.since_ms.get_or_insert(context.now.wall_ms);
        reason.clone_into(&mut self.reason);
        let long = context.now.wall_ms.saturating_sub(since) >= REPORT_AFTER_MS;
        if long && !self.reported {
            self.reported = true;
            let event = context
                .event(
                    kinds::SOURCE_GAP,
                    Severity::Warning,
                    format!("{} cannot be read: {reason}", context.source),
                )
                .with("reason", reason)
                .with("from_ms", since.to_string());
            context.emit(event);
            context.mark_urgent();
        }
    }

    /// The source could be read again; what was written meanwhile is read too, so the gap is only
    /// reported if its start was.
    pub(crate) fn regained(&mut self, context: &mut Context<'_>) {
        let Some(since) = self.since_ms.take() else {
            return;
        };
        if std::mem::take(&mut self.reported) {
            context.emit_gap("readable again", Some(since));
            context.mark_urgent();
        }
    }

    /// The reason while it lasts.
    pub(crate) fn current(&self) -> Option<String> {
        self.since_ms.map(|_| self.reason.clone())
    }
}
