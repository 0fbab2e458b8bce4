//! Carries a whole store over to an empty one: from the SQLite file to a PostgreSQL server, or back.
//!
//! Both write locks are held until the end, so nothing is added meanwhile, and what is written is one
//! transaction: a copy that was cut short left nothing behind and is simply made again. Afterwards every
//! row of both is read once more and compared. The source is never changed.

use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _};

use crate::row::{self, Write};
use crate::{Store, StoreError};

/// One table: what is read in the order of its key, a page at a time.
#[derive(Debug)]
struct Table {
    name: &'static str,
    /// Columns of its primary key.
    key: &'static [&'static str],
    /// Rows that are held at one time: few where a row may be large.
    page: u16,
}

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    let page = 500;
    Table { name, key, page }
}

const fn large(name: &'static str, key: &'static [&'static str]) -> Table {
    let page = 20;
    Table { name, key, page }
}

/// Every table but the schema's own number; each stands behind those that it refers to.
const TABLES: &[Table] = &[
    table(COUNTERS, &["name"]),
    table(SETTINGS, &["setting_key", "valid_from_ms"]),
    table(SITES, &["id"]),
    table("tokens", &["id"]),
    table("hosts", &["id"]),
    table("host_seen", &["host_id"]),
    table("approvals", &["id"]),
    table("certificates", &["serial"]),
    table("revocations", &["change_number"]),
    table("event_streams", &["host_id", "stream", "epoch"]),
    table("event_batches", &["host_id", "stream", "seq", "checksum"]),
    table("events", &["id"]),
    large("batch_proofs", &["seq"]),
    table(
        "gaps",
        &["host_id", "epoch", "stream", "first_seq", "reason"],
    ),
    large("facts", &["host_id"]),
    table("users", &["id"]),
    table("grants", &["user_id", "role", "site_id"]),
    table("account_ties", &["user_id", "by_user_id"]),
    table("acts", &["id"]),
    table("second_factors", &["user_id"]),
    table("recovery_codes", &["code_hash"]),
    table("web_sessions", &["id_hash"]),
    table("saved_views", &["id"]),
    large("named_requests", &["user_id", "key_hash"]),
    table("api_tokens", &["id"]),
    table("register_items", &["id"]),
    table("register_changes", &["id"]),
    table("devices", &["id"]),
    large("device_said", &["device_id"]),
    large("register_imports", &["id"]),
    table("register_import_sites", &["import_id", "site_id"]),
    table("site_changes", &["id"]),
    large("site_imports", &["id"]),
    table("broken_glass", &["id"]),
    table("audit", &["seq"]),
    table(AUDIT_HEAD, &["id"]),
    table("audit_spans", &["block"]),
    table("audit_repeats", &["repeat_key"]),
];

/// Tables that a new store has rows in.
const COUNTERS: &str = "counters";
const SETTINGS: &str = "settings";
const AUDIT_HEAD: &str = "audit_head";

/// All of them.
const NEVER_EMPTY: [&str; 3] = [SETTINGS, COUNTERS, AUDIT_HEAD];

/// A site may stand below one with a higher number, so parents are written last.
const SITES: &str = "sites";
const PARENT: &str = "parent_id";

/// A value as both databases have it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Nothing,
    Number(i64),
    Text(String),
}

/// Rows of a table with the names of their columns.
type Named = Vec<(String, Value)>;

/// How much was carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// The table.
    pub name: &'static str,
    /// Its rows.
    pub rows: u64,
}

