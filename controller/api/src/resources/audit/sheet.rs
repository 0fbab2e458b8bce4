//! The audit log as a file.

use axum::response::Response;
use futures_util::stream;
use xiezhi_inventory::lists::{AUDIT_HEADER, audit_row};
use xiezhi_model::Permission;
use xiezhi_store::{AuditQuery, Store};

use super::{Filter, taken_out};
use crate::files::{self, Export, Rows, SLICE};
use crate::problem::Problem;
use crate::view::View;

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let filter = asked.filter;
    let mut audit = taken_out(&view, asked.kind.word());
    for (name, value) in [("subject", &filter.subject), ("action", &filter.action)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            audit = audit.with(name, value.clone());
        }
    }
    view.state.inner.store.append_audit(audit).await?;
    let query = AuditQuery {
        subject: filter.subject,
        action: filter.action,
        before: filter.cursor,
        limit: SLICE,
    };
    let store = view.state.inner.store.clone();
    let pages = stream::try_unfold(Some((store, query)), next);
    let name = ("audit", asked.kind);
    files::answer(&view, Permission::SeeAudit, name, &AUDIT_HEADER, pages).await
}

type Walk = (Store, AuditQuery);

/// The next page, older than the one before.
async fn next(walk: Option<Walk>) -> Result<Option<(Rows, Option<Walk>)>, Problem> {
    let Some((store, mut query)) = walk else {
        return Ok(None);
    };
    let records = store.audit(&query).await?;
    let full = records.len() == SLICE as usize;
    query.before = records.last().map(|record| record.position);
    let rows = records.iter().map(audit_row).collect();
    Ok(Some((rows, full.then_some((store, query)))))
}
