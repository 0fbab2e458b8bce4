//! Opening the database: connections, the write lock, schema. What only a PostgreSQL server needs is
//! in `server.rs`.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _,
};
use tokio::sync::watch;

use crate::address::{Address, Dialect};
use crate::bounded::{Reader, Write, silent, within};
use crate::controller_lock::ControllerLock;
use crate::{StoreError, schema, server};

/// How long opening goes on while another program holds the database.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// The same while another controller does: one that ended a moment ago needs no longer.
const CONTROLLER_WITHIN: Duration = Duration::from_secs(3);

/// Wait between two attempts to open.
const OPEN_RETRY: Duration = Duration::from_millis(50);

/// Connections that only read. Each is a thread and about 2 MB of page cache.
const READERS: u32 = 4;

/// How long a writer waits for its turn before it reports that the database is held.
const WAIT: Duration = Duration::from_secs(10);

/// What every connection sets; none of it touches the disk. `busy_timeout` covers another process
/// that writes; such transactions are short.
const SQLITE_SETTINGS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// What opens the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opener {
    /// The running controller: there is one at a time.
    Controller,
    /// A command that works beside it.
    Command,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Writing,
    Reading,
}

/// The connections: one that writes, a few that read.
#[derive(Debug)]
pub(crate) struct Database {
    dialect: Dialect,
    options: AnyConnectOptions,
    writer: AnyPool,
    readers: AnyPool,
    lock: Option<ControllerLock>,
}

impl Database {
    pub(crate) async fn open(address: &Address, opener: Opener) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        if address.dialect() == Dialect::Sqlite {
            make_private_file(address.file())?;
        }
        // Two programs that open a new file at once: while one switches it to the write-ahead log the
        // other is told "locked" at once, whatever its timeout. A moment later it is not. And the
        // controller that ended a moment ago may still hold its lock.
        let started = tokio::time::Instant::now();
        loop {
            let outcome = Self::open_once(address, opener).await;
            let patience = match &outcome {
                Err(StoreError::Locked(_)) => OPEN_WITHIN,
                Err(StoreError::SecondController) => CONTROLLER_WITHIN,
                _ => return outcome,
            };
            if started.elapsed() > patience {
                return outcome;
            }
            tokio::time::sleep(OPEN_RETRY).await;
        }
    }

    async fn open_once(address: &Address, opener: Opener) -> Result<Self, StoreError> {
        let dialect = address.dialect();
        let options = address.options()?;
        let lock = match opener {
            Opener::Controller => Some(ControllerLock::new(address)?),
            Opener::Command => None,
        };
        try_once(dialect, &options, opener)
            .await
            .map_err(|error| error.of(dialect))?;
        let connected = lock.as_ref().map(ControllerLock::connections);
        let writer = pool(dialect, Purpose::Writing, connected).connect_lazy_with(options.clone());
        let readers = pool(dialect, Purpose::Reading, None).connect_lazy_with(options.clone());
        let database = Self {
            dialect,
            options,
            writer,
            readers,
            lock,
        };
        let prepared = database.prepare().await;
        if prepared.is_err() {
            database.close().await;
        }
        prepared.map(|()| database)
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        if let (Dialect::Postgres, Some(lock)) = (self.dialect, &self.lock) {
            let mut connection = self.plain_writer().await?;
            lock.take(&mut connection).await?;
        }
        schema::migrate(self).await?;
        if let (Dialect::Postgres, Some(lock)) = (self.dialect, &self.lock) {
            let mut write = self.write().await?;
            let turn = lock.count_turn(&mut write).await?;
            write.commit().await?;
            lock.set_turn(turn);
        }
        Ok(())
    }

    /// For one statement that only reads.
    pub(crate) const fn read(&self) -> Reader<'_> {
        Reader(self)
    }

    /// Longest wait for the rows of one statement.
    pub(crate) const fn read_limit(&self) -> Option<Duration> {
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(server::READ_LIMIT),
        }
    }

    pub(crate) async fn reading_connection(&self) -> Result<PoolConnection<Any>, sqlx::Error> {
        self.connection(&self.readers).await
    }

    /// Begins a transaction that holds the write lock from the start, so that what it reads cannot
    /// change before it writes, in this process or another.
    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        if self.dialect == Dialect::Sqlite {
            let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            return Ok(Write::new(transaction, None));
        }
        let limit = Some(server::WRITE_LIMIT);
        let mut connection = self.connection(&self.writer).await?;
        if let Some(lock) = &self.lock {
            lock.take(&mut connection).await?;
        }
        let transaction = sqlx::Transaction::begin(connection, None);
        let mut write = Write::new(within(limit, transaction).await?, limit);
        write
            .execute("LOCK TABLE schema_version IN EXCLUSIVE MODE")
            .await?;
        Ok(write)
    }

    /// The writing connection without a transaction, for what comes before the schema is there.
    pub(crate) async fn plain_writer(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(self.connection(&self.writer).await?)
    }

    /// Resolves when another controller has written since this one did: what this one remembers is no
    /// longer what is stored.
    pub(crate) fn superseded(&self) -> Option<watch::Receiver<bool>> {
        self.lock.as_ref().map(ControllerLock::superseded)
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A connection from `pool`. While a server is away the pool would try for as long as a writer
    /// may wait, and then only say that it took too long: one plain attempt says why, and at once.
    async fn connection(&self, pool: &AnyPool) -> Result<PoolConnection<Any>, sqlx::Error> {
        if self.dialect == Dialect::Sqlite {
            return pool.acquire().await;
        }
        if pool.size() == 0 {
            self.probe().await?;
        }
        match pool.acquire().await {
            Err(sqlx::Error::PoolTimedOut) => {
                self.probe().await?;
                Err(sqlx::Error::PoolTimedOut)
            }
            outcome => outcome,
        }
    }

    async fn probe(&self) -> Result<(), sqlx::Error> {
        let connection = connect(&self.options, Some(server::CONNECT_LIMIT)).await?;
        drop(tokio::time::timeout(server::CONNECT_LIMIT, connection.close()).await);
        Ok(())
    }
}

