//! Resources, one per file; `routes.rs` lists them.

pub(crate) mod acts;
pub(crate) mod api_tokens;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod bandwidth;
pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod fleet;
pub(crate) mod gaps;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod hosts;
pub(crate) mod live;
pub(crate) mod login;
pub(crate) mod me;
pub(crate) mod metrics;
pub(crate) mod overview;
pub(crate) mod prometheus;
pub(crate) mod register;
pub(crate) mod series;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod sites;
pub(crate) mod tokens;
pub(crate) mod users;
pub(crate) mod views;
