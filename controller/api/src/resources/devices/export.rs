//! The list of devices as a file.

use axum::response::Response;
use futures_util::stream;
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{DEVICE_HEADER, DeviceLine, device_row};
use xiezhi_model::Permission;
use xiezhi_store::DeviceQuery;

use super::{Asked, Filter, Heard};
use crate::files::{Export, Leaving, Rows, SLICE};
use crate::problem::Problem;
use crate::resources::gaps::host_name;
use crate::view::View;

struct Walk {
    view: View,
    heard: Heard,
    language: Language,
    query: DeviceQuery,
}

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let heard = Heard::of(&view);
    let found = Asked::of(&asked.filter, &view, &heard).await?;
    let language = asked.form.language;
    let walk = Walk {
        view: view.clone(),
        heard,
        language,
        query: DeviceQuery {
            limit: SLICE,
            ..found.query
        },
    };
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeHosts,
        form: asked.form,
        name: "devices",
        audit: view.who.audit(view.state.now_ms(), "devices.export", ""),
        header: language.header(&DEVICE_HEADER),
    };
    let pages = stream::try_unfold(Some(walk), next);
    leaving.paged(found.total, pages).await
}

/// The next page.
async fn next(walk: Option<Walk>) -> Result<Option<(Rows, Option<Walk>)>, Problem> {
    let Some(mut walk) = walk else {
        return Ok(None);
    };
    let view = &walk.view;
    let store = &view.state.inner.store;
    let page = store.device_page(&walk.query, &view.scope).await?;
    let rows = page.devices.iter().map(|device| {
        let line = DeviceLine {
            hostname: host_name(device.host, &view.state.inner.fleet).hostname,
            state: walk.heard.state_of(device),
            device,
        };
        device_row(&line, view.tree(), walk.language)
    });
    let rows = rows.collect();
    walk.query.after = page.next;
    let more = walk.query.after.is_some();
    Ok(Some((rows, more.then_some(walk))))
}
