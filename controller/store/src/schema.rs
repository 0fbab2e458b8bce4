//! Numbered migrations, each applied once and in its own transaction.
//!
//! A migration that was released is never edited; a change is the next number. sqlx's own migrator
//! is not used because its `Any` face cannot say "this database is from a newer release" as a
//! thing of its own, and because the text differs by a few words between the two databases.

use sqlx::{AssertSqlSafe, Row as _};

use crate::StoreError;
use crate::address::Dialect;
use crate::database::Database;

/// All migrations, oldest first; the number is the position, from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_event_batches.sql"),
    include_str!("../migrations/0003_api_tokens.sql"),
    include_str!("../migrations/0004_evidence.sql"),
    include_str!("../migrations/0005_byte_order.sql"),
    include_str!("../migrations/0006_people.sql"),
    include_str!("../migrations/0007_register.sql"),
    include_str!("../migrations/0008_named_requests.sql"),
    include_str!("../migrations/0009_sites.sql"),
    include_str!("../migrations/0010_event_counts.sql"),
    include_str!("../migrations/0011_register_search.sql"),
    include_str!("../migrations/0012_proof.sql"),
    include_str!("../migrations/0013_views.sql"),
    include_str!("../migrations/0014_gone_sites.sql"),
    include_str!("../migrations/0015_devices.sql"),
    include_str!("../migrations/0016_own_tokens.sql"),
    include_str!("../migrations/0017_token_use.sql"),
    include_str!("../migrations/0018_long_lists.sql"),
];

const MAKE_VERSION: &str =
    "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)";

/// Brings the schema up to date.
pub(crate) async fn migrate(database: &Database) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    loop {
        let found = version(database).await?;
        if found > known {
            return Err(StoreError::NewerSchema { found, known });
        }
        let next = usize::try_from(found)
            .ok()
            .and_then(|done| MIGRATIONS.get(done));
        let Some(migration) = next else { return Ok(()) };
        apply(database, found, migration).await?;
    }
}

/// The newest migration that was applied; 0 for an empty database.
async fn version(database: &Database) -> Result<i64, StoreError> {
    // A plain transaction: the table that the write lock may need is made here.
    let mut connection = database.plain_writer().await?;
    let make = match database.dialect() {
        Dialect::Sqlite => MAKE_VERSION.to_owned(),
        // Two servers' sessions that make one table at once fail on each other; both statements are
        // one transaction.
        Dialect::Postgres => format!("SELECT pg_advisory_xact_lock(1481252902); {MAKE_VERSION}"),
    };
    sqlx::raw_sql(AssertSqlSafe(make))
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version")
        .fetch_one(&mut *connection)
        .await?;
    Ok(row.try_get("version")?)
}

/// Applies the migration after `found`, unless another process was faster.
async fn apply(database: &Database, found: i64, migration: &str) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version")
        .fetch_one(&mut *transaction)
        .await?;
    if row.try_get::<i64, _>("version")? != found {
        return Ok(());
    }
    let text = for_dialect(migration, database.dialect());
    sqlx::raw_sql(AssertSqlSafe(text))
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
        .bind(found + 1)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// First line of a migration that SQLite has no need of.
const POSTGRES_ONLY: &str = "-- PostgreSQL only";
/// First line of a migration that PostgreSQL has no need of.
const SQLITE_ONLY: &str = "-- SQLite only";

/// On SQLite only `INTEGER PRIMARY KEY` is the row's own number; any other type would keep a second
/// index for it. On PostgreSQL every text has the byte order that SQLite's have.
fn for_dialect(migration: &str, dialect: Dialect) -> String {
    let postgres_only = migration.starts_with(POSTGRES_ONLY);
    match dialect {
        Dialect::Sqlite if postgres_only => "SELECT 1".to_owned(),
        Dialect::Postgres if migration.starts_with(SQLITE_ONLY) => "SELECT 1".to_owned(),
        Dialect::Sqlite => migration.replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY"),
        Dialect::Postgres if postgres_only => migration.to_owned(),
        Dialect::Postgres => migration.replace(" TEXT", " TEXT COLLATE \"C\""),
    }
}
