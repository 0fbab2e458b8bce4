//! The interface as a whole, over a real database, real samples and a real agent port.

mod bench;
pub(crate) mod bodies;
mod budgets;
mod clients;
mod closed;
mod exports;
mod health;
mod hostile_queries;
mod interface;
mod isolation;
mod lists;
mod live;
mod long_exports;
mod matrix;
mod once;
mod openapi;
mod outage;
mod pages;
mod people;
mod port;
mod prometheus;
mod register;
mod remote_write;
mod signing_in;
mod sites;
mod uploads;
mod writes;
