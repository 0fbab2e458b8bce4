//! The interface as a whole, over a real database, real samples and a real agent port.

mod bench;
mod closed;
mod lists;
mod live;
mod port;
mod prometheus;
mod signing_in;
mod writes;
