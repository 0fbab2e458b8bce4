//! Presence and live numbers of every host, in memory.
//!
//! Sessions write what they learn, a tick each second judges presence and tells who changed, pages
//! read. Nothing here is the only copy of anything: identity and last-seen times come from the
//! store at start and go back to it.

mod entry;
mod tick;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, oneshot};
use xiezhi_model::{Host, HostId, PresenceView, SiteId};
use xiezhi_protocol::message::{Directive, DirectiveOutcome, SpoolStatus};

pub(crate) use entry::{HostEntry, SessionHandle, StatusUpdate};

use crate::headline::Headline;
use crate::mail::{CloseReason, Mail, PendingDirective};

/// How long [`Fleet::send`] waits for the agent's answer.
pub const DIRECTIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets of changed hosts that a slow reader of [`Fleet::changes`] may fall behind.
const CHANGES_KEPT: usize = 32;

/// Everything that is known of one host right now.
#[derive(Debug, Clone, PartialEq)]
pub struct HostView {
    /// Which host.
    pub id: HostId,
    /// Its site.
    pub site: SiteId,
    /// Its own name for itself.
    pub hostname: String,
    /// Agent's version.
    pub version: String,
    /// Whether it is simulated.
    pub simulated: bool,
    /// Whether it is up, and why that is thought.
    pub presence: PresenceView,
    /// Its clock minus the controller's, milliseconds; `None` before it was measured.
    pub skew_ms: Option<i64>,
    /// Last numbers of its live frames.
    pub headline: Headline,
    /// Series that its last live frame had columns for.
    pub series: usize,
    /// Series beyond the bound, which are refused; 0 while all are taken.
    pub series_refused: usize,
    /// Milliseconds between its reports; 0 before the first session.
    pub interval_ms: u32,
    /// Memory and CPU of the agent itself.
    pub footprint: Option<Footprint>,
    /// What its spool holds and has dropped.
    pub spool: SpoolStatus,
    /// When the open session began, Unix milliseconds; `None` while there is none.
    pub connected_since_ms: Option<i64>,
    /// Remote address of the last session; empty before the first.
    pub address: String,
    /// End of its certificate, Unix seconds.
    pub certificate_expires_s: i64,
    /// When it last looked rolled back or cloned, Unix milliseconds.
    pub identity_conflict_ms: Option<i64>,
    /// When it was revoked, Unix milliseconds.
    pub revoked_ms: Option<i64>,
}

/// What an agent costs its host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory of all its processes, bytes.
    pub memory_bytes: u64,
    /// CPU time of all its processes since start, milliseconds.
    pub cpu_ms: u64,
}

/// Why a directive has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// No such host.
    #[error("no such host")]
    UnknownHost,
    /// The host has no session now.
    #[error("the host is not connected")]
    NotConnected,
    /// The session ended before the outcome came.
    #[error("the session ended before the host answered")]
    SessionEnded,
    /// The host did not answer in time; it may still have acted.
    #[error("the host did not answer within {} s", DIRECTIVE_TIMEOUT.as_secs())]
    TimedOut,
}

/// Which hosts changed since the set before, ascending; at most one set a second.
pub type ChangedHosts = Arc<[HostId]>;

/// The table of hosts. Clones share it.
#[derive(Debug, Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hosts: RwLock<HashMap<HostId, Arc<HostEntry>>>,
    changes: broadcast::Sender<ChangedHosts>,
    next_directive: AtomicU64,
    budgets: Notify,
    watching_since_ms: i64,
}

impl Fleet {
    /// A table of `hosts`, watching from `now_ms` on.
    pub(crate) fn new(hosts: impl IntoIterator<Item = Host>, now_ms: i64) -> Self {
        let fleet = Self {
            inner: Arc::new(Inner {
                hosts: RwLock::default(),
                changes: broadcast::Sender::new(CHANGES_KEPT),
                next_directive: AtomicU64::new(1),
                budgets: Notify::new(),
                watching_since_ms: now_ms,
            }),
        };
        for host in hosts {
            fleet.refresh(&host);
        }
        fleet.tick(now_ms);
        fleet
    }

