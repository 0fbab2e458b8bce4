//! Statements with an end: whoever asks a server that fell silent is told so.
//!
//! A cut line answers nothing for as long as the kernel repeats its packets, a quarter of an hour. Here
//! every statement, and every commit, has a limit on a server; an SQLite file needs none. Rows are
//! collected before they are handed on: nothing of this crate reads more than a page at a time.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyConnection, Either, Error, Execute, Executor, SqlStr, Transaction};

use crate::StoreError;
use crate::database::Database;

type Step = Either<AnyQueryResult, AnyRow>;

/// Waits for `work`, at most `limit`.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let Some(limit) = limit else {
        return work.await;
    };
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(silent(limit)),
    }
}

/// The error for a server that said nothing.
pub(crate) fn silent(limit: Duration) -> Error {
    let said = format!("no answer within {} s", limit.as_secs());
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, said))
}

async fn all_steps<'q, E>(
    connection: &mut AnyConnection,
    query: E,
    limit: Option<Duration>,
) -> Result<Vec<Step>, Error>
where
    E: 'q + Execute<'q, Any>,
{
    within(limit, connection.fetch_many(query).try_collect()).await
}

fn replayed<'e>(
    steps: impl Future<Output = Result<Vec<Step>, Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, Error>> {
    let steps = async move { Ok::<_, Error>(stream::iter(steps.await?.into_iter().map(Ok))) };
    steps.into_stream().try_flatten().boxed()
}

/// One statement that only reads, on any of the reading connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'d>(pub(crate) &'d Database);

impl<'d> Executor<'d> for Reader<'d> {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, Error>>
    where
        'd: 'e,
        E: 'q + Execute<'q, Any>,
    {
        replayed(async move {
            let mut connection = self.0.reading_connection().await?;
            all_steps(&mut connection, query, self.0.read_limit()).await
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'd: 'e,
        E: 'q + Execute<'q, Any>,
    {
        Box::pin(async move {
            let mut connection = self.0.reading_connection().await?;
            within(self.0.read_limit(), connection.fetch_optional(query)).await
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'd: 'e,
    {
        Box::pin(async move {
            let mut connection = self.0.reading_connection().await?;
            connection.prepare_with(sql, parameters).await
        })
    }
}

/// A transaction that holds the write lock. Dropped without [`Write::commit`] it changes nothing.
#[derive(Debug)]
pub(crate) struct Write(Bounded);

/// The connection of a [`Write`]: runs statements.
pub(crate) struct Bounded {
    transaction: Transaction<'static, Any>,
    limit: Option<Duration>,
}

impl Write {
    pub(crate) fn new(transaction: Transaction<'static, Any>, limit: Option<Duration>) -> Self {
        Self(Bounded { transaction, limit })
    }

    /// Makes it durable. After an error on a server nobody knows whether it is: whoever does it again
    /// must find out, as the exactly-once tables do.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(within(self.0.limit, self.0.transaction.commit()).await?)
    }

    /// Takes back what it changed.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        Ok(within(self.0.limit, self.0.transaction.rollback()).await?)
    }
}

impl Deref for Write {
    type Target = Bounded;

    fn deref(&self) -> &Bounded {
        &self.0
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Bounded {
        &mut self.0
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bounded").finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut Bounded {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        replayed(async move { all_steps(&mut self.transaction, query, self.limit).await })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        Box::pin(within(self.limit, async move {
            self.transaction.fetch_optional(query).await
        }))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move { self.transaction.prepare_with(sql, parameters).await })
    }
}
