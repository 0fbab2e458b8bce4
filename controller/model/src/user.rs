//! People who sign in, and their browser sessions.

use crate::{Grants, Scope, SiteId};

/// Someone who may sign in. What they may do are their [`crate::Grants`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: i64,
    /// Name to sign in with.
    pub name: String,
    /// Name for people; empty where nobody gave one.
    pub display_name: String,
    /// Where the account belongs, which says who may manage it; `None` is the province.
    pub home: Option<SiteId>,
    /// Password digest in PHC form; the store never sees the password.
    pub password_hash: String,
    /// Whether the password was given by somebody else: then it is for setting an own one only.
    pub password_once: bool,
    /// When the account was made, Unix milliseconds.
    pub created_ms: i64,
    /// When the password was last set, Unix milliseconds.
    pub password_changed_ms: i64,
    /// Since when it cannot sign in, Unix milliseconds.
    pub disabled_ms: Option<i64>,
}

/// Hours for which a password that somebody else gave is good.
pub const PASSWORD_ONCE_HOURS: i64 = 72;

/// Most characters of an account's name.
pub const LONGEST_ACCOUNT_NAME: usize = 64;

/// An account's name without the blanks around it; `None` if it cannot be one. Names are typed on
/// unknown keyboards and stand in logs: no blanks, no signs that are not seen.
#[must_use]
pub fn account_name(text: &str) -> Option<&str> {
    let text = text.trim();
    let plain = |sign: char| sign.is_alphanumeric() || matches!(sign, '.' | '-' | '_' | '@');
    let fits = (1..=LONGEST_ACCOUNT_NAME).contains(&text.chars().count());
    (fits && text.chars().all(plain)).then_some(text)
}

impl User {
    /// Whether it may sign in at `now_ms`, given the right password.
    #[must_use]
    pub fn may_sign_in(&self, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(self.password_changed_ms);
        let is_stale = self.password_once && age_ms > PASSWORD_ONCE_HOURS * 3_600_000;
        self.disabled_ms.is_none() && !is_stale
    }
}

/// An account with what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub user: User,
    /// What it may do.
    pub grants: Grants,
}

impl Account {
    /// Whether it belongs to this part of the organisation with everything that it holds.
    ///
    /// Only then may somebody of that part manage it: else the administrator of one court would reset
    /// the password of somebody who also serves another.
    #[must_use]
    pub fn is_within(&self, scope: &Scope) -> bool {
        let grants = self.grants.iter().map(|grant| grant.site);
        let mut places = std::iter::once(self.user.home).chain(grants);
        places.all(|site| scope.covers(site))
    }
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
    /// Address that it began from; empty if it began before addresses were kept.
    pub address: String,
    /// What the browser calls itself; empty likewise.
    pub browser: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_given_by_somebody_else_is_good_for_three_days() {
        let mut user = User {
            id: 1,
            name: "wang".into(),
            display_name: String::new(),
            home: None,
            password_hash: String::new(),
            password_once: true,
            created_ms: 0,
            password_changed_ms: 0,
            disabled_ms: None,
        };
        let end_ms = PASSWORD_ONCE_HOURS * 3_600_000;
        assert!(user.may_sign_in(end_ms));
        assert!(!user.may_sign_in(end_ms + 1));
        user.password_once = false;
        assert!(user.may_sign_in(end_ms + 1));
        user.disabled_ms = Some(5);
        assert!(!user.may_sign_in(6));
    }
}
