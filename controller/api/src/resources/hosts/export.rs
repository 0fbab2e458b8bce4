//! The list of hosts as a file.

use axum::response::Response;
use xiezhi_ingest::HostView;
use xiezhi_inventory::lists::{HOST_HEADER, HostLine, host_row};
use xiezhi_model::{Permission, Presence};

use super::{Filter, ordered};
use crate::files::{Export, Leaving};
use crate::problem::Problem;
use crate::view::View;

pub(crate) async fn file(view: View, asked: Export<Filter>) -> Result<Response, Problem> {
    let hosts = view.hosts();
    let language = asked.form.language;
    let (_, keyed) = ordered(&asked.filter, &view, &hosts);
    let rows = keyed
        .iter()
        .map(|(_, host)| host_row(&line(host), view.tree(), language));
    let leaving = Leaving {
        view: &view,
        permission: Permission::SeeHosts,
        form: asked.form,
        name: "hosts",
        audit: view.who.audit(view.state.now_ms(), "hosts.export", ""),
        header: language.header(&HOST_HEADER),
    };
    leaving.held(|| rows.collect()).await
}

fn line(host: &HostView) -> HostLine {
    let headline = &host.headline;
    HostLine {
        id: host.id.0,
        hostname: host.hostname.clone(),
        site: Some(host.site),
        state: match host.presence.presence {
            _ if host.revoked_ms.is_some() => ("已吊销", "Revoked"),
            Presence::Up => ("在线", "Up"),
            Presence::Stale => ("迟报", "Stale"),
            Presence::Down => ("宕机", "Down"),
            Presence::Unknown => ("未知", "Unknown"),
        },
        seen_ms: host.presence.last_report_ms,
        version: host.version.clone(),
        address: host.address.clone(),
        used: [
            headline.cpu_busy_percent,
            headline.memory_used_percent,
            headline.filesystem_used_percent,
        ],
        revoked_ms: host.revoked_ms,
    }
}
