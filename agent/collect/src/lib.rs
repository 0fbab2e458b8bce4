//! Placeholder.

pub mod security;
