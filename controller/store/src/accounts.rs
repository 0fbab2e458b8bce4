//! Accounts with their roles, and changes of them.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use xiezhi_model::{
    Account, AccountChange, AuditEntry, Grant, GrantRefusal, Grants, Needs, NotIndependent, Role,
    SiteId, Tie,
};

use crate::api_tokens::revoke_of;
use crate::row::{self, Write};
use crate::sites::must_be_in_use;
use crate::users::{self, end_sessions, set_hash};
use crate::{Store, StoreError, audit, authority};

/// Why an account could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The roles exclude one another.
    #[error(transparent)]
    Grants(#[from] GrantRefusal),
    /// The two people may not act together.
    #[error(transparent)]
    NotIndependent(#[from] NotIndependent),
    /// Nobody would be left.
    #[error(
        "this is the last account that is {}: give another one the role first",
        .0.word()
    )]
    Last(Role),
    /// The account holds, or lacks, the role already.
    #[error("the account is so already")]
    AlreadySo,
    /// Since it was looked at, the account came to hold what takes two people.
    #[error("the account has other roles now, and this takes two people: look at it again")]
    TakesTwo,
    /// Two people are there who could do it.
    #[error(
        "{first} can ask for this and {second} consent, on the page of accounts: let them; name with \
         --absent who is out of reach"
    )]
    TwoCan {
        /// Who could ask.
        first: String,
        /// Who could consent.
        second: String,
    },
    /// Who is said to be out of reach was there a few days ago.
    #[error("{0} signed in within the last seven days and is not taken for absent")]
    NotAway(String),
    /// Who is said to be out of reach was made what they are a few days ago: nobody can know that they stay
    /// away.
    #[error(
        "{0} was made, given a role, a password or its account back within the last seven days and is not \
         taken for absent before they are over"
    )]
    TooNew(String),
    /// One person may do it.
    #[error("this does not take two people: do it without breaking the glass")]
    TakesOne,
    /// Who asked is disabled, or lost the right to ask.
    #[error("who asked for this may not ask for it any more: refuse it, or ask anew")]
    AskerGone,
    /// Who consents lost the right to.
    #[error("this account may not consent to it any more")]
    MayNot,
    /// The same person asked for the same before and was refused twice.
    #[error("this was refused to you twice within a week: another administrator may ask for it")]
    RefusedTwice,
    /// The act was decided, or its time is over.
    #[error("this act waits for nobody any more: ask anew")]
    Over,
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// All accounts with their roles, by number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql = "SELECT user_id, role, site_id FROM grants";
        let rows = sqlx::query(sql).fetch_all(self.database.read()).await?;
        let mut grants: BTreeMap<i64, Vec<Grant>> = BTreeMap::new();
        for row in &rows {
            let user = row::number(row, "user_id")?;
            grants.entry(user).or_default().push(grant_from(row)?);
        }
        let accounts = self.users().await?.into_iter().map(|user| Account {
            grants: grants.remove(&user.id).into_iter().flatten().collect(),
            user,
        });
        Ok(accounts.collect())
    }

    /// One account with its roles.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn account(&self, id: i64) -> Result<Option<Account>, StoreError> {
        let Some(user) = self.user(id).await? else {
            return Ok(None);
        };
        let grants = self.grants(id).await?;
        Ok(Some(Account { user, grants }))
    }

    /// What an account holds.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn grants(&self, user: i64) -> Result<Grants, StoreError> {
        let sql = "SELECT role, site_id FROM grants WHERE user_id = $1";
        let query = sqlx::query(sql).bind(user);
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(grant_from).collect()
    }

    /// Changes an account at once; `by` is who does it, `None` for the console. What takes two people by
    /// the roles that the account holds now is refused to one. `password_hash` is the
    /// password for one use, where the change brings one.
    ///
    /// # Errors
    /// [`AccountError`] names the rule that the account would break.
    pub async fn change_account(
        &self,
        user: i64,
        change: AccountChange,
        by: Option<i64>,
        password_hash: Option<&str>,
        mut audit: AuditEntry,
    ) -> Result<Account, AccountError> {
        let mut write = self.database.write().await?;
        let held = grants_of(&mut write, user).await?;
        if by.is_some() && matches!(change.needs(&held), Needs::Two { .. }) {
            return Err(AccountError::TakesTwo);
        }
        let by: Vec<i64> = by.into_iter().collect();
        let account = apply(&mut write, user, change, &by, password_hash, &mut audit).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(account)
    }
}

