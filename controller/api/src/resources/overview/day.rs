//! The day's security events by host: one scan answers everybody, whatever each may see.
//!
//! A scan of a large province's day takes a moment, so one runs at a time, and while a new one runs
//! the numbers of a moment ago are given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex as Turn;
use xiezhi_model::{EventStream, HostId, Severity};
use xiezhi_store::StoreError;

use crate::AppState;

const DAY_MS: i64 = 86_400_000;

/// Younger numbers are given as they are.
const FRESH_MS: i64 = 15_000;

/// Numbers up to this old are given while newer ones are counted.
const USABLE_MS: i64 = 120_000;

/// Security events received within a day, by severity.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
pub(crate) struct EventNumbers {
    pub(super) total: u64,
    critical: u64,
    warning: u64,
    notice: u64,
    info: u64,
}

impl EventNumbers {
    fn add(&mut self, severity: Severity, events: u64) {
        self.total += events;
        *match severity {
            Severity::Critical => &mut self.critical,
            Severity::Warning => &mut self.warning,
            Severity::Notice => &mut self.notice,
            Severity::Info => &mut self.info,
        } += events;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.total += other.total;
        self.critical += other.critical;
        self.warning += other.warning;
        self.notice += other.notice;
        self.info += other.info;
    }
}

/// Events of each host that had any.
pub(super) type Day = HashMap<HostId, EventNumbers>;

/// The last count.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    last: Mutex<Option<(i64, Arc<Day>)>>,
    turn: Arc<Turn<()>>,
}

impl EventCounts {
    /// The last count, and how old it is.
    fn last(&self, now_ms: i64) -> Option<(i64, Arc<Day>)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at_ms, day) = last.as_ref()?;
        let age_ms = now_ms - at_ms;
        // A clock that went back makes it as good as none.
        (0..USABLE_MS)
            .contains(&age_ms)
            .then(|| (age_ms, Arc::clone(day)))
    }
}

/// The last day's events, at most two minutes old.
pub(crate) async fn events(state: &AppState) -> Result<Arc<Day>, StoreError> {
    let counts = &state.inner.event_counts;
    let turn = match counts.last(state.now_ms()) {
        Some((age_ms, day)) if age_ms < FRESH_MS => return Ok(day),
        Some((_, day)) => {
            if let Ok(turn) = Arc::clone(&counts.turn).try_lock_owned() {
                let state = state.clone();
                tokio::spawn(async move {
                    if let Err(error) = count(&state).await {
                        tracing::warn!(%error, "the day's events could not be counted");
                    }
                    drop(turn);
                });
            }
            return Ok(day);
        }
        None => counts.turn.lock().await,
    };
    // Whoever had the turn before may have counted.
    if let Some((_, day)) = counts.last(state.now_ms()) {
        return Ok(day);
    }
    let day = count(state).await;
    drop(turn);
    day
}

async fn count(state: &AppState) -> Result<Arc<Day>, StoreError> {
    let inner = &state.inner;
    let now_ms = state.now_ms();
    let rows = inner
        .store
        .count_events_by_host(EventStream::Security, now_ms - DAY_MS)
        .await?;
    let mut day = Day::new();
    for (host, severity, events) in rows {
        day.entry(host).or_default().add(severity, events);
    }
    let day = Arc::new(day);
    let mut last = inner
        .event_counts
        .last
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *last = Some((now_ms, Arc::clone(&day)));
    Ok(day)
}
