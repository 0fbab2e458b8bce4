//! What a person, a host or the controller itself did that someone may ask about later.

use std::collections::BTreeMap;
use std::fmt;

use crate::HostId;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The controller by itself.
    System,
    /// Someone with a shell on the controller's machine.
    Console,
    /// A signed-in user, by name.
    User(String),
    /// A host's agent.
    Host(HostId),
    /// Someone not yet known, by network address.
    Address(String),
}

/// `system`, `console`, `user:NAME`, `host:ID` or `address:ADDRESS`; the form that is stored.
impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => formatter.write_str("system"),
            Self::Console => formatter.write_str("console"),
            Self::User(name) => write!(formatter, "user:{name}"),
            Self::Host(id) => write!(formatter, "host:{id}"),
            Self::Address(address) => write!(formatter, "address:{address}"),
        }
    }
}

/// One act, before it is chained and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, by the controller's clock, Unix milliseconds.
    pub time_ms: i64,
    /// Who.
    pub actor: Actor,
    /// What, as a stable word with dots: `host.enrolled`, `token.created`, `user.signed_in`.
    pub action: String,
    /// On what: `host:12`, `site:gs-01`, `token:0a1b…`; empty if on nothing in particular.
    pub subject: String,
    /// Particulars by name; never secrets.
    pub detail: BTreeMap<String, String>,
}

impl AuditEntry {
    /// An entry without particulars.
    #[must_use]
    pub fn new(time_ms: i64, actor: Actor, action: &str, subject: impl Into<String>) -> Self {
        let (action, subject) = (action.to_owned(), subject.into());
        Self {
            time_ms,
            actor,
            action,
            subject,
            detail: BTreeMap::new(),
        }
    }

    /// The same entry with one more particular.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// An entry as it stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Position in the chain, from 1 without holes.
    pub position: i64,
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Who, as [`Actor`] displays.
    pub actor: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
    /// Particulars by name.
    pub detail: BTreeMap<String, String>,
    /// Hex digest over this entry and the digest before it.
    pub hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_written_the_way_they_are_stored() {
        let cases = [
            (Actor::System, "system"),
            (Actor::Console, "console"),
            (Actor::User("王芳".into()), "user:王芳"),
            (Actor::Host(HostId(7)), "host:7"),
            (Actor::Address("10.0.0.1".into()), "address:10.0.0.1"),
        ];
        for (actor, text) in cases {
            assert_eq!(actor.to_string(), text);
        }
    }
}
