//! The audit log as a file.

use axum::response::Response;
use futures_util::stream;
use xiezhi_inventory::lists::{AUDIT_HEADER, audit_row};
use xiezhi_model::Permission;
use xiezhi_store::{AuditQuery, Store};

use super::{Filter, taken_out};
use crate::files::{Export, Leaving, Rows, SLICE};
use crate::problem::Problem;
use crate::view::View;

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let store = view.state.inner.store.clone();
    // Up to the newest entry of this moment: what comes later, the entry about this file too, is not in it.
    let head = store.audit_head().await?;
    let before = i64::try_from(head.seq.saturating_add(1)).ok();
    let query = asked.filter.query(before, SLICE);
    let count = store.audit_count(&query).await?;
    let pages = stream::try_unfold(Some((store, query)), next);
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeAudit,
        header: asked.form.language.header(&AUDIT_HEADER),
        form: asked.form,
        name: "audit",
        audit: taken_out(&view),
    };
    leaving.paged(count, pages).await
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
