//! The register as a spreadsheet file, page by page, for as long as its reader may see it.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use xiezhi_inventory::register::{ExportedItem, csv_export};
use xiezhi_model::{Permission, RegisterKind};
use xiezhi_store::RegisterQuery;

use super::{Filter, Part};
use crate::extract::{Path, Query};
use crate::guard::Held;
use crate::problem::Problem;
use crate::view::View;

/// Items that are in memory at one time.
const SLICE: u32 = 1000;

struct Walk {
    view: View,
    held: Held,
    kind: RegisterKind,
    query: RegisterQuery,
    begun: bool,
}

pub(crate) async fn csv(
    view: View,
    Path(part): Path<Part>,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let kind = part.into();
    let query = RegisterQuery {
        limit: SLICE,
        ..filter.query(&view)?
    };
    let held = Held::of(&view, Permission::SeeRegister);
    let walk = Walk {
        view,
        held,
        kind,
        query,
        begun: false,
    };
    let body = Body::from_stream(stream::try_unfold(Some(walk), next));
    let name = format!("attachment; filename=\"{}.csv\"", RegisterKind::word(kind));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

/// The next page as lines. A right that is gone cuts the file off, which the reader notices.
async fn next(walk: Option<Walk>) -> Result<Option<(Vec<u8>, Option<Walk>)>, std::io::Error> {
    let Some(mut walk) = walk else {
        return Ok(None);
    };
    let ended = |problem: Problem| std::io::Error::other(problem.detail().to_owned());
    walk.held.still().await.map_err(ended)?;
    let store = &walk.view.state.inner.store;
    let page = store
        .register_page(walk.kind, &walk.query, &walk.view.scope)
        .await;
    let page = page.map_err(std::io::Error::other)?;
    let tree = walk.view.tree();
    let items = page.items.iter().map(|item| ExportedItem {
        site: tree.get(item.site).map_or("", |site| site.key.as_str()),
        values: &item.values,
    });
    let lines = csv_export(walk.kind, items, !walk.begun);
    walk.begun = true;
    walk.query.after = page.next;
    let more = walk.query.after.is_some();
    Ok(Some((lines, more.then_some(walk))))
}
