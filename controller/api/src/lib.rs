//! The controller's HTTP interface for people and programs: sessions, resources, live updates and
//! the screens.
//!
//! One resource is one file below `resources/` and one or more lines in the list of `routes.rs`,
//! which says for each route who may call it; a test holds the list to its word. Every answer that
//! is not a success is problem+json (RFC 9457) with a `code` that programs and translations can
//! rely on.
//!
//! What holds everywhere:
//! - **Nothing is open but signing in, the screens' files, `/healthz` and `/readyz`.** `/metrics` is
//!   open to programs on this machine, but not to what a proxy on it passes on (its headers tell).
//! - **What a caller sees is decided once**, by the guard, from the permission that the route names;
//!   handlers reach sites and hosts through a [`view`] of that scope, queries through the same one.
//! - **A write needs a header that no form or link can send** (`X-Xiezhi-Request: 1`), besides the
//!   `SameSite=Strict` cookie and the check of `Origin`.
//! - **Every body, page, query and wait is bounded**, and so is the number of sessions, browsers and
//!   password checks at one time.
//! - **An act is audited in the same transaction**, under the name of who is signed in.
//!
//! This crate holds no SQL, judges no presence and issues no certificate: it asks those who do.

mod answer;
mod assets;
mod attempts;
mod authority;
mod certificates;
mod connection;
mod connection_audit;
mod cookie;
mod directory;
mod extract;
mod files;
mod guard;
mod headers;
mod health;
mod leftover;
mod live;
mod login_codes;
mod once;
mod openapi;
mod pages;
mod peer;
mod places;
pub mod print;
mod problem;
mod program;
mod qr;
mod query_desk;
mod refusals;
mod refused;
mod resources;
mod routes;
mod rows;
mod second_factor;
mod serve;
mod session;
mod state;
mod token_desk;
mod turns;
mod uploads;
mod view;

#[cfg(test)]
mod tests;

pub use certificates::{Certificate, Certificates};
pub use connection_audit::ConnectionAudit;
pub use directory::OWN_HOST;
pub use peer::{PeerAddress, TrustedProxies};
pub use routes::router;
pub use serve::{ServeOptions, serve};
pub use state::{ApiOptions, AppState, Cluster, Enrolment, Parts};
