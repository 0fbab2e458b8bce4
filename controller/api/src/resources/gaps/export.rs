//! The list of gaps as a file.

use axum::response::Response;
use futures_util::stream;
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{GAP_HEADER, gap_row};
use xiezhi_model::{HostId, Permission};
use xiezhi_store::GapCursor;

use super::{Filter, host_name};
use crate::files::{Export, Leaving, Rows, SLICE};
use crate::problem::Problem;
use crate::view::View;

struct Walk {
    view: View,
    language: Language,
    host: Option<HostId>,
    span: (i64, i64),
    after: Option<GapCursor>,
}

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let now_ms = view.state.now_ms();
    let span = asked.filter.span(now_ms);
    let host = asked.filter.host.map(HostId);
    let language = asked.form.language;
    let store = &view.state.inner.store;
    let count = store.gap_count(host, &view.scope, span).await?;
    let walk = Walk {
        view: view.clone(),
        language,
        host,
        span,
        after: None,
    };
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeHosts,
        form: asked.form,
        name: "gaps",
        audit: view.who.audit(now_ms, "gaps.export", ""),
        header: language.header(&GAP_HEADER),
    };
    let pages = stream::try_unfold(Some(walk), next);
    leaving.paged(count, pages).await
}

/// The next page.
async fn next(walk: Option<Walk>) -> Result<Option<(Rows, Option<Walk>)>, Problem> {
    let Some(mut walk) = walk else {
        return Ok(None);
    };
    let (view, after) = (&walk.view, walk.after.as_ref());
    let inner = &view.state.inner;
    let page = inner
        .store
        .gaps_page(walk.host, &view.scope, walk.span, after, SLICE);
    let page = page.await?;
    let rows = page.iter().map(|gap| {
        let host = inner.fleet.get(gap.host);
        let site = host.as_ref().map(|host| host.site);
        let name = host_name(gap.host, &inner.fleet).hostname;
        gap_row(gap, &name, site, view.tree(), walk.language)
    });
    let rows: Rows = rows.collect();
    let full = page.len() == SLICE as usize;
    walk.after = page.last().map(GapCursor::from);
    Ok(Some((rows, full.then_some(walk))))
}
