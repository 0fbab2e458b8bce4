//! Whether a host is up, stale, down or unknown, and why.
//!
//! The rule that matters: **silence alone is never "down"**. A host behind a cut line says nothing,
//! and so does a host that has burnt; the two look the same from here and are both *unknown*.
//! *Down* needs positive evidence: the host said that it shuts down, or another host of the same
//! site reported when this one had been silent for long, so that the line is known to have worked. And a controller that has just started
//! has not watched long enough to call anyone silent.

use serde::{Deserialize, Serialize};

/// Silence longer than this is judged by evidence; before, the host is merely stale.
pub const SILENT_AFTER_MS: i64 = 90_000;

/// What is known of a host's liveness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It reports.
    Up,
    /// Its report is late, or it is connected without reporting.
    Stale,
    /// There is evidence that it does not run.
    Down,
    /// It cannot be told.
    Unknown,
}

impl Presence {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Stale, Self::Down, Self::Unknown];

    /// `up`, `stale`, `down` or `unknown`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stale => "stale",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a presence was judged so; also the key of its text in the user interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceReason {
    /// Up: reports come as agreed.
    Reporting,
    /// Stale: the last report is late.
    ReportLate,
    /// Stale: the session is open but no report comes.
    ConnectedButSilent,
    /// Down: the host said that it shuts down.
    HostShutDown,
    /// Down: other hosts of the site report, so the line works.
    SiteReportsWithoutIt,
    /// Unknown: the agent said that it stops; the host may go on.
    AgentStopped,
    /// Unknown: silent, and nothing tells the host from its line.
    SilentWithoutEvidence,
    /// Unknown: the controller has not watched long enough since it started.
    ControllerStarted,
    /// Unknown: enrolled, but no report ever came.
    NeverReported,
    /// Unknown: its identity was revoked, so it cannot report.
    Revoked,
}

impl PresenceReason {
    /// The word under which it is known outside.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reporting => "reporting",
            Self::ReportLate => "report_late",
            Self::ConnectedButSilent => "connected_but_silent",
            Self::HostShutDown => "host_shut_down",
            Self::SiteReportsWithoutIt => "site_reports_without_it",
            Self::AgentStopped => "agent_stopped",
            Self::SilentWithoutEvidence => "silent_without_evidence",
            Self::ControllerStarted => "controller_started",
            Self::NeverReported => "never_reported",
            Self::Revoked => "revoked",
        }
    }

    /// One English sentence for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Reporting => "reports come as agreed",
            Self::ReportLate => "the last report is late",
            Self::ConnectedButSilent => "the agent is connected but sends no reports",
            Self::HostShutDown => "the host said that it shuts down",
            Self::SiteReportsWithoutIt => "other hosts of this site report, this one does not",
            Self::AgentStopped => "the agent was stopped; the host may be running",
            Self::SilentWithoutEvidence => "silent; the host or its line may be down",
            Self::ControllerStarted => "the controller started moments ago and waits for a report",
            Self::NeverReported => "enrolled, but no report has come yet",
            Self::Revoked => "the host's identity was revoked",
        }
    }
}

/// Why an agent ended its session on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// The host shuts down or reboots.
    HostShutdown,
    /// The agent stops; the host goes on.
    AgentStopped,
    /// It comes back at once.
    Reconnect,
}

/// All that a judgement depends on, besides the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceInputs {
    /// Whether its identity was revoked.
    pub revoked: bool,
    /// Milliseconds between its reports.
    pub interval_ms: i64,
    /// When the controller last received a live report of it, by the controller's clock.
    pub last_report_ms: Option<i64>,
    /// Whether its session is open now.
    pub session_open: bool,
    /// Its last goodbye and when it came, by the controller's clock.
    pub goodbye: Option<(Farewell, i64)>,
    /// When the newest live report of another host of the same site came that is up now, by the
    /// controller's clock. A sibling that reports once an hour stays up behind a line that was cut
    /// half an hour ago, so that it is up tells nothing: its report must be later than the silence.
    pub sibling_report_ms: Option<i64>,
    /// Since when the controller has been able to receive reports.
    pub watching_since_ms: i64,
}

/// Judges one host at `now_ms`. A clock that went back counts as no time passed.
#[must_use]
pub fn judge(inputs: &PresenceInputs, now_ms: i64) -> (Presence, PresenceReason) {
    if inputs.revoked {
        return (Presence::Unknown, PresenceReason::Revoked);
    }
    let Some(last_report_ms) = inputs.last_report_ms else {
        return (Presence::Unknown, PresenceReason::NeverReported);
    };
    // A goodbye counts until the next report.
    let goodbye = inputs.goodbye.filter(|&(_, at_ms)| at_ms >= last_report_ms);
    match goodbye {
        Some((Farewell::HostShutdown, _)) if !inputs.session_open => {
            return (Presence::Down, PresenceReason::HostShutDown);
        }
        Some((Farewell::AgentStopped, _)) if !inputs.session_open => {
            return (Presence::Unknown, PresenceReason::AgentStopped);
        }
        _ => {}
    }
    let interval_ms = inputs.interval_ms.max(1);
    let age_ms = now_ms.saturating_sub(last_report_ms);
    // One report may be lost or late without anybody having to look.
    if age_ms <= interval_ms.saturating_mul(2) {
        return (Presence::Up, PresenceReason::Reporting);
    }
    judge_late(inputs, last_report_ms, now_ms)
}

/// The host's report is late: how late, and what speaks for which reason?
fn judge_late(
    inputs: &PresenceInputs,
    last_report_ms: i64,
    now_ms: i64,
) -> (Presence, PresenceReason) {
    let age_ms = now_ms.saturating_sub(last_report_ms);
    let watched_ms = now_ms.saturating_sub(inputs.watching_since_ms);
    let silent_after_ms = SILENT_AFTER_MS.max(inputs.interval_ms.saturating_mul(3));
    if inputs.session_open {
        let late = age_ms <= silent_after_ms;
        let reason = if late {
            PresenceReason::ReportLate
        } else {
            PresenceReason::ConnectedButSilent
        };
        return (Presence::Stale, reason);
    }
    if age_ms <= silent_after_ms {
        return (Presence::Stale, PresenceReason::ReportLate);
    }
    if watched_ms <= silent_after_ms {
        return (Presence::Unknown, PresenceReason::ControllerStarted);
    }
    let silent_ms = last_report_ms.saturating_add(silent_after_ms);
    if inputs
        .sibling_report_ms
        .is_some_and(|at_ms| at_ms > silent_ms)
    {
        return (Presence::Down, PresenceReason::SiteReportsWithoutIt);
    }
    (Presence::Unknown, PresenceReason::SilentWithoutEvidence)
}

/// A judgement as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceView {
    /// What.
    pub presence: Presence,
    /// Why.
    pub reason: PresenceReason,
    /// Since when it is so, Unix milliseconds.
    pub since_ms: i64,
    /// When the last live report came, Unix milliseconds.
    pub last_report_ms: Option<i64>,
}

#[cfg(test)]
mod tests;
