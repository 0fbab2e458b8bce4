//! Why the store could not do something, in words that a person can act on.

use std::path::PathBuf;

use crate::AddressError;
use crate::address::Dialect;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a database address that can be used.
    #[error("the database address cannot be used: {0}")]
    Address(#[from] AddressError),
    /// The folder for the database is missing or not writable.
    #[error(
        "cannot write {path}: its folder must exist and belong to the controller's user \
         (install -d -o xiezhi-controller -m 0700 FOLDER)"
    )]
    Folder {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a database, or is damaged.
    #[error("the file is not a readable database: restore it from a backup, or move it away")]
    NotADatabase(#[source] sqlx::Error),
    /// The database may be read but not written.
    #[error(
        "the database cannot be written: check its owner and mode, and how its disk is mounted; of \
         PostgreSQL servers name the primary, not a standby"
    )]
    ReadOnly(#[source] sqlx::Error),
    /// The schema was made by a newer release.
    #[error(
        "the database has schema {found}, this program knows up to {known}: \
         start the release that wrote it, or a newer one"
    )]
    NewerSchema {
        /// Schema of the database.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// Another program holds the database.
    #[error("the database is held by another program: stop the other controller, then try again")]
    Locked(#[source] sqlx::Error),
    /// The database server does not answer. Whether a change that was under way is stored is not
    /// known.
    #[error(
        "the database server is away: see that it runs and can be reached (a running controller goes \
         on by itself)"
    )]
    Away(#[source] sqlx::Error),
    /// The database server could not prove who it is.
    #[error(
        "the database server is not the one that the address names, or its certificate is from an \
         authority that this machine does not know: name that authority's certificate with \
         sslrootcert=/path/to/ca.pem"
    )]
    Untrusted(#[source] sqlx::Error),
    /// The database server does not let this user in, or not do its work.
    #[error(
        "the database server refuses this user: check the user, its password \
         (`database_password_file`), pg_hba.conf, and that the user owns the database \
         (CREATE DATABASE xiezhi OWNER xiezhi)"
    )]
    Refused(#[source] sqlx::Error),
    /// There is no such database on the server.
    #[error(
        "there is no such database on the server: make it with \
         CREATE DATABASE xiezhi OWNER xiezhi ENCODING 'UTF8' TEMPLATE template0"
    )]
    NoDatabase(#[source] sqlx::Error),
    /// The server's database cannot hold Chinese.
    #[error(
        "the database has the encoding {0}: make one with \
         CREATE DATABASE xiezhi OWNER xiezhi ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// The server may lose what it has confirmed.
    #[error(
        "the database server runs with {0} = off and would lose confirmed data in a power cut: set \
         {0} = on in postgresql.conf"
    )]
    NotDurable(&'static str),
    /// Another controller works with the database.
    #[error(
        "another controller works with this database: stop it first (the lock of one whose machine \
         or line failed ends by itself within half a minute)"
    )]
    SecondController,
    /// Another controller has worked with the database since this one did.
    #[error(
        "another controller has worked with this database in the meantime: this one must be started \
         again"
    )]
    Superseded,
    /// The disk is full. Nothing was stored; what was confirmed before is safe.
    #[error(
        "the disk under the database is full: free space and try again (a running controller goes on \
         by itself)"
    )]
    Full(#[source] sqlx::Error),
    /// The thing to be changed is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// The site is out of use.
    #[error("{0} is retired: restore it first, or choose another site")]
    Retired(String),
    /// A thing with this name is there already.
    #[error("there is already a {0}")]
    Exists(String),
    /// The password that a request rests on is not the account's any more.
    #[error("the account's password was changed meanwhile: sign in again")]
    PasswordChanged,
    /// A value that this program could not have written, or will not.
    #[error("impossible value in the database: {0}")]
    Impossible(String),
    /// A store that was to receive another's content has some of its own.
    #[error(
        "the target is in use, its table {0} has rows: name an empty database, or a file that is not \
         there yet"
    )]
    NotEmpty(&'static str),
    /// What was copied is not what is there now.
    #[error(
        "the copy's table {0} differs from the source: do not use the copy, empty the target and copy \
         again"
    )]
    Differs(&'static str),
    /// The disk under an SQLite file does not read or write.
    #[error(
        "the disk under the database does not read or write: look into the system's log (dmesg) and at \
         the disk, and copy the data folder away before anything else"
    )]
    Disk(#[source] sqlx::Error),
    /// An SQLite file cannot be opened.
    #[error(
        "the database file cannot be opened: see that its folder is there, belongs to the \
         controller's user, and that files may still be opened (ulimit -n)"
    )]
    Unopened(#[source] sqlx::Error),
    /// Anything else that the database reports.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// SQLite's result codes that a person can do something about: <https://sqlite.org/rescode.html>.
mod sqlite {
    pub(super) const BUSY: i64 = 5;
    pub(super) const LOCKED: i64 = 6;
    pub(super) const READONLY: i64 = 8;
    pub(super) const IOERR: i64 = 10;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const FULL: i64 = 13;
    pub(super) const CANTOPEN: i64 = 14;
    pub(super) const NOTADB: i64 = 26;
    /// The index of the write-ahead log could not grow, which happens on a full disk only.
    pub(super) const IOERR_SHMSIZE: i64 = 4874;
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => return Self::Locked(error),
            // How rustls tells of a certificate.
            sqlx::Error::Io(inner) if inner.kind() == std::io::ErrorKind::InvalidData => {
                return Self::Untrusted(error);
            }
            sqlx::Error::Io(_) => return Self::Away(error),
            sqlx::Error::Tls(_) => return Self::Untrusted(error),
            _ => {}
        }
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .unwrap_or_default();
        match code.as_ref() {
            // PostgreSQL's: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
            "53100" => Self::Full(error),
            "55P03" | "40001" | "40P01" => Self::Locked(error),
            "25006" => Self::ReadOnly(error),
            "28000" | "28P01" | "42501" | "3F000" => Self::Refused(error),
            "3D000" => Self::NoDatabase(error),
            // Shutting down, crashed, starting, sessions ended by an administrator, none left.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" => Self::Away(error),
            code if code.len() == 5 && code.starts_with("08") => Self::Away(error),
            // PostgreSQL's codes have five characters, SQLite's extended ones at most four digits.
            code => match code.parse::<i64>() {
                Ok(number) if code.len() < 5 => from_sqlite(number, error),
                _ => Self::Database(error),
            },
        }
    }
}

fn from_sqlite(code: i64, error: sqlx::Error) -> StoreError {
    if code == sqlite::IOERR_SHMSIZE {
        return StoreError::Full(error);
    }
    // The low byte is the primary code, the rest says more about it.
    match code & 0xff {
        sqlite::BUSY | sqlite::LOCKED => StoreError::Locked(error),
        sqlite::READONLY => StoreError::ReadOnly(error),
        sqlite::CORRUPT | sqlite::NOTADB => StoreError::NotADatabase(error),
        sqlite::FULL => StoreError::Full(error),
        sqlite::IOERR => StoreError::Disk(error),
        sqlite::CANTOPEN => StoreError::Unopened(error),
        _ => StoreError::Database(error),
    }
}

impl StoreError {
    /// The same, where a file cannot be what only a server can.
    pub(crate) fn of(self, dialect: Dialect) -> Self {
        match (dialect, self) {
            (Dialect::Sqlite, Self::Away(error) | Self::Untrusted(error)) => Self::Unopened(error),
            (_, error) => error,
        }
    }

    /// Whether trying again later, without changing anything, may help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Full(_) | Self::Locked(_) | Self::Away(_) | Self::SecondController
        )
    }
}
