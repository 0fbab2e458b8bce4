//! Counts the questions in PromQL that were refused, and tells of those that would have cost too much.
//!
//! A mistyped query is everybody's; it is counted and no more. One that was stopped at its limits took
//! its caller's share of the machine: the first of a caller in an hour has an audit entry with the
//! query's begin, the later ones are counted in the next entry. A flood of them costs one write to the
//! database per caller and minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::{IntCounterVec, Opts, Registry};
use xiezhi_model::{Actor, AuditEntry};

use crate::problem::chain;
use crate::resources::prometheus::Reason;
use crate::state::AppState;

/// Reasons that are told as well as counted.
const COSTLY: [&str; 2] = ["budget", "timeout"];

/// Characters of a query that an audit entry keeps.
const SHOWN: usize = 200;

/// How often one caller's refusals are written down.
const QUIET_MS: i64 = 60_000;

/// Callers remembered; there are never so many tokens and accounts.
const MOST_CALLERS: usize = 10_000;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who did it.
    pub(crate) actor: Actor,
    /// The token or the account.
    pub(crate) subject: String,
}

/// What is asked; whoever reads the parameters writes it down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<OnceLock<String>>);

impl Asked {
    /// Keeps the begin of the question.
    pub(crate) fn note(&self, parameters: &[(String, String)]) {
        let question = |(name, _): &&(String, String)| name == "query" || name == "match[]";
        let text = parameters.iter().find(question).map(|(_, value)| value);
        let shown = text.map_or_else(String::new, |text| text.chars().take(SHOWN).collect());
        self.0.get_or_init(|| shown);
    }
}

/// What the desk counts and remembers.
#[derive(Debug)]
pub(crate) struct QueryDesk {
    refused: IntCounterVec,
    /// When each caller's refusals were last written down, Unix milliseconds.
    written: Mutex<HashMap<String, i64>>,
}

impl QueryDesk {
    /// # Errors
    /// Another interface counts there already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = "xiezhi_queries_refused_total";
        let help = "Requests of Prometheus's interface that were refused, by reason.";
        let refused = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            refused,
            written: Mutex::default(),
        })
    }

    fn may_write(&self, subject: &str, now_ms: i64) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let last = written.get(subject).copied();
        // A clock that was set back must not silence anybody.
        if last.is_some_and(|last| (last..last.saturating_add(QUIET_MS)).contains(&now_ms)) {
            return false;
        }
        if written.len() >= MOST_CALLERS {
            written.clear();
        }
        written.insert(subject.to_owned(), now_ms);
        true
    }
}

/// Takes note of a refusal.
pub(crate) async fn note(state: &AppState, caller: &Caller, asked: &Asked, Reason(reason): Reason) {
    let desk = &state.inner.query_desk;
    desk.refused.with_label_values(&[reason]).inc();
    let now_ms = state.now_ms();
    if !COSTLY.contains(&reason) || !desk.may_write(&caller.subject, now_ms) {
        return;
    }
    let query = asked.0.get().map_or("", String::as_str);
    let subject = &caller.subject;
    tracing::warn!(caller = %subject, reason, query = ?query, "a query was stopped at its limits");
    let entry = AuditEntry::new(now_ms, caller.actor.clone(), "query.refuse", subject);
    let entry = entry.with("reason", reason).with("query", query);
    if let Err(error) = state.inner.store.append_repeated_audit(&entry).await {
        let error = chain(&error);
        tracing::warn!(error, "the refusal of a query cannot be audited");
    }
}
