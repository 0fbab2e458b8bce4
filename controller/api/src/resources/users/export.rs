//! The list of accounts as a file.

use axum::response::Response;
use xiezhi_inventory::lists::{ACCOUNT_HEADER, account_row};
use xiezhi_model::Permission;

use super::{Filter, matching};
use crate::files::{Export, Leaving};
use crate::problem::Problem;
use crate::view::View;

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let factors = view.state.inner.store.users_with_second_factor().await?;
    let accounts = matching(&view, &asked.filter).await?;
    let language = asked.form.language;
    // What is held elsewhere is not named here.
    let seen = |site| view.scope.covers(site);
    let rows = accounts.iter().map(|account| {
        let factor = factors.contains(&account.user.id);
        account_row(account, seen, factor, view.tree(), language)
    });
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeAccounts,
        form: asked.form,
        name: "users",
        audit: view.who.audit(view.state.now_ms(), "users.export", ""),
        header: language.header(&ACCOUNT_HEADER),
    };
    leaving.held(|| rows.collect()).await
}
