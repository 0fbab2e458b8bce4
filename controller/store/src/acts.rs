//! Two-person acts: asked by one, consented to by another, done in the same transaction.

use sqlx::any::AnyRow;
use xiezhi_model::{
    ACT_DAYS, Account, AccountChange, Act, ActState, AuditEntry, Grant, Needs, Role, SiteId,
    SiteTree, independent, reaches,
};

use crate::accounts::{apply, grants_of, stored_site, ties_between};
use crate::row::{self, Write};
use crate::{AccountError, Older, Store, StoreError, audit, users};

const DAY_MS: i64 = 86_400_000;

/// Refusals of the same change to the same person within [`ACT_DAYS`]; after them it is not asked again.
const MOST_REFUSALS: i64 = 2;

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, user_id, change_kind, role, site_id, reason, asked_by, asked_ms, ",
            "expires_ms, state, decided_by, decided_ms FROM acts ",
            $tail
        )
    };
}

impl Store {
    /// Asks for a change of an account that needs a second person.
    ///
    /// # Errors
    /// [`AccountError::AlreadySo`] if the same change waits already; [`AccountError::Grants`] if the
    /// account could not hold the role; [`AccountError::RefusedTwice`] if the same asker was refused it twice
    /// within [`ACT_DAYS`].
    pub async fn ask_for_act(
        &self,
        user: i64,
        change: AccountChange,
        reason: &str,
        asked_by: i64,
        audit: AuditEntry,
    ) -> Result<Act, AccountError> {
        let mut write = self.database.write().await?;
        users::find(&mut write, user).await?;
        let held = grants_of(&mut write, user).await?;
        change.apply(held).check()?;
        let pending = listed(&mut write, audit.time_ms).await?;
        if pending
            .iter()
            .any(|act| (act.user, act.change) == (user, change))
        {
            return Err(AccountError::AlreadySo);
        }
        if refusals(&mut write, user, change, asked_by, audit.time_ms).await? >= MOST_REFUSALS {
            return Err(AccountError::RefusedTwice);
        }
        let act = Act {
            id: row::count_up(&mut write, "acts", 1).await?,
            user,
            change,
            reason: row::storable(reason),
            asked_by,
            asked_ms: audit.time_ms,
            expires_ms: audit
                .time_ms
                .saturating_add(ACT_DAYS.saturating_mul(DAY_MS)),
            state: ActState::Pending,
            decided_by: None,
            decided_ms: None,
        };
        insert(&mut write, &act).await?;
        audit::append(&mut write, &audit.with("act", act.id.to_string())).await?;
        write.commit().await?;
        Ok(act)
    }

    /// Acts, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn acts(&self, page: Older) -> Result<Vec<Act>, StoreError> {
        let sql = format!("{}{}", select!("WHERE 1 = 1"), page.sql("id"));
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
        let rows = query.fetch_all(self.database.read()).await?;
        rows.iter().map(act_from).collect()
    }

    /// The act with this number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn act(&self, id: i64) -> Result<Option<Act>, StoreError> {
        let query = sqlx::query(select!("WHERE id = $1")).bind(id);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(act_from)
            .transpose()
    }

    /// The second person consents: the change is done.
    ///
    /// # Errors
    /// [`AccountError::NotIndependent`] if the two may not act together; [`AccountError::Over`] if
    /// nothing waits any more; [`AccountError::AskerGone`] and [`AccountError::MayNot`] if one of them
    /// may not have this part in it any more.
    pub async fn consent_to_act(
        &self,
        id: i64,
        by: i64,
        password_hash: Option<&str>,
        mut audit: AuditEntry,
    ) -> Result<Account, AccountError> {
        let tree = self.site_tree().await?;
        let mut write = self.database.write().await?;
        let act = waiting(&mut write, id, audit.time_ms).await?;
        let ties = ties_between(&mut write, act.asked_by, by).await?;
        independent(act.asked_by, by, act.user, &ties, audit.time_ms)?;
        both_may(&mut write, &act, by, &tree).await?;
        let both = [act.asked_by, by];
        let account = apply(
            &mut write,
            act.user,
            act.change,
            &both,
            password_hash,
            &mut audit,
        )
        .await?;
        decide(&mut write, id, ActState::Done, by, audit.time_ms).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(account)
    }

    /// Ends an act without doing it: refused by a second person, or withdrawn by the first.
    ///
    /// # Errors
    /// [`AccountError::Over`] if nothing waits any more.
    pub async fn end_act(&self, id: i64, by: i64, audit: AuditEntry) -> Result<Act, AccountError> {
        let mut write = self.database.write().await?;
        let act = waiting(&mut write, id, audit.time_ms).await?;
        let state = if act.asked_by == by {
            ActState::Withdrawn
        } else {
            ActState::Refused
        };
        decide(&mut write, id, state, by, audit.time_ms).await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        let (decided_by, decided_ms) = (Some(by), Some(audit.time_ms));
        Ok(Act {
            state,
            decided_by,
            decided_ms,
            ..act
        })
    }
}