/// Applies a change within a transaction; those who did it are tied to the account from now on. The entry
/// tells how many programs' tokens it ended.
pub(crate) async fn apply(
    write: &mut Write,
    id: i64,
    change: AccountChange,
    by: &[i64],
    password_hash: Option<&str>,
    audit: &mut AuditEntry,
) -> Result<Account, AccountError> {
    let user = users::find(write, id).await?;
    let held = grants_of(write, id).await?;
    let wanted = change.apply(held.clone());
    wanted.check()?;
    let same = match change {
        AccountChange::Grant(_) | AccountChange::Withdraw(_) => wanted == held,
        AccountChange::Disable => user.disabled_ms.is_some(),
        AccountChange::Enable => user.disabled_ms.is_none(),
        AccountChange::ResetPassword | AccountChange::ResetSecondFactor => false,
    };
    if same {
        return Err(AccountError::AlreadySo);
    }
    if user.disabled_ms.is_none() {
        keep_one(write, id, change, &held).await?;
    }
    match change {
        AccountChange::Grant(grant) => {
            if change.gives_trust() {
                crate::second_factor::forget(write, id).await?;
            }
            insert_grant(write, id, grant, audit).await?;
        }
        AccountChange::Withdraw(grant) => delete_grant(write, id, grant).await?,
        AccountChange::Disable => set_disabled(write, id, Some(audit.time_ms)).await?,
        AccountChange::Enable => {
            // A disabled account keeps no site from being retired.
            let roles = held.iter().filter_map(|grant| grant.site);
            for site in roles.chain(user.home) {
                must_be_in_use(write, site).await?;
            }
            set_disabled(write, id, None).await?;
        }
        AccountChange::ResetSecondFactor => crate::second_factor::forget(write, id).await?,
        AccountChange::ResetPassword => {}
    }
    if change.hands_password() {
        let hash = password_hash.ok_or_else(|| {
            StoreError::Impossible("a change that needs a password, without one".to_owned())
        })?;
        set_hash(write, id, hash, true, audit.time_ms).await?;
    }
    // What the account could do a moment ago must not go on in a session that is open.
    end_sessions(write, id).await?;
    match change {
        AccountChange::Grant(_) if !change.gives_trust() => {}
        AccountChange::Withdraw(gone) => {
            revoke_of(write, id, Some(gone.role), audit).await?;
        }
        _ => revoke_of(write, id, None, audit).await?,
    }
    authority::count(write).await?;
    for &one in by {
        insert_tie(write, id, one, audit.time_ms).await?;
    }
    Ok(Account {
        user: users::find(write, id).await?,
        grants: wanted,
    })
}

/// Refuses to take away the last account that may manage accounts, or grant the security roles, in the
/// whole province: nobody could give it back.
async fn keep_one(
    write: &mut Write,
    id: i64,
    change: AccountChange,
    held: &Grants,
) -> Result<(), AccountError> {
    for role in [Role::ProvinceAdministrator, Role::SecurityAdministrator] {
        let grant = Grant::province(role);
        let goes = match change {
            AccountChange::Withdraw(gone) => gone == grant,
            AccountChange::Disable => held.holds(grant),
            _ => false,
        };
        if goes && count_others(write, id, grant).await? == 0 {
            return Err(AccountError::Last(role));
        }
    }
    Ok(())
}

async fn count_others(write: &mut Write, id: i64, grant: Grant) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) AS count FROM grants g JOIN users u ON u.id = g.user_id \
               WHERE g.role = $1 AND g.site_id = $2 AND g.user_id <> $3 AND u.disabled_ms IS NULL";
    let query = sqlx::query(sql)
        .bind(grant.role.word())
        .bind(stored_site(grant.site))
        .bind(id);
    row::number(&query.fetch_one(&mut **write).await?, "count")
}