impl Store {
    /// Writes everything that is here into `target`, a store in which nothing has happened yet, then
    /// compares the two row by row. `told` hears of each table when it is written. Open both with
    /// [`Store::open_for_controller`], so that no controller works with either.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] if the target is in use; [`StoreError::Differs`] if it then holds
    /// something else than the source. Before the last table is written an error leaves it empty.
    pub async fn copy_to(
        &self,
        target: &Self,
        mut told: impl FnMut(&CopiedTable),
    ) -> Result<Vec<CopiedTable>, StoreError> {
        let mut from = self.database.write().await?;
        let mut into = target.database.write().await?;
        must_be_empty(&mut into).await?;
        let mut copied = Vec::new();
        for table in TABLES {
            let rows = copy(table, &mut from, &mut into).await?;
            let name = table.name;
            let one = CopiedTable { name, rows };
            told(&one);
            copied.push(one);
        }
        into.commit().await?;
        let mut into = target.database.write().await?;
        for table in TABLES {
            compare(table, &mut from, &mut into).await?;
        }
        into.rollback().await?;
        from.rollback().await?;
        Ok(copied)
    }
}

/// Whatever is done in a store is audited or has a row of its own.
async fn must_be_empty(into: &mut Write) -> Result<(), StoreError> {
    for table in TABLES {
        if NEVER_EMPTY.contains(&table.name) {
            continue;
        }
        if !page(table, into, None, 1).await?.is_empty() {
            return Err(StoreError::NotEmpty(table.name));
        }
    }
    for name in NEVER_EMPTY {
        let sql = format!("DELETE FROM {name} WHERE {}", condition(name));
        sqlx::query(AssertSqlSafe(sql)).execute(&mut **into).await?;
    }
    Ok(())
}

async fn copy(table: &Table, from: &mut Write, into: &mut Write) -> Result<u64, StoreError> {
    let (mut rows, mut parents) = (0, Vec::new());
    let mut after = None;
    loop {
        let mut found = page(table, from, after.as_deref(), table.page).await?;
        let Some(last) = found.last() else { break };
        after = Some(key_of(table, last)?);
        rows += found.len() as u64;
        if table.name == SITES {
            parents.extend(found.iter_mut().filter_map(without_parent));
        }
        insert(table, into, &found).await?;
    }
    for (site, parent) in parents {
        let sql = "UPDATE sites SET parent_id = $2 WHERE id = $1";
        let query = sqlx::query(sql).bind(site).bind(parent);
        query.execute(&mut **into).await?;
    }
    Ok(rows)
}

/// Takes the parent out of a site's row: both numbers, if it has one.
fn without_parent(row: &mut Named) -> Option<(i64, i64)> {
    let number = |row: &Named, name: &str| match row.iter().find(|(column, _)| column == name) {
        Some((_, Value::Number(number))) => Some(*number),
        _ => None,
    };
    let both = (number(row, "id")?, number(row, PARENT)?);
    let place = row.iter_mut().find(|(column, _)| column == PARENT)?;
    place.1 = Value::Nothing;
    Some(both)
}

async fn compare(table: &Table, from: &mut Write, into: &mut Write) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let expected = page(table, from, after.as_deref(), table.page).await?;
        let found = page(table, into, after.as_deref(), table.page).await?;
        if expected != found {
            return Err(StoreError::Differs(table.name));
        }
        let Some(last) = found.last() else {
            return Ok(());
        };
        after = Some(key_of(table, last)?);
    }
}

/// The rows after `after`, in the order of the key, which both databases have alike.
async fn page(
    table: &Table,
    write: &mut Write,
    after: Option<&[Value]>,
    rows: u16,
) -> Result<Vec<Named>, StoreError> {
    let Table { name, key, .. } = table;
    let keys = key.join(", ");
    let mut sql = format!("SELECT * FROM {name} WHERE {}", condition(name));
    if after.is_some() {
        let places = row::placeholders(1, key.len());
        sql.push_str(&format!(" AND ({keys}) > {places}"));
    }
    sql.push_str(&format!(" ORDER BY {keys} LIMIT {rows}"));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for value in after.unwrap_or_default() {
        query = match value {
            Value::Number(number) => query.bind(*number),
            Value::Text(text) => query.bind(text.clone()),
            Value::Nothing => return Err(StoreError::Impossible(format!("a key of {name}"))),
        };
    }
    let found = query.fetch_all(&mut **write).await?;
    found.iter().map(named).collect()
}

