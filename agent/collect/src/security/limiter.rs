//! Bounds how many events of a kind a source may give per minute.

/// Most events of one kind that one source gives per minute; the rest is counted in one event.
pub const PER_MINUTE: u32 = 60;