async fn connect(
    options: &AnyConnectOptions,
    limit: Option<Duration>,
) -> Result<AnyConnection, sqlx::Error> {
    within(limit, options.connect()).await
}

/// Connects without a pool, which would try again and again and then only say that it took too long.
async fn try_once(
    dialect: Dialect,
    options: &AnyConnectOptions,
    opener: Opener,
) -> Result<(), StoreError> {
    let limit = (dialect == Dialect::Postgres).then_some(server::CONNECT_LIMIT);
    let mut connection = connect(options, limit).await?;
    prepare(&mut connection, dialect, Purpose::Writing).await?;
    match dialect {
        // Stays with the file.
        Dialect::Sqlite => {
            sqlx::raw_sql("PRAGMA journal_mode = WAL;")
                .execute(&mut connection)
                .await?;
        }
        Dialect::Postgres => server::check(&mut connection, opener).await?,
    }
    connection.close().await?;
    Ok(())
}

fn pool(
    dialect: Dialect,
    purpose: Purpose,
    connected: Option<watch::Sender<u64>>,
) -> sqlx::pool::PoolOptions<Any> {
    let connections = match purpose {
        Purpose::Writing => 1,
        Purpose::Reading => READERS,
    };
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        // A connection to a file cannot be lost; one to a server can.
        .test_before_acquire(dialect == Dialect::Postgres)
        .after_connect(move |connection, _| {
            let connected = connected.clone();
            Box::pin(async move {
                prepare(connection, dialect, purpose).await?;
                if let Some(connected) = connected {
                    connected.send_modify(|number| *number += 1);
                }
                Ok(())
            })
        })
        .after_release(move |connection, _| {
            // A full disk makes SQLite roll back by itself. The driver does not notice and would
            // refuse every later transaction on this connection: a fresh one takes its place.
            Box::pin(async move {
                // Waits for a rollback that is still on its way to the connection's thread.
                let limit = (dialect == Dialect::Postgres).then_some(server::CONNECT_LIMIT);
                match limit {
                    None => connection.ping().await?,
                    Some(limit) => tokio::time::timeout(limit, connection.ping())
                        .await
                        .unwrap_or_else(|_| Err(silent(limit)))?,
                }
                Ok(!connection.is_in_transaction())
            })
        })
}

async fn prepare(
    connection: &mut AnyConnection,
    dialect: Dialect,
    purpose: Purpose,
) -> sqlx::Result<()> {
    if dialect == Dialect::Postgres {
        return server::prepare(connection, purpose).await;
    }
    let more = match purpose {
        Purpose::Reading => "PRAGMA query_only = ON;",
        Purpose::Writing => "",
    };
    let settings = AssertSqlSafe(format!("{SQLITE_SETTINGS}{more}"));
    sqlx::raw_sql(settings).execute(connection).await?;
    Ok(())
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
