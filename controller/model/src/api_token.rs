//! Tokens of programs: what a Grafana or a Prometheus of somebody else presents instead of a
//! person's session.

use crate::{Grant, Grants, Role, SiteId, SiteTree};

/// What a program may do with its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiRight {
    /// Ask PromQL: a Grafana data source, promtool.
    ReadMetrics,
    /// Send samples by remote write: another Prometheus, vmagent, categraf.
    WriteMetrics,
    /// Use the interface for the account that made it, under one of its roles: a script.
    UseApi,
}

impl ApiRight {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ReadMetrics, Self::WriteMetrics, Self::UseApi];

    /// Stable word: stored, shown by commands and taken by them.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ReadMetrics => "read-metrics",
            Self::WriteMetrics => "write-metrics",
            Self::UseApi => "use-api",
        }
    }

    /// The right that [`Self::word`] names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.word() == word)
    }
}

/// For whom a token acts that uses the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnBehalf {
    /// The number of the account that made it.
    pub user: i64,
    /// The one of its roles that the token acts under, at the token's site and below it.
    pub role: Role,
}

/// A program's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Number; for a token that writes also the number of the source that its samples belong to.
    pub id: i64,
    /// What a person called it.
    pub name: String,
    /// What it may do.
    pub right: ApiRight,
    /// The site whose subtree it sees, or that its samples belong to; `None` is the whole province.
    pub site: Option<SiteId>,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
    /// Who made it, as [`crate::Actor`] displays.
    pub created_by: String,
    /// When it ends, Unix milliseconds.
    pub expires_ms: i64,
    /// When it was withdrawn, Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// When a program last came with it, Unix milliseconds, to the minute; `None` if none ever did.
    pub last_used_ms: Option<i64>,
    /// From which address; empty if none ever did.
    pub last_used_from: String,
    /// Of a token that uses the interface: for whom.
    pub on_behalf: Option<OnBehalf>,
}

impl ApiToken {
    /// Whether it is accepted at `now_ms`.
    #[must_use]
    pub fn is_valid(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && now_ms < self.expires_ms
    }

    /// What has become of it: `valid`, `expired`, `revoked`, or `void` while the account that it acts for does
    /// not hold its role there. `held` is what that account holds, if it is there.
    #[must_use]
    pub fn state(&self, now_ms: i64, held: Option<&Grants>, tree: &SiteTree) -> &'static str {
        let is_held = |grant| held.is_some_and(|held| held.cover(grant, tree));
        match self.revoked_ms {
            Some(_) => "revoked",
            None if !self.is_valid(now_ms) => "expired",
            None if self.grant().is_none_or(is_held) => "valid",
            None => "void",
        }
    }

    /// The role that it acts under, with its place.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        let site = self.site;
        self.on_behalf
            .map(|OnBehalf { role, .. }| Grant { role, site })
    }
}
