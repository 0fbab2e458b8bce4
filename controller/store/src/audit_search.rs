//! Lists of the audit log, newest first, page by page.
//!
//! A page costs as much in a log of a million entries as in one of a hundred, whatever it is filtered by:
//! without a filter it is a walk along the chain; with one it is put together from the newest entries of each
//! action that fits, each found at the end of an index. Between which positions a time lies is kept for every
//! thousand of them. Only several filters at once, none of them rare and all of them together, walk for long.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::AuditRecord;

use crate::audit::{AuditQuery, public_record};
use crate::row::{self, Write};
use crate::{Store, StoreError};

/// Positions whose times are kept together.
const SPAN: i64 = 1000;

/// So many actions are looked up one by one; more are found by a walk.
const MOST_ACTIONS: usize = 200;

/// So many stretches of the chain are looked through; where entries lie in more, all of it is.
const MOST_STRETCHES: usize = 200;

const COLUMNS: &str = "seq, previous, time_ms, actor, action, subject, detail, detail_hash, hash";

/// A half-open stretch of positions.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: i64,
    to: i64,
}

impl Store {
    /// One page of entries, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        let limit = match query.limit {
            0 => 100,
            asked => asked.min(1000),
        };
        let Some(stretch) = self.audit_stretch(query).await? else {
            return Ok(Vec::new());
        };
        let mut statement = Statement::default();
        let places = match self.audit_walk(query).await? {
            Walk::Chain => statement.end_of(&[], stretch, query, limit),
            Walk::Subject(subject) => {
                let keys = [("subject", subject)];
                statement.end_of(&keys, stretch, query, limit)
            }
            Walk::Stretches(some) => {
                let ends = some.into_iter().filter_map(|one| {
                    let within = Stretch {
                        from: one.from.max(stretch.from),
                        to: one.to.min(stretch.to),
                    };
                    let is_there = within.from < within.to;
                    is_there.then(|| statement.end_of(&[], within, query, limit))
                });
                ends.collect::<Vec<_>>().join(" UNION ALL ")
            }
            Walk::Actions(actor, actions) => {
                let ends = actions.into_iter().map(|action| {
                    let actor = actor.clone().map(|actor| ("actor", actor));
                    let keys: Vec<_> = actor.into_iter().chain([("action", action)]).collect();
                    statement.end_of(&keys, stretch, query, limit)
                });
                ends.collect::<Vec<_>>().join(" UNION ALL ")
            }
        };
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM audit WHERE seq IN (SELECT seq FROM ({places}) AS ends \
             ORDER BY seq DESC LIMIT {limit}) ORDER BY seq DESC"
        );
        let rows = self.audit_rows(sql, statement.values).await?;
        rows.iter().map(public_record).collect()
    }

    /// How many entries match, on all pages.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn audit_count(&self, query: &AuditQuery) -> Result<u64, StoreError> {
        let Some(Stretch { from, to }) = self.audit_stretch(query).await? else {
            return Ok(0);
        };
        let mut statement = Statement::default();
        let rest = statement.conditions(query);
        let sql = format!(
            "SELECT COUNT(*) AS entries FROM audit WHERE seq >= {from} AND seq < {to}{rest}"
        );
        let rows = self.audit_rows(sql, statement.values).await?;
        let count = rows
            .first()
            .map_or(Ok(0), |found| row::number(found, "entries"));
        Ok(count?.unsigned_abs())
    }

    async fn audit_rows(
        &self,
        sql: String,
        values: Vec<String>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut prepared = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in values {
            prepared = prepared.bind(value);
        }
        Ok(prepared.fetch_all(self.database.read()).await?)
    }

    /// Between which positions all lie that match; `None`: there are none.
    async fn audit_stretch(&self, query: &AuditQuery) -> Result<Option<Stretch>, StoreError> {
        let to = query.before.unwrap_or(i64::MAX);
        if query.from_ms.is_none() && query.to_ms.is_none() {
            return Ok(Some(Stretch { from: 0, to }));
        }
        let sql = "SELECT COALESCE(MIN(block), -1) AS least, COALESCE(MAX(block), -1) AS most \
                   FROM audit_spans WHERE most_ms >= $1 AND least_ms <= $2";
        let found = sqlx::query(sql)
            .bind(query.from_ms.unwrap_or(i64::MIN))
            .bind(query.to_ms.unwrap_or(i64::MAX))
            .fetch_one(self.database.read())
            .await?;
        let (least, most) = (row::number(&found, "least")?, row::number(&found, "most")?);
        let end = most.saturating_add(1).saturating_mul(SPAN);
        Ok((least >= 0).then(|| Stretch {
            from: least.saturating_mul(SPAN),
            to: to.min(end),
        }))
    }

    async fn audit_walk(&self, query: &AuditQuery) -> Result<Walk, StoreError> {
        let given = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(row::storable)
        };
        if let Some(subject) = given(&query.subject) {
            return Ok(Walk::Subject(subject));
        }
        if let Some(item) = query.item {
            return self.stretches_of(item).await;
        }
        let start = given(&query.action);
        let actor = given(&query.actor);
        if start.is_none() && actor.is_none() {
            return Ok(Walk::Chain);
        }
        let actions = self
            .audit_actions(&start.unwrap_or_default(), actor.as_deref())
            .await?;
        Ok(match actions.len() > MOST_ACTIONS {
            true => Walk::Chain,
            false => Walk::Actions(actor, actions),
        })
    }

    /// Where entries about an item of the register can stand: each has the time of one of its changes.
    async fn stretches_of(&self, item: i64) -> Result<Walk, StoreError> {
        let sql = format!(
            "SELECT DISTINCT s.block AS block FROM audit_spans s JOIN register_changes c \
             ON s.least_ms <= c.time_ms AND s.most_ms >= c.time_ms \
             WHERE c.item_id = {item} AND c.import_id IS NULL ORDER BY block DESC LIMIT {}",
            MOST_STRETCHES + 1
        );
        let rows = self.audit_rows(sql, Vec::new()).await?;
        if rows.len() > MOST_STRETCHES {
            return Ok(Walk::Chain);
        }
        let stretches = rows.iter().map(|found| {
            let from = row::number(found, "block")?.saturating_mul(SPAN);
            let to = from.saturating_add(SPAN);
            Ok::<_, StoreError>(Stretch { from, to })
        });
        Ok(Walk::Stretches(stretches.collect::<Result<_, _>>()?))
    }

    /// The actions of the log, or of an actor, that begin so: from one to the next along the index. One more
    /// than are looked up one by one, at most.
    async fn audit_actions(
        &self,
        start: &str,
        actor: Option<&str>,
    ) -> Result<Vec<String>, StoreError> {
        let of_actor = match actor {
            Some(_) => " AND a.actor = $2",
            None => "",
        };
        let fits = "SUBSTR(action, 1, LENGTH($1)) = $1";
        let sql = format!(
            "WITH RECURSIVE found (action) AS (\
             SELECT MIN(a.action) FROM audit a WHERE a.action >= $1{of_actor} UNION ALL \
             SELECT (SELECT MIN(a.action) FROM audit a WHERE a.action > f.action{of_actor}) \
             FROM found f WHERE SUBSTR(f.action, 1, LENGTH($1)) = $1) \
             SELECT action FROM found WHERE {fits} LIMIT {}",
            MOST_ACTIONS + 1
        );
        let values = std::iter::once(start).chain(actor).map(str::to_owned);
        let rows = self.audit_rows(sql, values.collect()).await?;
        rows.iter()
            .map(|found| row::text(found, "action"))
            .collect()
    }

    /// The first thousand positions whose times are not those that are kept of them: a search for a time would
    /// pass their entries over.
    pub(crate) async fn wrong_audit_span(&self) -> Result<Option<i64>, StoreError> {
        let sql = format!(
            "SELECT MIN(a.block) AS block FROM (SELECT seq / {SPAN} AS block, MIN(time_ms) AS least_ms, \
             MAX(time_ms) AS most_ms FROM audit GROUP BY seq / {SPAN}) AS a \
             LEFT JOIN audit_spans s ON s.block = a.block \
             WHERE s.block IS NULL OR s.least_ms > a.least_ms OR s.most_ms < a.most_ms"
        );
        let query = sqlx::query(AssertSqlSafe(sql));
        let found = query.fetch_one(self.database.read()).await?;
        let block = row::optional(&found, "block")?;
        Ok(block.map(|block| (block * SPAN).max(1)))
    }
}