pub(crate) async fn grants_of(write: &mut Write, user: i64) -> Result<Grants, StoreError> {
    let sql = "SELECT role, site_id FROM grants WHERE user_id = $1";
    let rows = sqlx::query(sql).bind(user).fetch_all(&mut **write).await?;
    rows.iter().map(grant_from).collect()
}

pub(crate) async fn insert_grants(
    write: &mut Write,
    user: i64,
    grants: &Grants,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    for grant in grants.iter() {
        insert_grant(write, user, *grant, audit).await?;
    }
    Ok(())
}

async fn insert_grant(
    write: &mut Write,
    user: i64,
    grant: Grant,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    if let Some(site) = grant.site {
        must_be_in_use(write, site).await?;
    }
    let sql = "INSERT INTO grants (user_id, role, site_id, granted_ms, granted_by) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id, role, site_id) DO NOTHING";
    sqlx::query(sql)
        .bind(user)
        .bind(grant.role.word())
        .bind(stored_site(grant.site))
        .bind(audit.time_ms)
        .bind(row::storable(&audit.actor.to_string()))
        .execute(&mut **write)
        .await?;
    Ok(())
}

async fn delete_grant(write: &mut Write, user: i64, grant: Grant) -> Result<(), StoreError> {
    let sql = "DELETE FROM grants WHERE user_id = $1 AND role = $2 AND site_id = $3";
    sqlx::query(sql)
        .bind(user)
        .bind(grant.role.word())
        .bind(stored_site(grant.site))
        .execute(&mut **write)
        .await?;
    Ok(())
}

async fn set_disabled(write: &mut Write, user: i64, at_ms: Option<i64>) -> Result<(), StoreError> {
    let sql = "UPDATE users SET disabled_ms = $2 WHERE id = $1";
    let query = sqlx::query(sql).bind(user).bind(at_ms);
    query.execute(&mut **write).await?;
    Ok(())
}

/// Notes that `by` made `user` what it is; of several times the last counts.
pub(crate) async fn insert_tie(
    write: &mut Write,
    user: i64,
    by: i64,
    time_ms: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO account_ties (user_id, by_user_id, time_ms) VALUES ($1, $2, $3) \
               ON CONFLICT (user_id, by_user_id) DO UPDATE SET time_ms = excluded.time_ms";
    let query = sqlx::query(sql).bind(user).bind(by).bind(time_ms);
    query.execute(&mut **write).await?;
    Ok(())
}

/// The ties between two accounts.
pub(crate) async fn ties_between(
    write: &mut Write,
    one: i64,
    other: i64,
) -> Result<Vec<Tie>, StoreError> {
    let sql = "SELECT user_id, by_user_id, time_ms FROM account_ties \
               WHERE (user_id = $1 AND by_user_id = $2) OR (user_id = $2 AND by_user_id = $1)";
    let query = sqlx::query(sql).bind(one).bind(other);
    let rows = query.fetch_all(&mut **write).await?;
    rows.iter().map(tie_from).collect()
}

/// The ties between all accounts.
pub(crate) async fn all_ties(write: &mut Write) -> Result<Vec<Tie>, StoreError> {
    let query = sqlx::query("SELECT user_id, by_user_id, time_ms FROM account_ties");
    let rows = query.fetch_all(&mut **write).await?;
    rows.iter().map(tie_from).collect()
}

fn tie_from(row: &AnyRow) -> Result<Tie, StoreError> {
    Ok(Tie {
        user: row::number(row, "user_id")?,
        by: row::number(row, "by_user_id")?,
        time_ms: row::number(row, "time_ms")?,
    })
}

/// The province has no number; sites begin at 1.
pub(crate) fn stored_site(site: Option<SiteId>) -> i64 {
    site.map_or(0, |site| site.0)
}

pub(crate) fn grant_from(row: &AnyRow) -> Result<Grant, StoreError> {
    let role = row::text(row, "role")?;
    let impossible = || StoreError::Impossible(format!("role {role:?}"));
    let site = row::number(row, "site_id")?;
    Ok(Grant {
        role: Role::from_word(&role).ok_or_else(impossible)?,
        site: (site != 0).then_some(SiteId(site)),
    })
}
