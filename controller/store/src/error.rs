//! Why the store could not do something, in words that a person can act on.

use std::path::PathBuf;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a database address.
    #[error("{url:?} is not a database address: write sqlite:///absolute/path/to/file.db{hint}")]
    Address {
        /// What was given.
        url: String,
        /// What else may be the matter; empty or begins with a space.
        hint: &'static str,
    },
    /// The folder for the database is missing or not writable.
    #[error(
        "cannot write into {folder}: create it and give it to the controller's user \
         (install -d -o xiezhi -m 0700 {folder})"
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a database, or is damaged.
    #[error("{name} is not a readable database: restore it from a backup, or move it away")]
    NotADatabase {
        /// Which.
        name: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The database may be read but not written.
    #[error("{name} cannot be written: check its owner and mode, and that its disk is writable")]
    ReadOnly {
        /// Which.
        name: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
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
    #[error("the database is locked by another program: stop the other controller, then try again")]
    Locked(#[source] sqlx::Error),
    /// The disk is full. Nothing was stored; what was confirmed before is safe.
    #[error("the disk under the database is full: free space; work goes on by itself then")]
    Full(#[source] sqlx::Error),
    /// The thing to be changed is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// A thing with this name is there already.
    #[error("there is already a {0}")]
    Exists(String),
    /// A row that this program could not have written.
    #[error("the database holds an impossible value: {0}")]
    Impossible(String),
    /// Anything else that the database reports.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// Not written yet.
    #[error("unfinished")]
    Unfinished,
}
