//! One controller per database, held by what cannot outlive it.
//!
//! A controller remembers what it has read (hosts, sessions, revocations), so a second one on the same
//! database would make each of them wrong. An SQLite file has a lock file beside it, which the kernel
//! frees when the process ends. On a server the lock is an advisory one of the **writing session
//! itself**: whoever lost it cannot write either, because the session that could is gone. After a
//! reconnection the controller takes it again, and compares a count of turns: if another controller had
//! its turn in between, this one's memory is stale and it must end; its supervisor starts it afresh.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use sqlx::{AnyConnection, Row as _};
use tokio::sync::watch;

use crate::StoreError;
use crate::address::{Address, Dialect};
use crate::bounded::{Write, within};
use crate::{row, server};

/// First half of the advisory lock's name; the second is the schema's. "XZ" and the year.
const LOCK_NUMBER: i64 = 0x585a_2026;

const TAKE: &str =
    "SELECT pg_try_advisory_lock(CAST($1 AS INTEGER), hashtext(current_schema())) AS taken";

/// Counts a turn and tells its number. The row comes with the first controller on a server.
const COUNT_TURN: &str = "INSERT INTO counters (name, value) VALUES ('controller_turns', 1) \
    ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";

const TURN: &str = "SELECT value FROM counters WHERE name = 'controller_turns'";

/// The right to be the database's controller.
#[derive(Debug)]
pub(crate) struct ControllerLock {
    /// Of an SQLite file: locked while it is open.
    _file: Option<File>,
    /// How many writing sessions there have been; there is one at a time.
    connected: watch::Sender<u64>,
    state: Mutex<State>,
    superseded: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The writing session that holds the lock; 0 for none.
    held_by: u64,
    /// Which turn this controller has; 0 until it is counted.
    turn: i64,
}

impl ControllerLock {
    /// Takes the lock of a file; that of a server is taken with its first session.
    pub(crate) fn new(address: &Address) -> Result<Self, StoreError> {
        let file = match address.dialect() {
            Dialect::Sqlite => Some(lock_file(address)?),
            Dialect::Postgres => None,
        };
        Ok(Self {
            _file: file,
            connected: watch::Sender::new(0),
            state: Mutex::default(),
            superseded: watch::Sender::new(false),
        })
    }

    /// To be counted up by each new writing session.
    pub(crate) fn connections(&self) -> watch::Sender<u64> {
        self.connected.clone()
    }

    /// Turns true when another controller had its turn.
    pub(crate) fn superseded(&self) -> watch::Receiver<bool> {
        self.superseded.subscribe()
    }

    /// Makes sure that the writing session, which the caller holds, has the lock.
    pub(crate) async fn take(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let session = *self.connected.borrow();
        let State { held_by, turn } = self.state();
        if *self.superseded.borrow() {
            return Err(StoreError::Superseded);
        }
        if held_by == session {
            return Ok(());
        }
        let take = sqlx::query(TAKE)
            .bind(LOCK_NUMBER)
            .fetch_one(&mut *connection);
        let taken = within(Some(server::CONNECT_LIMIT), take).await?;
        if !taken.try_get::<bool, _>("taken")? {
            return Err(StoreError::SecondController);
        }
        if turn > 0 {
            let now = sqlx::query(TURN).fetch_one(connection);
            let now = row::number(&within(Some(server::CONNECT_LIMIT), now).await?, "value")?;
            if now != turn {
                self.superseded.send_replace(true);
                return Err(StoreError::Superseded);
            }
        }
        self.set_state(|state| state.held_by = session);
        Ok(())
    }

    /// Counts this controller's turn.
    pub(crate) async fn count_turn(&self, write: &mut Write) -> Result<i64, StoreError> {
        let row = sqlx::query(COUNT_TURN).fetch_one(&mut **write).await?;
        row::number(&row, "value")
    }

    /// Notes the turn once it is durable.
    pub(crate) fn set_turn(&self, turn: i64) {
        self.set_state(|state| state.turn = turn);
    }

    fn state(&self) -> State {
        *self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set_state(&self, change: impl FnOnce(&mut State)) {
        change(
            &mut self
                .state
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
    }
}

fn lock_file(address: &Address) -> Result<File, StoreError> {
    let mut path = address.file().as_os_str().to_owned();
    path.push("-controller");
    let path = PathBuf::from(path);
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let failed = |source| StoreError::Folder {
        path: path.clone(),
        source,
    };
    let file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::SecondController),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
