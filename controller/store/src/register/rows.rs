//! Rows of the register: reading and writing them, on a reading connection or in a transaction.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use xiezhi_model::{
    AuditEntry, Field, FieldChange, Item, ItemChange, RegisterKind, SiteId, Values,
};

use crate::StoreError;
use crate::database::Database;
use crate::row::{self, Write};

/// Rows that one statement writes: 200 × 12 values are within what both databases take.
const ROWS_AT_ONCE: usize = 200;

const ITEM_COLUMNS: &str = "id, kind, site_id, code, state, room, owner, field_values, search, \
                            created_ms, changed_ms, version";

/// What is bound to a statement.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Number(i64),
    Text(String),
}

/// Where statements run.
pub(super) enum Source<'a> {
    /// Each on any connection that reads.
    Reading(&'a Database),
    /// All in one transaction.
    Writing(&'a mut Write),
}

impl Source<'_> {
    pub(super) async fn rows(
        &mut self,
        sql: String,
        values: Vec<Value>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        // Lists of sites and codes stand in the text, which is hardly ever the same again.
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        Ok(match self {
            Self::Reading(database) => query.fetch_all(database.read()).await?,
            Self::Writing(write) => query.fetch_all(&mut ***write).await?,
        })
    }

    /// Items that a condition names; its values are `$1` and so on.
    pub(super) async fn items(
        &mut self,
        condition: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Item>, StoreError> {
        let columns = "id, kind, site_id, field_values, created_ms, changed_ms, version";
        let sql = format!("SELECT {columns} FROM register_items WHERE {condition}");
        let rows = self.rows(sql, values).await?;
        rows.iter().map(item_from).collect()
    }

    /// How many items in use name this room or member of staff.
    pub(super) async fn count_namers(&mut self, item: &Item) -> Result<i64, StoreError> {
        let Some(column) = namer_column(item.kind) else {
            return Ok(0);
        };
        let sql = format!(
            "SELECT COUNT(*) AS count FROM register_items \
             WHERE site_id = $1 AND {column} = $2 AND {column} <> '' AND state <> 'retired'"
        );
        let code = Value::Text(item.value(Field::Code).to_owned());
        let rows = self.rows(sql, vec![Value::Number(item.site.0), code]);
        let rows = rows.await?;
        rows.first()
            .map_or(Ok(0), |found| row::number(found, "count"))
    }
}

/// The column in which others name an item of this kind.
const fn namer_column(kind: RegisterKind) -> Option<&'static str> {
    match kind {
        RegisterKind::Room => Some("room"),
        RegisterKind::Staff => Some("owner"),
        RegisterKind::Asset => None,
    }
}

/// Those of some items of a kind that items in use name, each with how many do: some statements a site,
/// however many items.
pub(super) async fn namers_of<'i>(
    source: &mut Source<'_>,
    kind: RegisterKind,
    items: impl IntoIterator<Item = &'i Item>,
) -> Result<BTreeMap<(SiteId, String), i64>, StoreError> {
    let mut counts = BTreeMap::new();
    let Some(column) = namer_column(kind) else {
        return Ok(counts);
    };
    let mut by_site: BTreeMap<SiteId, Vec<&str>> = BTreeMap::new();
    for item in items {
        let codes = by_site.entry(item.site).or_default();
        codes.push(item.value(Field::Code));
    }
    for (site, codes) in by_site {
        for some in codes.chunks(ROWS_AT_ONCE) {
            let places: Vec<String> = (2..some.len() + 2)
                .map(|place| format!("${place}"))
                .collect();
            let sql = format!(
                "SELECT {column} AS code, COUNT(*) AS count FROM register_items WHERE site_id = $1 \
                 AND {column} IN ({}) AND {column} <> '' AND state <> 'retired' GROUP BY {column}",
                places.join(", ")
            );
            let mut values = vec![Value::Number(site.0)];
            values.extend(some.iter().map(|code| Value::Text((*code).to_owned())));
            for found in source.rows(sql, values).await? {
                let code = row::text(&found, "code")?;
                counts.insert((site, code), row::number(&found, "count")?);
            }
        }
    }
    Ok(counts)
}

