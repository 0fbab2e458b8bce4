//! What may be done to an account, and by how many people.
//!
//! Whoever grants roles could grant themselves everything, one account at a time. So a change that
//! touches the security or the audit duty is a two-person act: one asks, another consents, and
//! neither of the two may have made the other in the last [`TIE_DAYS`] days.

use crate::SiteTree;
use crate::grant::{Grant, Grants};
use crate::role::{Duty, Permission};
use crate::user::Account;

/// Days for which having created, reset or re-roled an account ties two people together.
pub const TIE_DAYS: i64 = 30;

/// Days for which a two-person act waits for consent.
pub const ACT_DAYS: i64 = 7;

const DAY_MS: i64 = 86_400_000;

/// One change of an account that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountChange {
    /// Give it a role.
    Grant(Grant),
    /// Take a role from it.
    Withdraw(Grant),
    /// A password for one use instead of its own; its second factor stays.
    ResetPassword,
    /// Forget its second factor: a phone was lost.
    ResetSecondFactor,
    /// It can no longer sign in.
    Disable,
    /// It can sign in again.
    Enable,
}

impl AccountChange {
    /// Stable word: stored, and taken by the interface.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Grant(_) => "grant",
            Self::Withdraw(_) => "withdraw",
            Self::ResetPassword => "reset_password",
            Self::ResetSecondFactor => "reset_second_factor",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }

    /// What an [`AuditEntry`](crate::AuditEntry) calls it.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Grant(_) => "user.grant",
            Self::Withdraw(_) => "user.withdraw",
            Self::ResetPassword => "user.reset_password",
            Self::ResetSecondFactor => "user.reset_second_factor",
            Self::Disable => "user.disable",
            Self::Enable => "user.enable",
        }
    }

    /// The change that [`AccountChange::word`] writes so, with the role that it is about.
    #[must_use]
    pub fn from_word(word: &str, grant: Option<Grant>) -> Option<Self> {
        match (word, grant) {
            ("grant", Some(grant)) => Some(Self::Grant(grant)),
            ("withdraw", Some(grant)) => Some(Self::Withdraw(grant)),
            ("reset_password", None) => Some(Self::ResetPassword),
            ("reset_second_factor", None) => Some(Self::ResetSecondFactor),
            ("disable", None) => Some(Self::Disable),
            ("enable", None) => Some(Self::Enable),
            _ => None,
        }
    }

    /// The role that it is about.
    #[must_use]
    pub const fn grant(self) -> Option<Grant> {
        match self {
            Self::Grant(grant) | Self::Withdraw(grant) => Some(grant),
            _ => None,
        }
    }

    /// Whether it gives a role of the security or the audit duty. What others set or may know of the
    /// account is void then: its password, its sessions, its second factor.
    #[must_use]
    pub fn gives_trust(self) -> bool {
        let given = matches!(self, Self::Grant(_))
            .then(|| self.grant())
            .flatten();
        let duty = given.and_then(|grant| grant.role.duty());
        matches!(duty, Some(Duty::Security | Duty::Audit))
    }

    /// Whether a new password for one use goes with it.
    #[must_use]
    pub fn hands_password(self) -> bool {
        self == Self::ResetPassword || self.gives_trust()
    }

    /// How the account's roles are afterwards.
    #[must_use]
    pub fn apply(self, to: Grants) -> Grants {
        match self {
            Self::Grant(grant) => to.with(grant),
            Self::Withdraw(grant) => to.without(grant),
            _ => to,
        }
    }

    /// Who must be there for it, given the roles that the account holds.
    #[must_use]
    pub fn needs(self, held: &Grants) -> Needs {
        let mut duties = held.duties();
        duties.extend(self.grant().and_then(|grant| grant.role.duty()));
        if duties.contains(&Duty::Security) {
            return Needs::Two {
                ask: Permission::GrantSecurity,
                consent: Permission::GrantSecurity,
            };
        }
        if duties.contains(&Duty::Audit) {
            return Needs::Two {
                ask: Permission::ManageAccounts,
                consent: Permission::GrantSecurity,
            };
        }
        Needs::One(Permission::ManageAccounts)
    }
}

