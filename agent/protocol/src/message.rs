//! What the two sides of a session say to each other.
//!
//! Control messages are JSON, because they are few and must be read by older and newer peers;
//! batches and acknowledgements are binary, because they are nearly all of the traffic.

use serde::{Deserialize, Serialize};

use crate::batch::Stream;
use crate::range_set::RangeSet;

/// First record of the upload stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Newest protocol that the agent speaks.
    pub protocol: u32,
    /// Agent's version.
    pub version: String,
    /// Host name, for a person who reads the fleet list.
    pub hostname: String,
    /// Epoch that the agent's spool believes in; 0 for a fresh spool.
    pub epoch: u64,
    /// Session identifier that the controller gave last time; empty for a fresh spool. A mismatch
    /// means that someone else used this identity in between, or that this disk is older than the
    /// controller remembers.
    pub previous_session: String,
    /// Kernel boot identifier.
    pub boot_id: String,
    /// Digest of `/etc/machine-id`, never the id itself.
    pub machine: String,
    /// Agent's wall clock when the record was written, Unix milliseconds.
    pub clock_ms: i64,
    /// Milliseconds between reports.
    pub interval_ms: u32,
    /// Fingerprint of the policy root that was installed on the host; empty means observe-only.
    pub policy_root: String,
    /// When the agent's certificate ends, Unix seconds.
    pub certificate_expires_s: i64,
    /// What the spool holds and has dropped.
    pub spool: SpoolStatus,
}

/// What a spool holds and what it had to drop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// Batches not yet acknowledged.
    pub pending: u64,
    /// Batches dropped since the spool was made, by stream name.
    pub dropped: Vec<Dropped>,
    /// Empty while all is well; otherwise why the spool refuses to write (for instance a full disk).
    pub trouble: String,
}

/// Batches that were given up, so that a gap on the controller has a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Which stream.
    pub stream: Stream,
    /// First sequence number dropped.
    pub first: u64,
    /// Last sequence number dropped.
    pub last: u64,
    /// Time of the first batch, Unix milliseconds; 0 where unknown.
    pub from_ms: i64,
    /// Time of the last batch, Unix milliseconds; 0 where unknown.
    pub to_ms: i64,
    /// `full`, `age`, `damaged` or `refused`.
    pub reason: String,
}

/// The controller's answer to [`Hello`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// Protocol that this session speaks.
    pub protocol: u32,
    /// This session's identifier; the agent stores it before it sends anything else.
    pub session: String,
    /// Epoch under which batches of this session are counted; the agent adopts it.
    pub epoch: u64,
    /// Controller's clock, Unix milliseconds.
    pub time_ms: i64,
    /// Controller's version.
    pub version: String,
    /// Bandwidth budget that applies now, if any.
    pub bandwidth: Option<Bandwidth>,
}

/// Downward record of the upload stream: these batches are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which stream.
    pub stream: Stream,
    /// Epoch under which the batches were counted. Higher than the session's: adopt it.
    pub epoch: u64,
    /// Sequence numbers that are durable.
    pub ranges: RangeSet,
}

/// Downward record of the upload stream: this batch cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which stream.
    pub stream: Stream,
    /// Which batch; `None` if it could not be told.
    pub seq: Option<u64>,
    /// Whether the agent should send it again as a fresh chain (`true`) or give it up.
    pub resend: bool,
    /// Why, for a person.
    pub reason: String,
}

/// Upward record: the agent ends the session on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// Why.
    pub reason: GoodbyeReason,
}

/// Why an agent ends its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// The host is shutting down or rebooting.
    HostShutdown,
    /// The agent is stopped or restarted; the host goes on.
    AgentStopped,
    /// The agent reconnects at once, for instance with a new certificate.
    Reconnect,
}

/// Upward record, every five minutes and when something in it matters at once: state that is not a
/// sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Agent's wall clock when the record was written, Unix milliseconds.
    pub clock_ms: i64,
    /// What the spool holds and has dropped.
    pub spool: SpoolStatus,
    /// Resident memory of all the agent's processes (PSS where readable), bytes.
    pub memory_bytes: u64,
    /// CPU time of all the agent's processes since start, milliseconds.
    pub cpu_ms: u64,
    /// When the agent's certificate ends, Unix seconds.
    pub certificate_expires_s: i64,
}

/// A budget for one uplink, in bytes per second. Live reports are never held back; they only use
/// up what backlog and bulk may take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// Outside all windows; 0 means unlimited.
    pub bytes_per_second: u64,
    /// Hours with a budget of their own, first match wins.
    pub windows: Vec<BandwidthWindow>,
}

/// A daily window of local hours with a budget of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BandwidthWindow {
    /// First minute of the day, 0–1439, Asia/Shanghai.
    pub from_minute: u16,
    /// Minute of the day after the last, at most 1440; smaller than `from_minute` wraps over
    /// midnight, and the same is a window of no time.
    pub to_minute: u16,
    /// Budget; 0 means that backlog and bulk stop.
    pub bytes_per_second: u64,
}

impl Bandwidth {
    /// Bytes per second at a minute of the day, Asia/Shanghai; `None` is unlimited, 0 lets only live
    /// reports pass. Both sides ask here, so that a page shows what an agent does.
    #[must_use]
    pub fn at_minute(&self, minute: u16) -> Option<u64> {
        let window = self.windows.iter().find(|window| window.contains(minute));
        match window {
            Some(window) => Some(window.bytes_per_second),
            None => (self.bytes_per_second > 0).then_some(self.bytes_per_second),
        }
    }
}

impl BandwidthWindow {
    /// Whether a minute of the day lies within.
    fn contains(&self, minute: u16) -> bool {
        let (from, to) = (self.from_minute, self.to_minute);
        if from <= to {
            (from..to).contains(&minute)
        } else {
            minute >= from || minute < to
        }
    }
}

/// What the online controller alone may tell an agent: a closed list. What each can do at worst is
/// in ARCHITECTURE.md; anything that writes a file, reads a new path, runs a program, contacts a new
/// address or changes a firewall is not here and needs a grant that is checked on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Directive {
    /// Collect and send a report now. At worst: one report more per second.
    CollectNow,
    /// Send these batches again if the spool still has them. At worst: bandwidth.
    Resend {
        /// Which stream.
        stream: Stream,
        /// First sequence number.
        first: u64,
        /// Last sequence number.
        last: u64,
    },
    /// Set the budget. At worst: backlog waits; live reports never do.
    SetBandwidth {
        /// The new budget.
        bandwidth: Bandwidth,
    },
    /// Renew the certificate now. At worst: one signature.
    RenewCertificate,
    /// Poll a device now. Agents without devices answer `unsupported`.
    Repoll {
        /// The device's identifier.
        device: String,
    },
}

/// A directive on its way down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectiveMessage {
    /// Number that the outcome repeats.
    pub id: u64,
    /// What to do.
    pub directive: Directive,
}

/// What became of a directive, on its way up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectiveOutcome {
    /// Number of the directive.
    pub id: u64,
    /// `done`, `refused` or `unsupported`.
    pub outcome: String,
    /// Why, for a person; empty when done.
    #[serde(default)]
    pub detail: String,
}
