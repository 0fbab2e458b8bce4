//! One host of the fleet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use xiezhi_model::presence::{Farewell, PresenceInputs, judge};
use xiezhi_model::{Host, HostId, Presence, PresenceReason, PresenceView, SiteId};
use xiezhi_protocol::message::{GoodbyeReason, SpoolStatus};

use super::{Footprint, HostView};
use crate::headline::Headline;
use crate::mail::{CloseReason, Mail};

/// Reports of a host that never said how often it reports.
const USUAL_INTERVAL_MS: u32 = 15_000;

/// A host's row. Its lock is taken by its own session for each frame and by readers now and then;
/// nobody holds two.
#[derive(Debug)]
pub(crate) struct HostEntry {
    id: HostId,
    /// Stays as it was recorded when the host enrolled.
    evidence_key: Box<str>,
    live: Mutex<Live>,
}

#[derive(Debug)]
struct Live {
    view: HostView,
    goodbye: Option<(Farewell, i64)>,
    session: Option<SessionHandle>,
    /// What the store knows as the time of the last report.
    stored_last_seen_ms: i64,
    dirty: bool,
}

/// The way to a session's task.
#[derive(Debug, Clone)]
pub(crate) struct SessionHandle {
    pub(crate) id: String,
    /// Serial number of the certificate that opened it.
    pub(crate) serial: String,
    pub(crate) mail: mpsc::UnboundedSender<Mail>,
}

/// What a `Hello` or `Status` tells of a host.
#[derive(Debug, Default)]
pub(crate) struct StatusUpdate {
    pub(crate) skew_ms: i64,
    pub(crate) spool: SpoolStatus,
    pub(crate) footprint: Option<Footprint>,
    pub(crate) certificate_expires_s: i64,
}

/// What the tick needs of a host to judge its siblings.
pub(super) struct Reporting {
    pub(super) site: SiteId,
    /// When its last report came, if it is up.
    pub(super) up_ms: Option<i64>,
}