/// Keeps that entries of these times stand at these positions.
pub(crate) async fn keep_spans(
    write: &mut Write,
    entries: impl Iterator<Item = (i64, i64)>,
) -> Result<(), StoreError> {
    let mut spans: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for (position, time_ms) in entries {
        let (least, most) = spans.entry(position / SPAN).or_insert((time_ms, time_ms));
        (*least, *most) = ((*least).min(time_ms), (*most).max(time_ms));
    }
    for (block, (least, most)) in spans {
        let sql = "INSERT INTO audit_spans (block, least_ms, most_ms) VALUES ($1, $2, $3) \
                   ON CONFLICT (block) DO UPDATE SET \
                   least_ms = CASE WHEN excluded.least_ms < audit_spans.least_ms \
                   THEN excluded.least_ms ELSE audit_spans.least_ms END, \
                   most_ms = CASE WHEN excluded.most_ms > audit_spans.most_ms \
                   THEN excluded.most_ms ELSE audit_spans.most_ms END";
        let query = sqlx::query(sql).bind(block).bind(least).bind(most);
        query.execute(&mut **write).await?;
    }
    Ok(())
}

/// Along what a page is found.
enum Walk {
    /// The chain itself.
    Chain,
    /// The entries about this.
    Subject(String),
    /// These parts of it, the newest first.
    Stretches(Vec<Stretch>),
    /// These actions, of an actor or of all.
    Actions(Option<String>, Vec<String>),
}