/// How many people a change needs, and what each must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// It is done at once.
    One(Permission),
    /// One asks, another consents.
    Two {
        /// What the first must be allowed.
        ask: Permission,
        /// What the second must be allowed.
        consent: Permission,
    },
}

impl Needs {
    /// What who begins must be allowed.
    #[must_use]
    pub const fn ask(self) -> Permission {
        match self {
            Self::One(permission)
            | Self::Two {
                ask: permission, ..
            } => permission,
        }
    }
}

/// That one account made another what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    /// Who was created, reset or re-roled.
    pub user: i64,
    /// By whom.
    pub by: i64,
    /// When, Unix milliseconds.
    pub time_ms: i64,
}

/// Why two people cannot act together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotIndependent {
    /// The same account.
    #[error("the second person must be another than the first")]
    Same,
    /// One of them is the one that it is about.
    #[error("nobody takes part in an act on their own account")]
    Concerned,
    /// They are tied.
    #[error(
        "one of these two accounts was created, reset or given roles by the other within \
         {TIE_DAYS} days: another person must consent"
    )]
    Tied,
}

/// Whether `first` and `second` may act together on `subject` at `now_ms`.
///
/// # Errors
/// Says which rule stands against it.
pub fn independent(
    first: i64,
    second: i64,
    subject: i64,
    ties: &[Tie],
    now_ms: i64,
) -> Result<(), NotIndependent> {
    if first == second {
        return Err(NotIndependent::Same);
    }
    if first == subject || second == subject {
        return Err(NotIndependent::Concerned);
    }
    let since_ms = now_ms.saturating_sub(TIE_DAYS.saturating_mul(DAY_MS));
    let tied = ties.iter().any(|tie| {
        let between =
            (tie.user, tie.by) == (first, second) || (tie.user, tie.by) == (second, first);
        between && tie.time_ms > since_ms
    });
    if tied {
        return Err(NotIndependent::Tied);
    }
    Ok(())
}

/// Whether `by` may have this part in a change of `subject`: is there, and reaches by this permission the
/// account with all that it holds, and what it would be given.
#[must_use]
pub fn reaches(
    by: &Account,
    permission: Permission,
    change: AccountChange,
    subject: &Account,
    tree: &SiteTree,
) -> bool {
    let scope = by.grants.scope(permission, tree);
    by.user.disabled_ms.is_none()
        && scope.is_some_and(|scope| {
            let given = change.grant().is_none_or(|grant| scope.covers(grant.site));
            given && subject.is_within(&scope)
        })
}

/// Two people who could do this change together at `now_ms`, one asking and one consenting.
#[must_use]
pub fn pair_for<'a>(
    change: AccountChange,
    subject: &Account,
    people: &'a [Account],
    ties: &[Tie],
    tree: &SiteTree,
    now_ms: i64,
) -> Option<(&'a Account, &'a Account)> {
    let Needs::Two { ask, consent } = change.needs(&subject.grants) else {
        return None;
    };
    let those = |permission| {
        let reach = move |one: &&Account| reaches(one, permission, change, subject, tree);
        people.iter().filter(reach)
    };
    let both = those(ask).flat_map(|first| those(consent).map(move |second| (first, second)));
    let mut both = both.filter(|(first, second)| {
        let ids = (first.user.id, second.user.id);
        independent(ids.0, ids.1, subject.user.id, ties, now_ms).is_ok()
    });
    both.next()
}

/// A two-person act that waits for the second person, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Its number.
    pub id: i64,
    /// The account that it changes.
    pub user: i64,
    /// What it changes.
    pub change: AccountChange,
    /// Why, in the first person's words.
    pub reason: String,
    /// Who asked.
    pub asked_by: i64,
    /// When, Unix milliseconds.
    pub asked_ms: i64,
    /// Until when somebody may consent, Unix milliseconds.
    pub expires_ms: i64,
    /// How it stands.
    pub state: ActState,
    /// Who consented, refused or withdrew it.
    pub decided_by: Option<i64>,
    /// When, Unix milliseconds.
    pub decided_ms: Option<i64>,
}

