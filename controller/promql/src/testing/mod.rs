//! A storage in memory and the interpreter of Prometheus's test language, for tests and benchmarks.
//!
//! The language is that of Prometheus's `promqltest`: `load`, `clear`, `eval instant`, `eval range`
//! and `expect`. Another engine's storage takes part by implementing [`Backend`]. Like the original,
//! every instant case is also evaluated as a range, and with its time fixed by `@` at other times.
//!
//! Native histograms are not stored: a case that would read one, or expects one, *waits*, and is
//! counted and named.

mod check;
mod command;
mod memory;
mod notation;
mod run;
mod variant;
mod watch;

pub use memory::MemoryStorage;
pub use run::{Backend, Case, Outcome, Report, ScriptError, run_script};
