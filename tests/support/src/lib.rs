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
mod cable;
mod clock;
mod controller;
mod lossy;
mod namespace;
mod postgres;
mod process;
mod random;
mod skip;
mod small_disk;
mod wait;

pub use agent::TestAgent;
pub use api::{Api, fetch};
pub use cable::{Cable, FAR, NEAR};
pub use clock::WrongClock;
pub use controller::TestController;
pub use lossy::{Carriage, Carried, Conditions, LossyLine, Way};
pub use namespace::{Inside, Namespace};
pub use postgres::{TestPostgres, schema_on};
pub use process::{Running, free_port, program};
pub use random::Random;
pub use skip::skip;
pub use small_disk::SmallDisk;
pub use wait::{eventually, eventually_within};