/// A statement in the making. Numbers may stand in its text; texts are bound.
#[derive(Default)]
struct Statement {
    values: Vec<String>,
}

impl Statement {
    fn bind(&mut self, text: String) -> String {
        self.values.push(text);
        format!("${}", self.values.len())
    }

    /// The last positions of a stretch of an index that begins with these columns.
    ///
    /// The columns stand in the order and in the bounds, not in an equation: by that alone PostgreSQL could
    /// take the chain instead and walk along all of it.
    fn end_of(
        &mut self,
        keys: &[(&str, String)],
        Stretch { from, to }: Stretch,
        query: &AuditQuery,
        limit: u32,
    ) -> String {
        let (mut columns, mut places, mut order) = (Vec::new(), Vec::new(), Vec::new());
        for (column, text) in keys {
            columns.push((*column).to_owned());
            places.push(self.bind(text.clone()));
            order.push(format!("{column} DESC"));
        }
        let (columns, places) = (columns.join(", "), places.join(", "));
        let comma = if keys.is_empty() { "" } else { ", " };
        order.push("seq DESC".to_owned());
        let rest = self.conditions(query);
        format!(
            "SELECT seq FROM (SELECT seq FROM audit WHERE ({columns}{comma}seq) >= ({places}{comma}{from}) \
             AND ({columns}{comma}seq) < ({places}{comma}{to}){rest} ORDER BY {} LIMIT {limit}) AS one",
            order.join(", ")
        )
    }

    /// All that an entry must be. An action is not matched by LIKE, for which `_` is anything; the number of an
    /// item has no such signs, and no text in a detail looks like it: its quotes are escaped.
    fn conditions(&mut self, query: &AuditQuery) -> String {
        let mut sql = String::new();
        let texts = [
            ("subject = ?", &query.subject),
            ("actor = ?", &query.actor),
            ("SUBSTR(action, 1, LENGTH(?)) = ?", &query.action),
        ];
        for (condition, text) in texts {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                let place = self.bind(row::storable(text));
                sql.push_str(&format!(" AND {}", condition.replace('?', &place)));
            }
        }
        if let Some(from_ms) = query.from_ms {
            sql.push_str(&format!(" AND time_ms >= {from_ms}"));
        }
        if let Some(to_ms) = query.to_ms {
            sql.push_str(&format!(" AND time_ms <= {to_ms}"));
        }
        if let Some(item) = query.item {
            sql.push_str(&format!(" AND detail LIKE '%\"item\":\"{item}\"%'"));
        }
        sql
    }
}