impl HostEntry {
    pub(super) fn new(host: &Host) -> Self {
        let view = HostView {
            id: host.id,
            site: host.site,
            hostname: host.hostname.clone(),
            version: host.version.clone(),
            simulated: host.simulated,
            presence: PresenceView {
                presence: Presence::Unknown,
                reason: PresenceReason::NeverReported,
                since_ms: 0,
                last_report_ms: (host.last_seen_ms > 0).then_some(host.last_seen_ms),
            },
            skew_ms: None,
            headline: Headline::default(),
            series: 0,
            series_refused: 0,
            interval_ms: 0,
            footprint: None,
            spool: SpoolStatus::default(),
            connected_since_ms: None,
            address: String::new(),
            certificate_expires_s: host.certificate_expires_s,
            identity_conflict_ms: host.identity_conflict_ms,
            revoked_ms: host.revoked_ms,
        };
        let live = Live {
            view,
            goodbye: None,
            session: None,
            stored_last_seen_ms: host.last_seen_ms,
            dirty: true,
        };
        Self {
            id: host.id,
            evidence_key: host.evidence_key.as_str().into(),
            live: Mutex::new(live),
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn id(&self) -> HostId {
        self.id
    }

    /// Public key with which the host signs evidence, hex.
    pub(crate) fn evidence_key(&self) -> &str {
        &self.evidence_key
    }

    pub(crate) fn site(&self) -> SiteId {
        self.live().view.site
    }

    pub(super) fn view(&self) -> HostView {
        self.live().view.clone()
    }

    /// What the store says wins over what a session said, but for what only sessions know.
    pub(super) fn refresh(&self, host: &Host) {
        let mut live = self.live();
        let before = live.view.clone();
        live.view.site = host.site;
        live.view.simulated = host.simulated;
        live.view.identity_conflict_ms = host.identity_conflict_ms;
        // Never taken back: what was read may be older than the revocation that was acted on.
        live.view.revoked_ms = host.revoked_ms.or(live.view.revoked_ms);
        live.view.certificate_expires_s = live
            .view
            .certificate_expires_s
            .max(host.certificate_expires_s);
        if live.session.is_none() {
            live.view.hostname.clone_from(&host.hostname);
            live.view.version.clone_from(&host.version);
        }
        live.dirty |= live.view != before;
    }

    /// Makes `session` the host's session and returns the one before, which must be closed.
    pub(crate) fn open(
        &self,
        session: SessionHandle,
        hello: &xiezhi_protocol::message::Hello,
        address: String,
        now_ms: i64,
    ) -> Option<SessionHandle> {
        let mut live = self.live();
        live.view.hostname.clone_from(&hello.hostname);
        live.view.version.clone_from(&hello.version);
        live.view.interval_ms = hello.interval_ms;
        live.view.connected_since_ms = Some(now_ms);
        live.view.address = address;
        live.dirty = true;
        live.session.replace(session)
    }

    /// Ends the session `id`, unless another took its place.
    pub(crate) fn close(&self, id: &str) {
        let mut live = self.live();
        if live
            .session
            .as_ref()
            .is_some_and(|session| session.id == id)
        {
            live.session = None;
            live.view.connected_since_ms = None;
            live.dirty = true;
        }
    }

    /// Whether there is a session.
    pub(super) fn is_open(&self) -> bool {
        self.live().session.is_some()
    }

    /// Hands a letter to the open session; `false` if there is none.
    pub(crate) fn post(&self, mail: Mail) -> bool {
        let live = self.live();
        live.session
            .as_ref()
            .is_some_and(|session| session.mail.send(mail).is_ok())
    }

    /// Ends the open session if this certificate opened it.
    pub(crate) fn close_serial(&self, serial: &str, reason: CloseReason) {
        let live = self.live();
        if let Some(session) = live
            .session
            .as_ref()
            .filter(|session| session.serial == serial)
        {
            // One that has just ended needs no letter.
            drop(session.mail.send(Mail::Close(reason)));
        }
    }

    /// A live frame came.
    pub(crate) fn reported(&self, now_ms: i64, headline: Headline, series: usize) {
        let mut live = self.live();
        live.view.presence.last_report_ms = Some(now_ms);
        live.view.headline = headline;
        live.view.series = series;
        live.goodbye = None;
        live.dirty = true;
    }

    /// Series beyond the bound: `refused` of them are left out.
    pub(crate) fn series_refused(&self, refused: usize) {
        let mut live = self.live();
        live.dirty |= live.view.series_refused != refused;
        live.view.series_refused = refused;
    }

    pub(crate) fn status(&self, update: StatusUpdate) {
        let mut live = self.live();
        live.view.skew_ms = Some(update.skew_ms);
        live.view.spool = update.spool;
        if update.footprint.is_some() {
            live.view.footprint = update.footprint;
        }
        if update.certificate_expires_s > 0 {
            live.view.certificate_expires_s = update.certificate_expires_s;
        }
        live.dirty = true;
    }

    pub(crate) fn goodbye(&self, reason: GoodbyeReason, now_ms: i64) {
        let farewell = match reason {
            GoodbyeReason::HostShutdown => Farewell::HostShutdown,
            GoodbyeReason::AgentStopped => Farewell::AgentStopped,
            GoodbyeReason::Reconnect => Farewell::Reconnect,
        };
        let mut live = self.live();
        live.goodbye = Some((farewell, now_ms));
        live.dirty = true;
    }

    pub(crate) fn identity_conflict(&self, now_ms: i64) {
        let mut live = self.live();
        live.view.identity_conflict_ms = Some(now_ms);
        live.dirty = true;
    }

    pub(crate) fn revoked(&self, now_ms: i64) {
        let mut live = self.live();
        live.view.revoked_ms.get_or_insert(now_ms);
        live.dirty = true;
    }

    pub(super) fn reporting(&self, now_ms: i64) -> Reporting {
        let live = self.live();
        let fresh = i64::from(interval_of(&live.view)).saturating_mul(2);
        let last_ms = live.view.presence.last_report_ms;
        Reporting {
            site: live.view.site,
            up_ms: last_ms.filter(|&at_ms| now_ms.saturating_sub(at_ms) <= fresh),
        }
    }

    /// Judges presence anew; tells whether anything of this host changed since the last tick.
    pub(super) fn judge(
        &self,
        sibling_report_ms: Option<i64>,
        watching_since_ms: i64,
        now_ms: i64,
    ) -> bool {
        let mut live = self.live();
        let inputs = PresenceInputs {
            revoked: live.view.revoked_ms.is_some(),
            interval_ms: i64::from(interval_of(&live.view)),
            last_report_ms: live.view.presence.last_report_ms,
            session_open: live.session.is_some(),
            goodbye: live.goodbye,
            sibling_report_ms,
            watching_since_ms,
        };
        let (presence, reason) = judge(&inputs, now_ms);
        let view = &mut live.view.presence;
        let changed = (view.presence, view.reason) != (presence, reason);
        if view.presence != presence || view.since_ms == 0 {
            view.since_ms = now_ms;
        }
        (view.presence, view.reason) = (presence, reason);
        std::mem::take(&mut live.dirty) || changed
    }

    /// The time of the last report, if the store does not know it yet.
    pub(super) fn unsaved_last_seen(&self) -> Option<i64> {
        let live = self.live();
        live.view
            .presence
            .last_report_ms
            .filter(|&at| at > live.stored_last_seen_ms)
    }

    pub(super) fn saved_last_seen(&self, at_ms: i64) {
        let mut live = self.live();
        live.stored_last_seen_ms = live.stored_last_seen_ms.max(at_ms);
    }
}

const fn interval_of(view: &HostView) -> u32 {
    if view.interval_ms == 0 {
        USUAL_INTERVAL_MS
    } else {
        view.interval_ms
    }
}
