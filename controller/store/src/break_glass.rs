//! What takes two people, done without them where no two are left who could: on the console, by whoever
//! holds the root key. It is refused while two can, and stays in sight of security and audit.

use xiezhi_model::{Account, AccountChange, AuditEntry, Needs, User, pair_for};

use crate::accounts::{apply, grants_of};
use crate::row::{self, Write};
use crate::{AccountError, Store, StoreError, audit, users};

/// Somebody who signed in so recently is not away.
const AWAY_MS: i64 = 7 * 86_400_000;

/// One such act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenGlass {
    /// When, Unix milliseconds.
    pub time_ms: i64,
    /// Name of the account that was changed.
    pub user: String,
    /// What was done, as [`AccountChange::word`] says it.
    pub change: String,
    /// Why, in the words of who did it.
    pub reason: String,
}

impl Store {
    /// Does alone what takes two. `absent` are names of accounts whose owners are said to be out of reach:
    /// they do not count as people who could.
    ///
    /// # Errors
    /// [`AccountError::TwoCan`] names two who could do it; [`AccountError::NotAway`] somebody who is said
    /// to be absent and signed in within a week, [`AccountError::TooNew`] somebody who was not yet there for
    /// one; [`AccountError::TakesOne`] if it does not take two.
    pub async fn break_glass(
        &self,
        user: i64,
        change: AccountChange,
        absent: &[String],
        password_hash: Option<&str>,
        reason: &str,
        mut audit: AuditEntry,
    ) -> Result<Account, AccountError> {
        let tree = self.site_tree().await?;
        let mut write = self.database.write().await?;
        let now_ms = audit.time_ms;
        let subject = Account {
            user: users::find(&mut write, user).await?,
            grants: grants_of(&mut write, user).await?,
        };
        if matches!(change.needs(&subject.grants), Needs::One(_)) {
            return Err(AccountError::TakesOne);
        }
        let mut people = Vec::new();
        for one in users::all(&mut write).await? {
            if absent.contains(&one.name) {
                must_be_away(&mut write, &one, now_ms).await?;
            } else if one.may_sign_in(now_ms) {
                let grants = grants_of(&mut write, one.id).await?;
                people.push(Account { user: one, grants });
            }
        }
        let ties = crate::accounts::all_ties(&mut write).await?;
        if let Some((first, second)) = pair_for(change, &subject, &people, &ties, &tree, now_ms) {
            let (first, second) = (first.user.name.clone(), second.user.name.clone());
            return Err(AccountError::TwoCan { first, second });
        }
        let account = apply(&mut write, user, change, &[], password_hash, &mut audit).await?;
        let sql = "INSERT INTO broken_glass (id, time_ms, user_id, change_kind, reason) \
                   VALUES ($1, $2, $3, $4, $5)";
        sqlx::query(sql)
            .bind(row::count_up(&mut write, "broken_glass", 1).await?)
            .bind(now_ms)
            .bind(user)
            .bind(change.word())
            .bind(row::storable(reason))
            .execute(&mut *write)
            .await?;
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(account)
    }

    /// Such acts since `since_ms`, newest first, at most 10.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn broken_glass(&self, since_ms: i64) -> Result<Vec<BrokenGlass>, StoreError> {
        let sql = "SELECT b.time_ms, u.name, b.change_kind, b.reason FROM broken_glass b \
                   JOIN users u ON u.id = b.user_id WHERE b.time_ms > $1 \
                   ORDER BY b.id DESC LIMIT 10";
        let query = sqlx::query(sql).bind(since_ms);
        let rows = query.fetch_all(self.database.read()).await?;
        let one = |row: &sqlx::any::AnyRow| {
            Ok(BrokenGlass {
                time_ms: row::number(row, "time_ms")?,
                user: row::text(row, "name")?,
                change: row::text(row, "change_kind")?,
                reason: row::text(row, "reason")?,
            })
        };
        rows.iter().map(one).collect()
    }
}

/// Who said to be away and is not could have consented. Not being there for a week can be said only of who
/// has been somebody for a week.
async fn must_be_away(write: &mut Write, user: &User, now_ms: i64) -> Result<(), AccountError> {
    let since_ms = now_ms.saturating_sub(AWAY_MS);
    let sql = "SELECT (SELECT COUNT(*) FROM audit \
               WHERE subject = $1 AND action = 'session.begin' AND time_ms > $2) + \
               (SELECT COUNT(*) FROM web_sessions WHERE user_id = $3 AND last_used_ms > $2) AS count";
    if counted(write, sql, &user.name, since_ms, user.id).await? > 0 {
        return Err(AccountError::NotAway(user.name.clone()));
    }
    let subject = format!("user:{}", user.name);
    let sql = "SELECT (SELECT COUNT(*) FROM audit WHERE subject = $1 \
               AND action IN ('user.enable', 'act.consent') AND time_ms > $2) + \
               (SELECT COUNT(*) FROM grants WHERE user_id = $3 AND granted_ms > $2) AS count";
    let is_new = user.created_ms.max(user.password_changed_ms) > since_ms;
    if is_new || counted(write, sql, &subject, since_ms, user.id).await? > 0 {
        return Err(AccountError::TooNew(user.name.clone()));
    }
    Ok(())
}

async fn counted(
    write: &mut Write,
    sql: &'static str,
    subject: &str,
    since_ms: i64,
    user: i64,
) -> Result<i64, StoreError> {
    let query = sqlx::query(sql)
        .bind(row::storable(subject))
        .bind(since_ms)
        .bind(user);
    row::number(&query.fetch_one(&mut **write).await?, "count")
}
