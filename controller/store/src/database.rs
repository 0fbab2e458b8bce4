//! Opening the database: address, connections, the write lock, schema.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Executor as _, Transaction,
};

use crate::StoreError;
use crate::schema;

/// How long opening goes on while another program holds the file.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Wait between two attempts to open.
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// Connections that only read. Each is a thread and about 2 MB of page cache.
const READERS: u32 = 4;

/// How long a writer waits for its turn before it reports that the database is held.
const WAIT: Duration = Duration::from_secs(10);

/// What every connection sets; none of it touches the disk. `busy_timeout` covers another process
/// that writes; such transactions are short.
const SQLITE_SETTINGS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// Which database is behind the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The connections: one that writes, a few that read.
#[derive(Debug)]
pub(crate) struct Database {
    dialect: Dialect,
    writer: AnyPool,
    readers: AnyPool,
}

impl Database {
    pub(crate) async fn open(address: &str) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let (dialect, url) = parse(address)?;
        // Two programs that open a new file at once: while one switches it to the write-ahead log the
        // other is told "locked" at once, whatever its timeout. A moment later it is not.
        let deadline = tokio::time::Instant::now() + OPEN_WITHIN;
        loop {
            match Self::open_once(dialect, &url).await {
                Err(StoreError::Locked(_)) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(OPEN_RETRY).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn open_once(dialect: Dialect, url: &str) -> Result<Self, StoreError> {
        try_once(dialect, url).await?;
        let writer = options(dialect, 1, false).connect_lazy(url)?;
        let readers = options(dialect, READERS, true).connect_lazy(url)?;
        let database = Self {
            dialect,
            writer,
            readers,
        };
        schema::migrate(&database).await?;
        Ok(database)
    }

    /// A connection for one statement that only reads.
    pub(crate) const fn read(&self) -> &AnyPool {
        &self.readers
    }

    /// Begins a transaction that holds the write lock from the start, so that what it reads cannot
    /// change before it writes, in this process or another.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        match self.dialect {
            Dialect::Sqlite => Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?),
            Dialect::Postgres => {
                let mut transaction = self.writer.begin().await?;
                transaction
                    .execute("LOCK TABLE schema_version IN EXCLUSIVE MODE")
                    .await?;
                Ok(transaction)
            }
        }
    }

    /// The writing connection without a transaction, for what comes before the schema is there.
    pub(crate) async fn plain_writer(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(self.writer.acquire().await?)
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Connects without a pool, which would try again and again and then only say that it took too long.
async fn try_once(dialect: Dialect, url: &str) -> Result<(), StoreError> {
    let mut connection = AnyConnection::connect(url).await?;
    prepare(&mut connection, dialect, false).await?;
    if dialect == Dialect::Sqlite {
        // Stays with the file.
        sqlx::raw_sql("PRAGMA journal_mode = WAL;")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

fn options(dialect: Dialect, connections: u32, read_only: bool) -> sqlx::pool::PoolOptions<Any> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A connection to a file cannot be lost; one to a server can.
        .test_before_acquire(dialect == Dialect::Postgres)
        .after_connect(move |connection, _| Box::pin(prepare(connection, dialect, read_only)))
        .after_release(|connection, _| {
            // A full disk makes SQLite roll back by itself. The driver does not notice and would
            // refuse every later transaction on this connection: a fresh one takes its place.
            Box::pin(async move {
                // Waits for a rollback that is still on its way to the connection's thread.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

async fn prepare(
    connection: &mut AnyConnection,
    dialect: Dialect,
    read_only: bool,
) -> sqlx::Result<()> {
    if dialect == Dialect::Sqlite {
        let more = if read_only {
            "PRAGMA query_only = ON;"
        } else {
            ""
        };
        let settings = AssertSqlSafe(format!("{SQLITE_SETTINGS}{more}"));
        sqlx::raw_sql(settings).execute(connection).await?;
    }
    Ok(())
}

/// Splits the kinds of address, and makes the file of an SQLite database if it is not there.
fn parse(address: &str) -> Result<(Dialect, String), StoreError> {
    let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
    if matches!(scheme, "postgres" | "postgresql") {
        if cfg!(feature = "postgres") {
            return Ok((Dialect::Postgres, address.to_owned()));
        }
        let hint = ", or use a build of the controller that speaks to PostgreSQL";
        return Err(StoreError::Address {
            url: format!("{scheme}://…"),
            hint,
        });
    }
    let path = Path::new(address.strip_prefix("sqlite://").unwrap_or(address));
    let (true, Some(text)) = (path.is_absolute(), path.to_str()) else {
        return Err(StoreError::Address {
            url: address.to_owned(),
            hint: "",
        });
    };
    make_private_file(path)?;
    let escaped = text
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    Ok((Dialect::Sqlite, format!("sqlite://{escaped}")))
}

/// The file is for the controller's user alone: it holds password digests. SQLite gives the same
/// mode to the files beside it.
fn make_private_file(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let made = options.open(path);
    made.map(drop).map_err(|source| StoreError::Folder {
        path: path.to_owned(),
        source,
    })
}
