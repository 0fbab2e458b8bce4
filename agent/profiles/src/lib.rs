//! How to read a device: what its objects mean, written in YAML by people who write no code.
//!
//! A [`Profile`] says which objects of a family of devices mean what. The [`Library`] holds all of
//! them and recognises which one a device is of. A profile reads [`Answers`], which come from a poll
//! or from a recorded [`Walk`] alike, into a [`Reading`]: who made it, its ports, its values.
//!
//! Nothing here asks a device or reads a file: texts in, readings out.

mod answers;
mod hints;
pub mod learn;
mod library;
mod oid;
mod ports;
mod profile;
mod reading;
pub mod replay;
mod value;
mod walk;

pub use answers::Answers;
pub use hints::Hints;
pub use library::{File, GENERIC, Library, Probe};
pub use oid::{MAX_ARCS, NotAnOid, Oid};
pub use ports::{Count, Port};
pub use profile::*;
pub use reading::{LeftOut, Measured, Reading, Reason};
pub use value::{Number, Value};
pub use walk::{BadLine, Walk};
