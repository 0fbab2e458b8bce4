//! The agent port: authenticate, decode, de-duplicate, append, acknowledge.
//!
//! An agent opens one HTTP/2 connection over mutual TLS and keeps it. Its batches are decoded and
//! checked here, made durable by the store that owns their stream, and only then acknowledged. On
//! the way the crate learns who is there, and keeps it in the [`Fleet`].
//!
//! What holds everywhere:
//! - **No acknowledgement before the commit.** A batch that no store has confirmed is not
//!   acknowledged, however long the store is full; meanwhile nothing more is read from agents, and
//!   [`IngestHealth`] says why.
//! - **A refusal costs what it refuses.** A bad frame, batch or event is answered with a reason and
//!   counted; the other lane, the other streams and every other agent go on.
//! - **Everything is bounded**: handshakes, bodies, records, queued bytes, series, directives.
//!
//! The crate never decides what a host should do, never stores samples or events itself, and never
//! trusts what an unauthenticated caller says.
//!
//! | module | what it does |
//! |---|---|
//! | `listener` | accepts, paces and finishes TLS handshakes |
//! | `connection` | drives one connection: one task, whatever it is for |
//! | `greeting` | from the first record to an open session |
//! | `session` | records up, acknowledgements and directives down |
//! | `lane` | follows one chain of sample frames |
//! | `samples`, `events` | group commits into the two stores |
//! | `polls` | what hosts read of devices: samples into one store, notes into the other |
//! | `enrol` | enrolment and renewal |
//! | `fleet` | presence and live numbers |
//! | `bandwidth`, `budget` | the budgets that sessions are told |
//! | `holes` | batches that are missing are asked for |
//! | `upkeep` | what happens each second and each minute |

mod acks;
mod bandwidth;
mod budget;
mod connection;
mod context;
mod desk;
mod enrol;
mod events;
mod fleet;
mod greeting;
mod headline;
mod health;
mod holes;
mod inbox;
mod ingest;
mod interner;
mod lane;
mod limits;
mod listener;
mod mail;
mod metrics;
mod options;
mod polls;
mod problem;
mod reply;
mod samples;
mod session;
mod share;
mod shared;
mod upkeep;
mod vital;

pub use bandwidth::{
    bandwidth_setting, hosts_with_bandwidth, new_site_bandwidth, site_bandwidth_setting,
    site_bandwidths,
};
pub use budget::{BudgetError, HOURS, HourlyBudget, MOST_KBPS};
pub use fleet::{ChangedHosts, DIRECTIVE_TIMEOUT, DirectiveError, Fleet, Footprint, HostView};
pub use headline::Headline;
pub use health::{Cause, IngestHealth, SharedHealth, Trouble};
pub use ingest::{Ingest, IngestError, IngestParts};
pub use options::{Clock, IngestOptions};
