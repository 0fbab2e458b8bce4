//! The store against a real database: a temporary SQLite file, and, all of it once more, a real
//! PostgreSQL server (see `server.rs`). Every test gets a database, or a schema, of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like tests"
)]

mod accounts;
mod api_tokens;
mod audit;
mod audit_search;
mod break_glass;
mod copy;
mod devices;
mod enrolment;
mod event_sight;
mod events;
mod events_kept;
mod evidence;
mod fleet;
mod holes;
mod named_requests;
mod opening;
mod people;
mod register;
mod repeats;
mod retired;
mod server;
mod sites;
mod support;
mod undo;
