//! Real agents and controllers as processes, for tests.
//!
//! Each lives in its own temporary folder, listens on ports that the system chose, and ends with the
//! value that stands for it. Waiting is always for a condition, with a deadline.

#![expect(
    clippy::indexing_slicing,
    reason = "only JSON values are indexed, which yields null and never panics"
)]

mod agent;
mod api;
mod controller;
mod process;
mod wait;

pub use agent::TestAgent;
pub use api::Api;
pub use controller::TestController;
pub use process::{Running, program};
pub use wait::{eventually, eventually_within};
