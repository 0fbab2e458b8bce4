//! The store against a real database: a temporary SQLite file, or PostgreSQL where
//! `XIEZHI_TEST_POSTGRES` names a server (build with `--features postgres`). Every test gets a
//! database, or a schema, of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail like tests"
)]

mod api_tokens;
mod audit;
mod enrolment;
mod events;
mod evidence;
mod fleet;
mod holes;
mod opening;
mod people;
mod repeats;
mod support;