async fn listed(write: &mut Write, now_ms: i64) -> Result<Vec<Act>, StoreError> {
    let query = sqlx::query(select!("WHERE state = $1 AND expires_ms > $2"))
        .bind(ActState::Pending.word())
        .bind(now_ms);
    let rows = query.fetch_all(&mut **write).await?;
    rows.iter().map(act_from).collect()
}

/// How often one person was refused one change of an account lately.
async fn refusals(
    write: &mut Write,
    user: i64,
    change: AccountChange,
    asked_by: i64,
    now_ms: i64,
) -> Result<i64, StoreError> {
    let sql = select!("WHERE state = $1 AND user_id = $2 AND asked_by = $3 AND decided_ms > $4");
    let query = sqlx::query(sql)
        .bind(ActState::Refused.word())
        .bind(user)
        .bind(asked_by)
        .bind(now_ms.saturating_sub(ACT_DAYS.saturating_mul(DAY_MS)));
    let rows = query.fetch_all(&mut **write).await?;
    let acts: Vec<Act> = rows.iter().map(act_from).collect::<Result<_, _>>()?;
    let alike = acts.iter().filter(|act| act.change == change).count();
    Ok(i64::try_from(alike).unwrap_or(i64::MAX))
}

async fn waiting(write: &mut Write, id: i64, now_ms: i64) -> Result<Act, AccountError> {
    let query = sqlx::query(select!("WHERE id = $1")).bind(id);
    let row = query.fetch_optional(&mut **write).await?;
    let act = act_from(&row.ok_or_else(|| StoreError::NotFound(format!("act {id}")))?)?;
    if act.state != ActState::Pending || act.expires_ms <= now_ms {
        return Err(AccountError::Over);
    }
    Ok(act)
}

/// That both are there and may do their part now: what they held when they were shown the act counts for
/// nothing.
async fn both_may(
    write: &mut Write,
    act: &Act,
    by: i64,
    tree: &SiteTree,
) -> Result<(), AccountError> {
    let subject = account(write, act.user).await?;
    let (ask, consent) = match act.change.needs(&subject.grants) {
        Needs::Two { ask, consent } => (ask, consent),
        // Its roles changed since: what one may do alone, two may do together.
        Needs::One(permission) => (permission, permission),
    };
    let asker = account(write, act.asked_by).await?;
    if !reaches(&asker, ask, act.change, &subject, tree) {
        return Err(AccountError::AskerGone);
    }
    let second = account(write, by).await?;
    if !reaches(&second, consent, act.change, &subject, tree) {
        return Err(AccountError::MayNot);
    }
    Ok(())
}

async fn account(write: &mut Write, id: i64) -> Result<Account, StoreError> {
    Ok(Account {
        user: users::find(write, id).await?,
        grants: grants_of(write, id).await?,
    })
}

async fn insert(write: &mut Write, act: &Act) -> Result<(), StoreError> {
    let grant = act.change.grant();
    let sql = "INSERT INTO acts (id, user_id, change_kind, role, site_id, reason, asked_by, \
               asked_ms, expires_ms, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    sqlx::query(sql)
        .bind(act.id)
        .bind(act.user)
        .bind(act.change.word())
        .bind(grant.map_or("", |grant| grant.role.word()))
        .bind(stored_site(grant.and_then(|grant| grant.site)))
        .bind(&act.reason)
        .bind(act.asked_by)
        .bind(act.asked_ms)
        .bind(act.expires_ms)
        .bind(act.state.word())
        .execute(&mut **write)
        .await?;
    Ok(())
}

async fn decide(
    write: &mut Write,
    id: i64,
    state: ActState,
    by: i64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE acts SET state = $2, decided_by = $3, decided_ms = $4 WHERE id = $1";
    sqlx::query(sql)
        .bind(id)
        .bind(state.word())
        .bind(by)
        .bind(now_ms)
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn act_from(row: &AnyRow) -> Result<Act, StoreError> {
    let (kind, state) = (row::text(row, "change_kind")?, row::text(row, "state")?);
    let role = row::text(row, "role")?;
    let impossible = || StoreError::Impossible(format!("act {kind:?} of role {role:?}, {state:?}"));
    let site = row::number(row, "site_id")?;
    let grant = match role.as_str() {
        "" => None,
        word => Some(Grant {
            role: Role::from_word(word).ok_or_else(impossible)?,
            site: (site != 0).then_some(SiteId(site)),
        }),
    };
    Ok(Act {
        id: row::number(row, "id")?,
        user: row::number(row, "user_id")?,
        change: AccountChange::from_word(&kind, grant).ok_or_else(impossible)?,
        reason: row::text(row, "reason")?,
        asked_by: row::number(row, "asked_by")?,
        asked_ms: row::number(row, "asked_ms")?,
        expires_ms: row::number(row, "expires_ms")?,
        state: ActState::from_word(&state).ok_or_else(impossible)?,
        decided_by: row::optional(row, "decided_by")?,
        decided_ms: row::optional(row, "decided_ms")?,
    })
}