/// Which rows are the store's own; a database's turns of controllers are not.
fn condition(table: &str) -> &'static str {
    match table {
        COUNTERS => "name <> 'controller_turns'",
        _ => "1 = 1",
    }
}

/// The values of a row, by the columns' names: two databases may have them in another order.
fn named(row: &AnyRow) -> Result<Named, StoreError> {
    let columns = row.columns().iter().enumerate();
    let values = columns.map(|(place, column)| Ok((column.name().to_owned(), value(row, place)?)));
    let mut values: Named = values.collect::<Result<_, StoreError>>()?;
    values.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(values)
}

fn value(row: &AnyRow, place: usize) -> Result<Value, StoreError> {
    let raw = row.try_get_raw(place)?;
    if raw.is_null() {
        return Ok(Value::Nothing);
    }
    let kind = raw.type_info().into_owned();
    match kind.kind() {
        AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
            Ok(Value::Number(row.try_get(place)?))
        }
        AnyTypeInfoKind::Text => Ok(Value::Text(row.try_get(place)?)),
        _ => Err(StoreError::Impossible(format!(
            "a value of type {}",
            kind.name()
        ))),
    }
}

fn key_of(table: &Table, row: &Named) -> Result<Vec<Value>, StoreError> {
    let of = |name: &&str| row.iter().find(|(column, _)| column == name);
    let values = table.key.iter().map(of);
    let values: Option<Vec<Value>> = values.map(|found| Some(found?.1.clone())).collect();
    values.ok_or_else(|| StoreError::Impossible(format!("{} without its key", table.name)))
}

/// Writes rows that have the same columns.
async fn insert(table: &Table, into: &mut Write, rows: &[Named]) -> Result<(), StoreError> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let columns: Vec<&str> = first.iter().map(|(column, _)| column.as_str()).collect();
    let (mut places, mut number) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let of_row: Vec<String> = row
            .iter()
            .map(|(_, value)| place(value, &mut number))
            .collect();
        places.push(format!("({})", of_row.join(", ")));
    }
    let sql = format!(
        "INSERT INTO {} ({}) VALUES {}",
        table.name,
        columns.join(", "),
        places.join(", ")
    );
    // The text has a NULL wherever nothing is, so that it is hardly ever the same again.
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for (_, value) in rows.iter().flatten() {
        query = match value {
            Value::Nothing => query,
            Value::Number(number) => query.bind(*number),
            Value::Text(text) => query.bind(text.clone()),
        };
    }
    query.execute(&mut **into).await?;
    Ok(())
}

/// What stands for a value: a NULL has no type that both databases would agree on.
fn place(value: &Value, number: &mut u32) -> String {
    if *value == Value::Nothing {
        return "NULL".to_owned();
    }
    *number += 1;
    format!("${number}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn the_list_has_every_table_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = Store::open(path.to_str().unwrap()).await.unwrap();
        let listed: BTreeSet<(String, String)> = TABLES
            .iter()
            .map(|table| (table.name.to_owned(), table.key.join(", ")))
            .collect();
        let names = "SELECT t.name AS name, k.name AS part \
            FROM sqlite_master t JOIN pragma_table_info(t.name) k ON k.pk > 0 \
            WHERE t.type = 'table' AND t.name <> 'schema_version' ORDER BY t.name, k.pk";
        let rows = sqlx::query(names).fetch_all(store.database.read()).await;
        let mut keys: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for found in rows.unwrap() {
            let key = keys.entry(row::text(&found, "name").unwrap()).or_default();
            key.push(row::text(&found, "part").unwrap());
        }
        let found = keys.into_iter().map(|(name, key)| (name, key.join(", ")));
        assert_eq!(found.collect::<BTreeSet<_>>(), listed);
    }
}
