//! What an uplink is given, and what it shows.

use std::sync::Arc;
use std::time::Duration;

use xiezhi_protocol::message::{Hello, Status};

/// Times and bounds of an uplink; the defaults are what is shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The first connection is made within this time, at random.
    pub start_within: Duration,
    /// After a lost session the first retry is made within this time, at random: 20,000 agents that
    /// lost the same controller spread evenly.
    pub retry_within: Duration,
    /// Longest wait between failed attempts.
    pub retry_cap: Duration,
    /// Limit of connecting, TLS and Hello/Welcome together.
    pub connect_timeout: Duration,
    /// A connection on which nothing was received for so long is pinged. Longer than the
    /// controller's interval of acknowledgements, so that a healthy session is never pinged.
    pub ping_after: Duration,
    /// A ping without an answer ends the session after this time.
    pub ping_timeout: Duration,
    /// A batch that was sent and not acknowledged for so long ends the session; at half of it a
    /// flush is sent.
    pub ack_timeout: Duration,
    /// How often a status record goes up; drops and trouble go up at once.
    pub status_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start_within: Duration::from_secs(1),
            retry_within: Duration::from_secs(30),
            retry_cap: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(20),
            ping_after: Duration::from_secs(75),
            ping_timeout: Duration::from_secs(20),
            ack_timeout: Duration::from_secs(180),
            status_every: Duration::from_secs(300),
        }
    }
}

/// Where to connect, and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port` of the controller.
    pub address: String,
    /// TLS 1.3 with the host's certificate; verifies the controller by its pinned root.
    pub tls: Arc<rustls::ClientConfig>,
}

/// What the uplink asks the agent. Called on every connection, so a renewed certificate or a new
/// address takes effect at the next one. Must not block.
pub trait Connector: Send + Sync + 'static {
    /// Where to connect.
    ///
    /// # Errors
    /// Says why there is no target yet; it is shown and retried like a failed connection.
    fn target(&self) -> Result<Target, String>;
    /// The greeting; protocol, epoch, session, spool and clock are filled in by the uplink.
    fn hello(&self) -> Hello;
    /// The state of the agent; spool and clock are filled in by the uplink.
    fn status(&self) -> Status;
    /// The local clock, Unix milliseconds.
    fn now_ms(&self) -> i64;
    /// A session is up: the certificate works, and the controller's clock read `time_ms`.
    fn welcomed(&self, time_ms: i64);
    /// The controller refused the session: the short word and sentence of
    /// [`xiezhi_protocol::enrol::Problem`], for instance `certificate_expired` or `revoked`.
    fn refused(&self, code: &str, detail: &str);
}

/// What the uplink is and was doing, for the agent's own metrics and for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// When the present session was welcomed, local clock, Unix milliseconds; `None` while there is
    /// none.
    pub connected_since_ms: Option<i64>,
    /// When an acknowledgement last came, local clock, Unix milliseconds.
    pub last_ack_ms: Option<i64>,
    /// Controller's clock minus the local one at the last welcome, milliseconds.
    pub skew_ms: Option<i64>,
    /// Record bytes sent.
    pub bytes_up: u64,
    /// Record bytes received.
    pub bytes_down: u64,
    /// Batches sent on the live lane.
    pub sent_live: u64,
    /// Batches sent on the backlog lane.
    pub sent_backlog: u64,
    /// Sessions that were welcomed.
    pub sessions: u64,
    /// Attempts that did not become a session.
    pub failures: u64,
    /// Batches that the controller refused.
    pub refused: u64,
    /// Records from the controller that could not be read.
    pub malformed: u64,
    /// Why there is no session; empty while there is one.
    pub trouble: String,
}
