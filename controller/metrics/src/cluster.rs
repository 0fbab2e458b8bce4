//! A Prometheus-compatible cluster beside the embedded engine: samples are sent on to it, and queries
//! answered from it.
//!
//! Both are configuration only. Agents, acknowledgements and alert rules know the embedded engine
//! alone, so a cluster that is away delays what people see in it and nothing else. What is promised,
//! and what is lost when: docs/adr/014.
//!
//! ```text
//! series log → sender: tail → body → deliver → link → remote write 1.0
//!                 └ place (durable)
//! query → ask: scope → PromQL over HTTP → answer
//! ```

mod answer;
mod ask;
mod body;
mod deliver;
mod link;
mod marks;
mod place;
mod scope;
mod search;
mod sender;
mod status;
mod target;

pub use ask::{Ask, AskSettings};
pub(crate) use ask::{Form, scoped_selections};
pub(crate) use scope::query as scoped_query;
pub use sender::{FreshDirectory, Refreshed, Sender, SenderSettings};
pub use status::{Ended, Refusals, Standing, Status};
pub use target::{Auth, Target, TargetError, TlsSettings};
