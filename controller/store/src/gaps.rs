//! Gaps: batches that hosts gave up, so that a hole in the data has a reason.

use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{Gap, HostId, Scope};

use crate::{CursorError, Store, StoreError};
use crate::{reach, row};

/// Most gaps of a page, and the one that tells whether there is another.
const MOST: u32 = 1001;

/// Oldest first; no two gaps have the same of all of these.
const ORDER: &str = "from_ms, host_id, epoch, first_seq, stream, reason";

/// Of a host, or of all, that touch a time. Host numbers begin at 1.
const TOUCHING: &str = "($1 = 0 OR host_id = $1) AND (to_ms >= $2 OR to_ms = 0) \
                        AND (from_ms < $3 OR from_ms = 0)";

/// Where a page of gaps ended. Its text is for addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapCursor {
    from_ms: i64,
    host: HostId,
    epoch: u64,
    first: u64,
    stream: String,
    reason: String,
}

impl From<&Gap> for GapCursor {
    fn from(gap: &Gap) -> Self {
        Self {
            from_ms: gap.from_ms,
            host: gap.host,
            epoch: gap.epoch,
            first: gap.first,
            stream: gap.stream.clone(),
            reason: gap.reason.clone(),
        }
    }
}

impl fmt::Display for GapCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from_ms,
            host,
            epoch,
            first,
            stream,
            reason,
        } = self;
        write!(
            formatter,
            "{from_ms}.{host}.{epoch}.{first}.{stream}.{reason}"
        )
    }
}

impl FromStr for GapCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let [from_ms, host, epoch, first, stream, reason] = parts.as_slice() else {
            return Err(CursorError);
        };
        Ok(Self {
            from_ms: from_ms.parse().map_err(|_| CursorError)?,
            host: HostId(host.parse().map_err(|_| CursorError)?),
            epoch: epoch.parse().map_err(|_| CursorError)?,
            first: first.parse().map_err(|_| CursorError)?,
            stream: (*stream).to_owned(),
            reason: (*reason).to_owned(),
        })
    }
}

impl Store {
    /// Records gaps. An agent reports its gaps again and again: one that is known changes nothing,
    /// and one that has grown since is extended.
    ///
    /// # Errors
    /// If the database fails, or one of the hosts does not exist; then none is recorded.
    pub async fn insert_gaps(&self, gaps: &[Gap], now_ms: i64) -> Result<(), StoreError> {
        if gaps.is_empty() {
            return Ok(());
        }
        let mut write = self.database.write().await?;
        for gap in gaps {
            let sql = "INSERT INTO gaps (host_id, epoch, stream, first_seq, last_seq, from_ms, \
                       to_ms, reason, noted_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                       ON CONFLICT (host_id, epoch, stream, first_seq, reason) DO UPDATE SET \
                       last_seq = excluded.last_seq, to_ms = excluded.to_ms \
                       WHERE excluded.last_seq > gaps.last_seq";
            sqlx::query(sql)
                .bind(gap.host.0)
                .bind(row::signed(gap.epoch))
                .bind(row::storable(&gap.stream))
                .bind(row::signed(gap.first))
                .bind(row::signed(gap.last))
                .bind(gap.from_ms)
                .bind(gap.to_ms)
                .bind(row::storable(&gap.reason))
                .bind(now_ms)
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Gaps of a host (or of all) that touch `from_ms..to_ms`, oldest first, at most 1,000. Gaps of
    /// unknown time always touch. Only hosts of the scope.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn gaps(
        &self,
        host: Option<HostId>,
        scope: &Scope,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Gap>, StoreError> {
        self.gaps_page(host, scope, (from_ms, to_ms), None, MOST - 1)
            .await
    }

    /// The same, page by page: what comes after a gap in that order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn gaps_page(
        &self,
        host: Option<HostId>,
        scope: &Scope,
        (from_ms, to_ms): (i64, i64),
        after: Option<&GapCursor>,
        limit: u32,
    ) -> Result<Vec<Gap>, StoreError> {
        let within = reach::hosts("host_id", scope);
        let behind = match after {
            Some(_) => format!(" AND ({ORDER}) > ($4, $5, $6, $7, $8, $9)"),
            None => String::new(),
        };
        let sql = format!(
            "SELECT host_id, epoch, stream, first_seq, last_seq, from_ms, to_ms, reason \
             FROM gaps WHERE {TOUCHING}{within}{behind} \
             ORDER BY {ORDER} LIMIT {}",
            limit.min(MOST)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(host.map_or(0, |host| host.0))
            .bind(from_ms)
            .bind(to_ms);
        if let Some(at) = after {
            query = query
                .bind(at.from_ms)
                .bind(at.host.0)
                .bind(row::signed(at.epoch))
                .bind(row::signed(at.first))
                .bind(row::storable(&at.stream))
                .bind(row::storable(&at.reason));
        }
        query
            .fetch_all(self.database.read())
            .await?
            .iter()
            .map(gap_from)
            .collect()
    }
}

impl Store {
    /// How many gaps [`Store::gaps_page`] gives, on all pages.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn gap_count(
        &self,
        host: Option<HostId>,
        scope: &Scope,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<u64, StoreError> {
        let within = reach::hosts("host_id", scope);
        let sql = format!("SELECT COUNT(*) AS gaps FROM gaps WHERE {TOUCHING}{within}");
        let found = sqlx::query(AssertSqlSafe(sql))
            .persistent(false)
            .bind(host.map_or(0, |host| host.0))
            .bind(from_ms)
            .bind(to_ms)
            .fetch_one(self.database.read())
            .await?;
        row::unsigned(&found, "gaps")
    }
}

fn gap_from(row: &AnyRow) -> Result<Gap, StoreError> {
    Ok(Gap {
        host: HostId(row::number(row, "host_id")?),
        epoch: row::unsigned(row, "epoch")?,
        stream: row::text(row, "stream")?,
        first: row::unsigned(row, "first_seq")?,
        last: row::unsigned(row, "last_seq")?,
        from_ms: row::number(row, "from_ms")?,
        to_ms: row::number(row, "to_ms")?,
        reason: row::text(row, "reason")?,
    })
}
