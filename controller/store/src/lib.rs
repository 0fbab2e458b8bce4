//! The controller's state, and the only SQL of the whole project.
//!
//! One file per noun; every method is one transaction. SQLite is the default, and each statement is
//! written so that PostgreSQL takes it too (`$1` placeholders, `ON CONFLICT`, `RETURNING`, no
//! functions of one database only); why through sqlx's `Any` driver is in `docs/adr/003`.
//!
//! What holds everywhere:
//! - **One writer.** All writes of a process go through one connection and take the write lock
//!   first, so a transaction never fails half-way because another was faster.
//! - **Durable when it returns.** Write-ahead log with full synchronisation: what a method has
//!   confirmed survives `kill -9` and a power cut.
//! - **An act and its audit entry are one transaction.** A method that takes an [`AuditEntry`]
//!   chains it in the same commit; neither is ever there without the other.
//! - **Times are Unix milliseconds** and always the caller's: this crate reads no clock.
//!
//! [`AuditEntry`]: xiezhi_model::AuditEntry

mod api_tokens;
mod approvals;
mod audit;
mod certificates;
mod database;
mod dedup;
mod enrolment;
mod error;
mod event_search;
mod events;
mod evidence;
mod facts;
mod gaps;
mod holes;
mod hosts;
mod proofs;
mod repeats;
mod revocations;
mod row;
mod schema;
mod sessions;
mod settings;
mod sites;
mod tokens;
mod users;
mod web_sessions;
mod wire_events;

use std::sync::Arc;

use database::Database;

pub use api_tokens::NewApiToken;
pub use approvals::ApprovalRequest;
pub use audit::{AuditQuery, AuditVerdict};
pub use enrolment::{EnrolError, EnrolRefusal, NewHost};
pub use error::StoreError;
pub use event_search::{EventCursor, EventPage, EventQuery};
pub use events::{BatchOutcome, EventBatch, NewEvent};
pub use evidence::{EventProof, EvidenceFailure, EvidenceQuery, EvidenceReport, LISTED_FAILURES};
pub use facts::StoredFacts;
pub use holes::Hole;
pub use hosts::LastSeen;
pub use proofs::BatchProof;
pub use sessions::{IdentityConflict, SessionOutcome, SessionRequest};
pub use sites::SiteImport;
pub use wire_events::KeptEvents;

/// The controller's state. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Opens the database at `url`, makes it if it is not there, and brings its schema up to date.
    ///
    /// `url` is `sqlite:///absolute/path` (a bare absolute path is taken as one), or `postgres://…`
    /// where that is built in. A new file is readable for its owner only.
    ///
    /// # Errors
    /// Each variant of [`StoreError`] says what to do.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            database: Arc::new(Database::open(url).await?),
        })
    }

    /// Waits for running transactions and closes all connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
