//! Schemas of words that other crates own, which know nothing of the interface.

use schemars::{Schema, SchemaGenerator, json_schema};
use xiezhi_model::{Presence, Severity};

/// The states of a host.
pub(crate) fn presence(_generator: &mut SchemaGenerator) -> Schema {
    let words = Presence::ALL.map(Presence::word);
    json_schema!({"type": "string", "enum": words})
}

/// How severe an event is.
pub(crate) fn severity(_generator: &mut SchemaGenerator) -> Schema {
    let words = Severity::ALL.map(Severity::word);
    json_schema!({"type": "string", "enum": words})
}
