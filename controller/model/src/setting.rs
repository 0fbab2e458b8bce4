//! Values that rules and people decide, not programmers: dated, with their source.

/// One value of a setting. The newest whose `valid_from_ms` has come applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name: `security_retention_days`.
    pub key: String,
    /// Its value, as text.
    pub value: String,
    /// From when it applies, Unix milliseconds.
    pub valid_from_ms: i64,
    /// The rule or decision that it comes from.
    pub source: String,
}
