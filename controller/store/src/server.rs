//! What a PostgreSQL server needs that an SQLite file does not: limits, settings of a session, and a
//! look at how the server is set up before anything is entrusted to it.

use std::time::Duration;

use sqlx::{AnyConnection, Row as _};

use crate::StoreError;
use crate::bounded::within;
use crate::database::{Opener, Purpose};

/// Longest wait for a connection, and for a sign of life of one.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Longest wait for a statement or a commit that writes. Above the server's `lock_timeout`, so that
/// waiting for a lock has its own answer.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for the rows of one statement. Above the server's `statement_timeout`.
pub(crate) const READ_LIMIT: Duration = Duration::from_secs(65);

/// What every session sets.
///
/// The keep-alives are for the server's side: a controller whose machine lost power is forgotten,
/// with its locks, after 25 s and not after two hours. On a socket they mean nothing and do no harm.
const SETTINGS: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
    SET tcp_keepalives_count = 3; SET tcp_user_timeout = 25000; \
    SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = '60s'; \
    SET client_min_messages = 'warning';";

/// A commit must be on disk when it returns, whatever the server's default is. Stronger settings stay.
const WRITER_SETTINGS: &str = "SET lock_timeout = '10s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off';";

const READER_SETTINGS: &str = "SET default_transaction_read_only = on;";

/// Sets a fresh session up.
pub(crate) async fn prepare(
    connection: &mut AnyConnection,
    purpose: Purpose,
) -> Result<(), sqlx::Error> {
    let more = match purpose {
        Purpose::Writing => WRITER_SETTINGS,
        Purpose::Reading => READER_SETTINGS,
    };
    for settings in [SETTINGS, more] {
        let set = sqlx::raw_sql(settings).execute(&mut *connection);
        within(Some(CONNECT_LIMIT), set).await?;
    }
    Ok(())
}

/// Whether the server can keep what is promised to agents. Commands are less strict: they must not
/// stop working when the controller may not start.
pub(crate) async fn check(
    connection: &mut AnyConnection,
    opener: Opener,
) -> Result<(), StoreError> {
    let encoding = setting(connection, "server_encoding").await?;
    if encoding != "UTF8" {
        return Err(StoreError::Encoding(encoding));
    }
    if opener == Opener::Controller {
        for name in ["fsync", "full_page_writes"] {
            if setting(connection, name).await? == "off" {
                return Err(StoreError::NotDurable(name));
            }
        }
    }
    Ok(())
}

async fn setting(connection: &mut AnyConnection, name: &str) -> Result<String, StoreError> {
    let query = sqlx::query("SELECT current_setting($1) AS value").bind(name);
    let row = within(Some(CONNECT_LIMIT), query.fetch_one(connection)).await?;
    Ok(row.try_get("value")?)
}