/// What in use names an item: kind, number, code and name of the first of them.
pub(super) async fn names_of(
    source: &mut Source<'_>,
    item: &Item,
    most: usize,
) -> Result<Vec<(RegisterKind, i64, String, String)>, StoreError> {
    let Some(column) = namer_column(item.kind) else {
        return Ok(Vec::new());
    };
    let condition = format!(
        "site_id = $1 AND {column} = $2 AND {column} <> '' AND state <> 'retired' \
         ORDER BY kind, code LIMIT {most}"
    );
    let code = Value::Text(item.value(Field::Code).to_owned());
    let values = vec![Value::Number(item.site.0), code];
    let found = source.items(&condition, values).await?;
    let names = found.into_iter().map(|one| {
        let text = |field| one.value(field).to_owned();
        (one.kind, one.id, text(Field::Code), text(Field::Name))
    });
    Ok(names.collect())
}

pub(super) fn item_from(found: &AnyRow) -> Result<Item, StoreError> {
    let kind = row::number(found, "kind")?;
    let impossible = || StoreError::Impossible(format!("kind {kind} of the register"));
    let stored = row::json_map(found, "field_values")?;
    // A field that a later release had is left out, not an error.
    let values = stored.into_iter();
    let values = values.filter_map(|(word, text)| Some((Field::from_word(&word)?, text)));
    Ok(Item {
        id: row::number(found, "id")?,
        kind: RegisterKind::from_number(kind).ok_or_else(impossible)?,
        site: SiteId(row::number(found, "site_id")?),
        values: values.collect(),
        created_ms: row::number(found, "created_ms")?,
        changed_ms: row::number(found, "changed_ms")?,
        version: row::number(found, "version")?,
    })
}

/// Values as they can be stored.
pub(super) fn storable(values: &Values) -> Values {
    let texts = values
        .iter()
        .map(|(&field, text)| (field, row::storable(text)));
    texts.collect()
}

fn values_text(values: &Values) -> Result<String, StoreError> {
    let words = values
        .iter()
        .map(|(field, text)| (field.word().to_owned(), text.clone()));
    row::json_of(&words.collect())
}

/// What a search looks into: texts that people type, line by line so that none runs into the next.
fn search_text(values: &Values) -> String {
    use Field as F;
    let fields = [
        F::Code,
        F::Name,
        F::Model,
        F::Serial,
        F::Room,
        F::Owner,
        F::Title,
        F::Phone,
        F::Email,
        F::Note,
    ];
    let texts = fields.iter().filter_map(|field| values.get(field));
    let texts: Vec<String> = texts.map(|text| text.to_lowercase()).collect();
    texts.join("\n")
}

pub(super) async fn insert_items(write: &mut Write, items: &[Item]) -> Result<(), StoreError> {
    for some in items.chunks(ROWS_AT_ONCE) {
        let places = row::placeholders(some.len(), 12);
        let sql = format!("INSERT INTO register_items ({ITEM_COLUMNS}) VALUES {places}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for item in some {
            query = query
                .bind(item.id)
                .bind(item.kind.number())
                .bind(item.site.0)
                .bind(item.value(Field::Code).to_owned())
                .bind(item.value(Field::State).to_owned())
                .bind(item.value(Field::Room).to_owned())
                .bind(item.value(Field::Owner).to_owned())
                .bind(values_text(&item.values)?)
                .bind(search_text(&item.values))
                .bind(item.created_ms)
                .bind(item.changed_ms)
                .bind(item.version);
        }
        query.execute(&mut **write).await?;
    }
    Ok(())
}

