//! Live updates: one task turns what changed in the fleet into numbered sets; each open page gets
//! the sets that concern it.

mod footprint;
mod hub;

pub(crate) use hub::{Changes, Hub, LiveRow, Subscription};
