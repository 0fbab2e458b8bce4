//! People who sign in, and their browser sessions.

use serde::{Deserialize, Serialize};

/// What a user may do. One role until scopes and the separated duties come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Administrator,
}

impl Role {
    /// `administrator`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
        }
    }

    /// The role that [`Role::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        (word == Self::Administrator.word()).then_some(Self::Administrator)
    }
}

/// Someone who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: i64,
    /// Name to sign in with.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Password digest in PHC form; the store never sees the password.
    pub password_hash: String,
    /// When the account was made, Unix milliseconds.
    pub created_ms: i64,
    /// When the password was last set, Unix milliseconds.
    pub password_changed_ms: i64,
}

/// A browser session. Only the digest of its identifier is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSession {
    /// Hex digest of the identifier that the browser holds.
    pub id_hash: String,
    /// Whose.
    pub user: i64,
    /// When it began, Unix milliseconds.
    pub created_ms: i64,
    /// When it was last used, Unix milliseconds.
    pub last_used_ms: i64,
    /// When it ends at the latest, Unix milliseconds.
    pub expires_ms: i64,
}
