//! The list of sites as a file that an import takes back.

use axum::response::Response;
use xiezhi_inventory::lists::{SITE_HEADER, site_row};
use xiezhi_model::Permission;

use super::{Filter, found};
use crate::files::{Export, Leaving};
use crate::problem::Problem;
use crate::view::View;

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let tree = view.tree();
    let language = asked.form.language;
    let mut sites = found(tree, &asked.filter)?;
    sites.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let rows = sites.into_iter().map(|site| site_row(site, tree, language));
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeOverview,
        form: asked.form,
        name: "sites",
        audit: view.who.audit(view.state.now_ms(), "sites.export", ""),
        header: language.header(&SITE_HEADER),
    };
    leaving.held(|| rows.collect()).await
}
