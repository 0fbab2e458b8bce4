//! The controller's state, and the only SQL of the whole project.
//!
//! One file per noun; every method is one transaction. SQLite is the default; each statement is
//! written once, for PostgreSQL too (`$1` placeholders, `ON CONFLICT`, `RETURNING`, no
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

mod accounts;
mod acts;
mod address;
mod api_tokens;
mod approvals;
mod audit;
mod audit_search;
mod authority;
mod bounded;
mod break_glass;
mod certificates;
mod controller_lock;
mod copy;
mod database;
mod dedup;
mod device_search;
mod devices;
mod enrolment;
mod error;
mod event_search;
mod events;
mod evidence;
mod facts;
mod gaps;
mod holes;
mod hosts;
mod named_requests;
mod older;
mod proofs;
mod reach;
mod register;
mod repeats;
mod revocations;
mod row;
mod schema;
mod second_factor;
mod server;
mod sessions;
mod settings;
mod sites;
mod tokens;
mod users;
mod views;
mod web_sessions;
mod wire_events;

use std::sync::Arc;

use database::{Database, Opener};

pub use accounts::AccountError;
pub use address::{Address, AddressError};
pub use api_tokens::{ApiTokenQuery, NewApiToken, OwnTokenError};
pub use approvals::ApprovalRequest;
pub use audit::{AuditQuery, AuditVerdict};
pub use break_glass::BrokenGlass;
pub use copy::CopiedTable;
pub use device_search::{DeviceCursor, DevicePage, DeviceQuery, StatesOfHost};
pub use devices::{DeviceAnswer, DeviceName, DevicePoll, DeviceSaid};
pub use enrolment::{EnrolError, EnrolRefusal, NewHost};
pub use error::StoreError;
pub use event_search::{CursorError, EventCursor, EventPage, EventQuery, EventSight};
pub use events::{BatchOutcome, EventBatch, NewEvent};
pub use evidence::{EventProof, EvidenceFailure, EvidenceQuery, EvidenceReport, LISTED_FAILURES};
pub use facts::StoredFacts;
pub use gaps::GapCursor;
pub use holes::Hole;
pub use hosts::LastSeen;
pub use named_requests::{Begun, NamedRequest, NewNamedRequest};
pub use older::Older;
pub use proofs::BatchProof;
pub use register::{
    Import, ImportRow, ImportState, Plan, PlanProblem, PlannedRow, RegisterCursor, RegisterError,
    RegisterPage, RegisterQuery, UNDO_DETAILS, UndoField, UndoObstacle, UndoPlan, UndoRow,
};
pub use second_factor::StoredFactor;
pub use sessions::{IdentityConflict, SessionOutcome, SessionRequest};
pub use sites::{SiteError, SiteHistoryEntry, SiteImport, SiteImportFile, SiteUse};
pub use tokens::TokenCursor;
pub use users::NewUser;
pub use views::{SavedView, VIEWS_OF_ACCOUNT, VIEWS_OF_PAGE};
pub use web_sessions::SessionsEnded;
pub use wire_events::KeptEvents;

/// The controller's state. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// As [`Store::open_at`], for an address without a password.
    ///
    /// # Errors
    /// As there.
    pub async fn open(address: &str) -> Result<Self, StoreError> {
        Self::open_at(&Address::parse(address)?).await
    }

    /// Opens the database at `address` (see [`Address::parse`]), makes it if it is a file that is not
    /// there, and brings its schema up to date. A new file is readable for its owner only; on a
    /// PostgreSQL server the database must be there, and its user must own it.
    ///
    /// This is for commands: they work beside a running controller.
    ///
    /// # Errors
    /// Each variant of [`StoreError`] says what to do.
    pub async fn open_at(address: &Address) -> Result<Self, StoreError> {
        Self::open_as(address, Opener::Command).await
    }

    /// As [`Store::open_at`], for the controller itself: there is one at a time.
    ///
    /// # Errors
    /// [`StoreError::SecondController`] if another one goes on working with this database;
    /// [`StoreError::NotDurable`] if a server may lose what it confirms.
    pub async fn open_for_controller(address: &Address) -> Result<Self, StoreError> {
        Self::open_as(address, Opener::Controller).await
    }

    async fn open_as(address: &Address, opener: Opener) -> Result<Self, StoreError> {
        Ok(Self {
            database: Arc::new(Database::open(address, opener).await?),
        })
    }

    /// Resolves when another controller has worked with the database while this one's connection was
    /// lost. What this one remembers is stale then, and it refuses to write: end the process.
    pub async fn superseded(&self) {
        match self.database.superseded() {
            Some(mut superseded) => {
                if superseded.wait_for(|is| *is).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for running transactions and closes all connections.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
