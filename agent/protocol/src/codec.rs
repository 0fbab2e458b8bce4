//! Delta frames. (Being written.)
pub mod varint;
