//! The register as a spreadsheet file that an import takes back.

use axum::response::Response;
use futures_util::stream;
use xiezhi_inventory::Language;
use xiezhi_inventory::register::{export_header, export_row};
use xiezhi_model::{Permission, RegisterKind};
use xiezhi_store::RegisterQuery;

use super::{Filter, Part};
use crate::extract::Path;
use crate::files::{Export, Leaving, Rows, SLICE};
use crate::problem::Problem;
use crate::view::View;

struct Walk {
    view: View,
    kind: RegisterKind,
    language: Language,
    query: RegisterQuery,
}

pub(crate) async fn file(
    view: View,
    Path(part): Path<Part>,
    asked: Export<Filter>,
) -> Result<Response, Problem> {
    let kind = RegisterKind::from(part);
    let query = RegisterQuery {
        limit: SLICE,
        ..asked.filter.query(&view)?
    };
    let language = asked.form.language;
    let walk = Walk {
        view: view.clone(),
        kind,
        language,
        query,
    };
    let store = &view.state.inner.store;
    let count = store.register_count(kind, &walk.query, &view.scope).await?;
    let pages = stream::try_unfold(Some(walk), next);
    let now_ms = view.state.now_ms();
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeRegister,
        form: asked.form,
        name: kind.word(),
        audit: view.who.audit(now_ms, "register.export", kind.word()),
        header: export_header(kind, language),
    };
    leaving.paged(count, pages).await
}

/// The next page.
async fn next(walk: Option<Walk>) -> Result<Option<(Rows, Option<Walk>)>, Problem> {
    let Some(mut walk) = walk else {
        return Ok(None);
    };
    let store = &walk.view.state.inner.store;
    let page = store.register_page(walk.kind, &walk.query, &walk.view.scope);
    let page = page.await?;
    let tree = walk.view.tree();
    let rows = page.items.iter().map(|item| {
        let site = tree.get(item.site).map_or("", |site| site.key.as_str());
        export_row(walk.kind, site, &item.values, walk.language)
    });
    let rows = rows.collect();
    walk.query.after = page.next;
    let more = walk.query.after.is_some();
    Ok(Some((rows, more.then_some(walk))))
}