/// How a two-person act stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActState {
    /// Waits for the second person.
    Pending,
    /// Consented to and done.
    Done,
    /// The second person refused.
    Refused,
    /// The first person took it back.
    Withdrawn,
}

impl ActState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Done, Self::Refused, Self::Withdrawn];

    /// Stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state that [`ActState::word`] writes so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, SiteId};

    const DAY: i64 = DAY_MS;

    #[test]
    fn what_touches_security_or_audit_needs_two() {
        let security = Grants::default().with(Grant::province(Role::SecurityOfficer));
        let audit = Grants::default().with(Grant::province(Role::AuditAdministrator));
        let system = Grants::default().with(Grant::at(Role::Technician, SiteId(1)));
        let two = Needs::Two {
            ask: Permission::GrantSecurity,
            consent: Permission::GrantSecurity,
        };
        let one = Needs::One(Permission::ManageAccounts);
        let grant = |role| AccountChange::Grant(Grant::province(role));
        assert_eq!(grant(Role::SecurityOfficer).needs(&Grants::default()), two);
        assert_eq!(grant(Role::ReadOnly).needs(&Grants::default()), one);
        assert_eq!(grant(Role::ReadOnly).needs(&system), one);
        // Else a system administrator would take a security account over by its password.
        for change in [
            AccountChange::ResetPassword,
            AccountChange::ResetSecondFactor,
            AccountChange::Disable,
            AccountChange::Enable,
            AccountChange::Withdraw(Grant::province(Role::SecurityOfficer)),
            grant(Role::ReadOnly),
        ] {
            assert_eq!(change.needs(&security), two, "{change:?}");
            assert!(matches!(change.needs(&audit), Needs::Two { .. }));
        }
        assert_eq!(AccountChange::ResetPassword.needs(&system), one);
    }

    #[test]
    fn a_role_of_trust_brings_a_new_password_and_other_changes_do_not() {
        let grant = |role| AccountChange::Grant(Grant::province(role));
        for (change, trust, password) in [
            (grant(Role::SecurityOfficer), true, true),
            (grant(Role::AuditAdministrator), true, true),
            (grant(Role::ProvinceAdministrator), false, false),
            (grant(Role::ReadOnly), false, false),
            (
                AccountChange::Withdraw(Grant::province(Role::SecurityOfficer)),
                false,
                false,
            ),
            (AccountChange::ResetPassword, false, true),
            (AccountChange::Enable, false, false),
        ] {
            let found = (change.gives_trust(), change.hands_password());
            assert_eq!(found, (trust, password), "{change:?}");
        }
    }

    #[test]
    fn words_lead_back_to_changes() {
        let grant = Grant::at(Role::Technician, SiteId(3));
        for change in [
            AccountChange::Grant(grant),
            AccountChange::Withdraw(grant),
            AccountChange::ResetPassword,
            AccountChange::ResetSecondFactor,
            AccountChange::Disable,
            AccountChange::Enable,
        ] {
            assert_eq!(
                AccountChange::from_word(change.word(), change.grant()),
                Some(change)
            );
        }
        assert_eq!(AccountChange::from_word("grant", None), None);
        assert_eq!(AccountChange::from_word("disable", Some(grant)), None);
    }

    #[test]
    fn who_made_the_other_within_thirty_days_does_not_act_with_them() {
        let tie = Tie {
            user: 2,
            by: 1,
            time_ms: 0,
        };
        let check = |first, second, now_ms| independent(first, second, 9, &[tie], now_ms);
        assert_eq!(check(1, 2, 29 * DAY), Err(NotIndependent::Tied));
        assert_eq!(check(2, 1, 29 * DAY), Err(NotIndependent::Tied));
        assert_eq!(check(1, 2, 30 * DAY), Ok(()));
        assert_eq!(check(1, 3, 0), Ok(()));
        assert_eq!(check(3, 3, 0), Err(NotIndependent::Same));
        assert_eq!(check(9, 3, 0), Err(NotIndependent::Concerned));
        assert_eq!(check(3, 9, 0), Err(NotIndependent::Concerned));
    }
}