pub(super) async fn update_item(write: &mut Write, item: &Item) -> Result<(), StoreError> {
    let sql = "UPDATE register_items SET site_id = $2, state = $3, room = $4, owner = $5, \
               field_values = $6, search = $7, changed_ms = $8, version = $9 WHERE id = $1";
    sqlx::query(sql)
        .bind(item.id)
        .bind(item.site.0)
        .bind(item.value(Field::State).to_owned())
        .bind(item.value(Field::Room).to_owned())
        .bind(item.value(Field::Owner).to_owned())
        .bind(values_text(&item.values)?)
        .bind(search_text(&item.values))
        .bind(item.changed_ms)
        .bind(item.version)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// An entry of the history in the making.
#[derive(Debug)]
pub(super) struct NewChange {
    pub(super) id: i64,
    pub(super) item: i64,
    /// The import and the row of its spreadsheet.
    pub(super) import: Option<(i64, u32)>,
    pub(super) action: &'static str,
    pub(super) changes: Vec<FieldChange>,
}

pub(super) async fn insert_changes(
    write: &mut Write,
    changes: &[NewChange],
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    let actor = audit.actor.to_string();
    // Whether an import stands behind them is the same for all: a NULL has no type of its own.
    let (import, place) = match changes.first().and_then(|change| change.import) {
        Some((import, _)) => (", import_id", format!(", {import}")),
        None => ("", String::new()),
    };
    for some in changes.chunks(ROWS_AT_ONCE) {
        let places = row::placeholders(some.len(), 7).replace(')', &format!("{place})"));
        let sql = format!(
            "INSERT INTO register_changes (id, item_id, line, time_ms, actor, action, changes{import}) \
             VALUES {places}"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for change in some {
            query = query
                .bind(change.id)
                .bind(change.item)
                .bind(change.import.map_or(0, |(_, line)| i64::from(line)))
                .bind(audit.time_ms)
                .bind(actor.clone())
                .bind(change.action)
                .bind(changes_text(&change.changes)?);
        }
        query.execute(&mut **write).await?;
    }
    Ok(())
}

/// Name of the site among the fields of a change.
const SITE: &str = "site";

fn changes_text(changes: &[FieldChange]) -> Result<String, StoreError> {
    let told: Vec<(&str, &str, &str)> = changes
        .iter()
        .map(|change| {
            let word = change.field.map_or(SITE, Field::word);
            (word, change.before.as_str(), change.after.as_str())
        })
        .collect();
    serde_json::to_string(&told).map_err(|error| StoreError::Impossible(error.to_string()))
}

pub(super) fn changes_from(found: &AnyRow) -> Result<Vec<FieldChange>, StoreError> {
    let text = row::text(found, "changes")?;
    let told: Vec<(String, String, String)> = serde_json::from_str(&text)
        .map_err(|error| StoreError::Impossible(format!("changes: {error}")))?;
    let changes = told.into_iter().filter_map(|(word, before, after)| {
        let field = Field::from_word(&word);
        (field.is_some() || word == SITE).then_some(FieldChange {
            field,
            before,
            after,
        })
    });
    Ok(changes.collect())
}

pub(super) fn change_from(found: &AnyRow) -> Result<ItemChange, StoreError> {
    Ok(ItemChange {
        id: row::number(found, "id")?,
        time_ms: row::number(found, "time_ms")?,
        actor: row::text(found, "actor")?,
        action: row::text(found, "action")?,
        import: row::optional(found, "import_id")?,
        changes: changes_from(found)?,
    })
}

/// Items by their codes.
pub(super) type ByCode = BTreeMap<(SiteId, String), Item>;

/// The items of a kind with these codes, wherever they are.
pub(super) async fn by_codes<'c>(
    source: &mut Source<'_>,
    kind: RegisterKind,
    codes: impl IntoIterator<Item = (SiteId, &'c str)>,
) -> Result<ByCode, StoreError> {
    let mut by_site: BTreeMap<SiteId, Vec<&str>> = BTreeMap::new();
    for (site, code) in codes {
        by_site.entry(site).or_default().push(code);
    }
    let mut found = ByCode::new();
    for (site, codes) in by_site {
        for some in codes.chunks(ROWS_AT_ONCE) {
            let places: Vec<String> = (3..some.len() + 3)
                .map(|place| format!("${place}"))
                .collect();
            let condition = format!(
                "kind = $1 AND site_id = $2 AND code IN ({})",
                places.join(", ")
            );
            let mut values = vec![Value::Number(kind.number()), Value::Number(site.0)];
            values.extend(some.iter().map(|code| Value::Text(row::storable(code))));
            for item in source.items(&condition, values).await? {
                let code = item.value(Field::Code).to_owned();
                found.insert((site, code), item);
            }
        }
    }
    Ok(found)
}
