//! The audit list, and whether its chain holds.

pub(crate) mod sheet;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_evidence::{ChainLine, Head, first_line, last_line};
use xiezhi_model::{AuditEntry, AuditRecord, Permission};
use xiezhi_store::{AuditQuery, AuditVerdict, Store};

use crate::answer::Answer;
use crate::extract::Query;
use crate::guard::Held;
use crate::problem::Problem;
use crate::state::AppState;
use crate::turns::Stand;
use crate::view::View;

/// Name of the chain.
const CHAIN: &str = "audit";

/// How long a verdict is kept: it costs a walk over the whole chain.
const VERDICT_KEPT_MS: i64 = 30_000;

#[derive(Deserialize, Default, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Filter {
    /// Only entries about this.
    subject: Option<String>,
    /// Only entries whose action begins so.
    action: Option<String>,
    /// Only what this actor did: `user:NAME`, `host:NUMBER`, `address:ADDRESS`, `console` or `system`.
    actor: Option<String>,
    /// At this time or after it.
    from: Option<i64>,
    /// At this time or before it.
    to: Option<i64>,
    /// Only entries about this item of the register.
    item: Option<i64>,
    /// Entries on a page, 1,000 at most; 100 unless given.
    limit: Option<u32>,
    /// Position of the last entry of the page before.
    cursor: Option<i64>,
}

impl Filter {
    /// The entries that it asks for, before a position if one is given.
    fn query(self, before: Option<i64>, limit: u32) -> AuditQuery {
        AuditQuery {
            subject: self.subject,
            action: self.action,
            actor: self.actor,
            from_ms: self.from,
            to_ms: self.to,
            item: self.item,
            before,
            limit,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditRow {
    position: i64,
    time_ms: i64,
    actor: String,
    action: String,
    subject: String,
    detail: BTreeMap<String, String>,
    hash: String,
}

impl From<AuditRecord> for AuditRow {
    fn from(record: AuditRecord) -> Self {
        Self {
            position: record.position,
            time_ms: record.time_ms,
            actor: record.actor,
            action: record.action,
            subject: record.subject,
            detail: record.detail,
            hash: record.hash,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditPage {
    items: Vec<AuditRow>,
    next: Option<i64>,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(filter): Query<Filter>,
) -> Result<Answer<AuditPage>, Problem> {
    let limit = filter.limit.unwrap_or(100).clamp(1, 1000);
    let before = filter.cursor;
    let query = filter.query(before, limit);
    let records = state.inner.store.audit(&query).await?;
    let full = records.len() == limit as usize;
    let next = records
        .last()
        .filter(|_| full)
        .map(|record| record.position);
    Ok(Answer(AuditPage {
        items: records.into_iter().map(AuditRow::from).collect(),
        next,
    }))
}

/// How far a file has been written.
struct Walk {
    store: Store,
    held: Held,
    head: Head,
    after: u64,
    step: Step,
    _open: Stand,
}

enum Step {
    First,
    Entries,
    Ended,
}

/// Taking the log out is an entry of its own.
fn taken_out(view: &View) -> AuditEntry {
    let now_ms = view.state.now_ms();
    view.who.audit(now_ms, "audit.export", CHAIN)
}

/// The whole log as a file that `xiezhi-controller audit verify --file` checks anywhere. The entry about it is
/// its last one.
pub(crate) async fn export(view: View) -> Result<Response, Problem> {
    let store = view.state.inner.store.clone();
    let open = view.state.inner.exports.begin(view.who.account.user.id)?;
    let audit = taken_out(&view).with("format", "jsonl");
    store.append_audit(audit).await?;
    let walk = Walk {
        head: store.audit_head().await?,
        held: Held::of(&view, Permission::SeeAudit),
        store,
        after: 0,
        step: Step::First,
        _open: open,
    };
    let body = Body::from_stream(stream::try_unfold(walk, next));
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"audit.jsonl\"",
        ),
    ];
    Ok((headers, body).into_response())
}

/// The next lines. A right that is gone cuts the file off, which shows by its last line.
async fn next(mut walk: Walk) -> Result<Option<(String, Walk)>, std::io::Error> {
    let text = match walk.step {
        Step::Ended => return Ok(None),
        Step::First => {
            walk.step = Step::Entries;
            first_line(CHAIN)
        }
        Step::Entries => {
            let ended = |problem: Problem| std::io::Error::other(problem.detail().to_owned());
            walk.held.still().await.map_err(ended)?;
            let after = i64::try_from(walk.after).unwrap_or(i64::MAX);
            let lines = walk.store.audit_lines(after).await;
            let mut lines = lines.map_err(std::io::Error::other)?;
            lines.retain(|line| line.record.seq <= walk.head.seq);
            match lines.last() {
                Some(last) => walk.after = last.record.seq,
                None => walk.step = Step::Ended,
            }
            match walk.step {
                Step::Ended => last_line(walk.head),
                _ => lines.iter().map(ChainLine::to_line).collect(),
            }
        }
    };
    Ok(Some((text, walk)))
}

/// What the walk over the chain found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Chain {
    /// `intact` or `broken`.
    state: &'static str,
    /// Of the newest entry, or of the first that does not hold.
    position: i64,
    /// Of the newest entry; empty if broken.
    hash: String,
    /// Empty if intact.
    reason: String,
    checked_ms: i64,
}

/// The last verdict.
#[derive(Debug, Default)]
pub(crate) struct ChainCheck(Option<Chain>);

pub(crate) async fn chain(State(state): State<AppState>) -> Result<Answer<Chain>, Problem> {
    // The lock is held during the walk: ten people who open the page cause one walk.
    let mut kept = state.inner.chain_check.lock().await;
    let now_ms = state.now_ms();
    if let Some(chain) = &kept.0
        && (0..VERDICT_KEPT_MS).contains(&(now_ms - chain.checked_ms))
    {
        return Ok(Answer(chain.clone()));
    }
    let (word, position, hash, reason) = match state.inner.store.verify_audit().await? {
        AuditVerdict::Intact { position, hash } => ("intact", position, hash, String::new()),
        AuditVerdict::Broken { position, reason } => ("broken", position, String::new(), reason),
    };
    let chain = Chain {
        state: word,
        position,
        hash,
        reason,
        checked_ms: now_ms,
    };
    kept.0 = Some(chain.clone());
    Ok(Answer(chain))
}