    /// Every host, by number.
    #[must_use]
    pub fn snapshot(&self) -> Vec<HostView> {
        let hosts = self
            .inner
            .hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<_> = hosts.values().map(|entry| entry.view()).collect();
        drop(hosts);
        views.sort_unstable_by_key(|view| view.id);
        views
    }

    /// One host.
    #[must_use]
    pub fn get(&self, host: HostId) -> Option<HostView> {
        Some(self.entry(host)?.view())
    }

    /// Sets of changed hosts, at most one a second. A reader that lags reads [`Fleet::snapshot`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<ChangedHosts> {
        self.inner.changes.subscribe()
    }

    /// Sends a directive and waits for the agent's outcome, at most [`DIRECTIVE_TIMEOUT`].
    ///
    /// # Errors
    /// Says why there is no outcome.
    pub async fn send(
        &self,
        host: HostId,
        directive: Directive,
    ) -> Result<DirectiveOutcome, DirectiveError> {
        let entry = self.entry(host).ok_or(DirectiveError::UnknownHost)?;
        let (reply, outcome) = oneshot::channel();
        let id = self.inner.next_directive.fetch_add(1, Ordering::Relaxed);
        let pending = PendingDirective {
            id,
            directive,
            reply,
        };
        if !entry.post(Mail::Directive(Box::new(pending))) {
            return Err(DirectiveError::NotConnected);
        }
        match tokio::time::timeout(DIRECTIVE_TIMEOUT, outcome).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(DirectiveError::SessionEnded),
            Err(_) => Err(DirectiveError::TimedOut),
        }
    }

    /// Sends a directive of which nobody waits for the outcome; `false` if there is no session.
    pub(crate) fn post(&self, host: HostId, directive: Directive) -> bool {
        let (reply, _) = oneshot::channel();
        let id = self.inner.next_directive.fetch_add(1, Ordering::Relaxed);
        let pending = PendingDirective {
            id,
            directive,
            reply,
        };
        self.entry(host)
            .is_some_and(|entry| entry.post(Mail::Directive(Box::new(pending))))
    }

    /// Ends the open session of `host`, if there is one; tells whether there was.
    pub fn kick(&self, host: HostId) -> bool {
        self.close(host, CloseReason::Kicked)
    }

    /// Ends the open session of a host that was revoked; tells whether there was one.
    pub fn end_revoked(&self, host: HostId) -> bool {
        self.close(host, CloseReason::Revoked)
    }

    /// Takes over what the store now says of a host: a new one, a moved one, a revoked one.
    pub fn refresh(&self, host: &Host) {
        if let Some(entry) = self.entry(host.id) {
            entry.refresh(host);
            return;
        }
        let entry = Arc::new(HostEntry::new(host));
        let mut hosts = self
            .inner
            .hosts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host.id).or_insert(entry);
    }

    /// Says that the budget of a site was changed, so that sessions are told at once; without it
    /// they are within a second.
    pub fn notice_budgets(&self) {
        self.inner.budgets.notify_one();
    }

    /// Waits until someone says that a budget was changed.
    pub(crate) async fn budgets_changed(&self) {
        self.inner.budgets.notified().await;
    }

    /// Hosts that have a session, with their sites.
    pub(crate) fn connected(&self) -> Vec<(HostId, SiteId)> {
        let hosts = self.inner.hosts.read();
        let hosts = hosts.unwrap_or_else(PoisonError::into_inner);
        let open = |entry: &&Arc<HostEntry>| entry.is_open();
        let named = |entry: &Arc<HostEntry>| (entry.id(), entry.site());
        hosts.values().filter(open).map(named).collect()
    }

    pub(crate) fn entry(&self, host: HostId) -> Option<Arc<HostEntry>> {
        self.inner
            .hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&host)
            .cloned()
    }

    pub(crate) fn close(&self, host: HostId, reason: CloseReason) -> bool {
        self.entry(host)
            .is_some_and(|entry| entry.post(Mail::Close(reason)))
    }

    pub(crate) fn close_all(&self, reason: CloseReason) {
        let hosts = self
            .inner
            .hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for entry in hosts.values() {
            entry.post(Mail::Close(reason));
        }
    }
}
