//! Every route of the interface, one line each: who may call it, how, and what answers.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::resources::{
    approvals, audit, bandwidth, events, facts, fleet, gaps, health, host, hosts, live, login,
    metrics, overview, prometheus, series, settings, sites, tokens,
};
use crate::state::AppState;
use crate::{answer, assets, guard, headers, problem::Problem, program};

/// Largest body of any request. The largest that makes sense is a bandwidth budget of a few windows.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anyone who reaches the port.
    Anyone,
    /// People who are signed in.
    SignedIn,
    /// People who are signed in, and programs on this machine.
    LocalOrSignedIn,
    /// People who are signed in, and programs with an API token that reads; each sees only its
    /// scope.
    MetricsReader,
    /// Programs with an API token that writes.
    MetricsWriter,
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Bounded by the options.
    Short,
    /// Until the caller leaves or the session ends.
    Open,
}

/// One route.
pub(crate) struct Route {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the handler holds it; tests call it")
    )]
    pub(crate) method: MethodFilter,
    pub(crate) path: &'static str,
    pub(crate) caller: Caller,
    length: Length,
    handler: MethodRouter<AppState>,
}

fn route<H, T>(method: MethodFilter, path: &'static str, caller: Caller, handler: H) -> Route
where
    H: Handler<T, AppState>,
    T: 'static,
{
    Route {
        method,
        path,
        caller,
        length: Length::Short,
        handler: on(method, handler),
    }
}

/// The list.
#[rustfmt::skip]
pub(crate) fn routes() -> Vec<Route> {
    use Caller::{Anyone, LocalOrSignedIn, MetricsReader, MetricsWriter, SignedIn};
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    const PUT: MethodFilter = MethodFilter::PUT;
    const DELETE: MethodFilter = MethodFilter::DELETE;
    vec![
        route(GET, "/healthz", Anyone, health::probe),
        route(GET, "/readyz", Anyone, health::probe),
        route(GET, "/assets/{version}/{*path}", Anyone, assets::file),
        route(POST, "/api/v1/login", Anyone, login::with_password),
        route(POST, "/api/v1/login/once", Anyone, login::with_code),

        route(GET, "/metrics", LocalOrSignedIn, metrics::read),

        route(POST, "/api/v1/logout", SignedIn, login::leave),
        route(GET, "/api/v1/me", SignedIn, login::me),
        route(GET, "/api/v1/health", SignedIn, health::read),
        route(GET, "/api/v1/overview", SignedIn, overview::read),
        route(GET, "/api/v1/sites", SignedIn, sites::list),
        route(GET, "/api/v1/sites/{id}", SignedIn, sites::read),
        route(GET, "/api/v1/sites/{id}/bandwidth", SignedIn, bandwidth::read),
        route(PUT, "/api/v1/sites/{id}/bandwidth", SignedIn, bandwidth::set),
        route(DELETE, "/api/v1/sites/{id}/bandwidth", SignedIn, bandwidth::clear),
        route(GET, "/api/v1/fleet", SignedIn, fleet::read),
        route(GET, "/api/v1/hosts", SignedIn, hosts::list),
        route(GET, "/api/v1/hosts/{id}", SignedIn, host::read),
        route(GET, "/api/v1/hosts/{id}/series", SignedIn, series::read),
        route(GET, "/api/v1/hosts/{id}/facts", SignedIn, facts::read),
        route(POST, "/api/v1/hosts/{id}/revoke", SignedIn, host::revoke),
        route(POST, "/api/v1/hosts/{id}/settle", SignedIn, host::settle),
        route(POST, "/api/v1/hosts/{id}/directives", SignedIn, host::direct),
        route(GET, "/api/v1/events", SignedIn, events::search),
        route(GET, "/api/v1/gaps", SignedIn, gaps::list),
        route(GET, "/api/v1/tokens", SignedIn, tokens::list),
        route(POST, "/api/v1/tokens", SignedIn, tokens::create),
        route(DELETE, "/api/v1/tokens/{id}", SignedIn, tokens::revoke),
        route(GET, "/api/v1/approvals", SignedIn, approvals::list),
        route(POST, "/api/v1/approvals/{id}", SignedIn, approvals::decide),
        route(GET, "/api/v1/audit", SignedIn, audit::list),
        route(GET, "/api/v1/audit/chain", SignedIn, audit::chain),
        route(GET, "/api/v1/settings", SignedIn, settings::list),
        // What Grafana and promtool ask; the paths are Prometheus's.
        route(GET, "/api/v1/query", MetricsReader, prometheus::instant),
        route(POST, "/api/v1/query", MetricsReader, prometheus::instant),
        route(GET, "/api/v1/query_range", MetricsReader, prometheus::range),
        route(POST, "/api/v1/query_range", MetricsReader, prometheus::range),
        route(GET, "/api/v1/format_query", MetricsReader, prometheus::format),
        route(POST, "/api/v1/format_query", MetricsReader, prometheus::format),
        route(GET, "/api/v1/series", MetricsReader, prometheus::series),
        route(POST, "/api/v1/series", MetricsReader, prometheus::series),
        route(GET, "/api/v1/labels", MetricsReader, prometheus::label_names),
        route(POST, "/api/v1/labels", MetricsReader, prometheus::label_names),
        route(GET, "/api/v1/label/{name}/values", MetricsReader, prometheus::label_values),
        route(GET, "/api/v1/metadata", MetricsReader, prometheus::metadata),
        route(GET, "/api/v1/rules", MetricsReader, prometheus::rules),
        route(GET, "/api/v1/alerts", MetricsReader, prometheus::alerts),
        route(GET, "/api/v1/query_exemplars", MetricsReader, prometheus::exemplars),
        route(POST, "/api/v1/query_exemplars", MetricsReader, prometheus::exemplars),
        route(GET, "/api/v1/targets", MetricsReader, prometheus::targets),
        route(GET, "/api/v1/alertmanagers", MetricsReader, prometheus::alertmanagers),
        route(GET, "/api/v1/status/buildinfo", MetricsReader, prometheus::build_info),
        route(GET, "/api/v1/status/runtimeinfo", MetricsReader, prometheus::runtime_info),
        route(GET, "/api/v1/status/config", MetricsReader, prometheus::config),
        route(GET, "/api/v1/status/flags", MetricsReader, prometheus::flags),
        route(GET, "/api/v1/status/tsdb", MetricsReader, prometheus::statistics),
        route(GET, "/federate", MetricsReader, prometheus::absent),
        route(POST, "/api/v1/read", MetricsReader, prometheus::absent),
        route(GET, "/api/v1/targets/metadata", MetricsReader, prometheus::absent),
        route(GET, "/api/v1/scrape_pools", MetricsReader, prometheus::absent),
        route(GET, "/api/v1/parse_query", MetricsReader, prometheus::absent),
        route(POST, "/api/v1/parse_query", MetricsReader, prometheus::absent),
        route(GET, "/api/v1/status/walreplay", MetricsReader, prometheus::absent),
        // What a Prometheus or a vmagent sends; it reads its body itself, within its own bounds.
        route(POST, "/api/v1/write", MetricsWriter, prometheus::write),

        Route { length: Length::Open, ..route(GET, "/api/v1/live", SignedIn, live::stream) },
    ]
}

/// Everything that the browsers' port answers.
pub fn router(state: AppState) -> Router {
    let limit = state.inner.options.request_timeout;
    let mut router = Router::new();
    for Route {
        path,
        caller,
        length,
        mut handler,
        ..
    } in routes()
    {
        if length == Length::Short {
            handler = handler.route_layer(from_fn(move |request, next| {
                guard::in_time(limit, request, next)
            }));
        }
        handler = match caller {
            Caller::Anyone => handler,
            Caller::SignedIn => {
                handler.route_layer(from_fn_with_state(state.clone(), guard::signed_in))
            }
            Caller::MetricsReader => {
                handler.route_layer(from_fn_with_state(state.clone(), program::metrics_reader))
            }
            Caller::MetricsWriter => {
                handler.route_layer(from_fn_with_state(state.clone(), program::metrics_writer))
            }
            Caller::LocalOrSignedIn => {
                handler.route_layer(from_fn_with_state(state.clone(), guard::local_or_signed_in))
            }
        };
        router = router.route(path, handler);
    }
    router
        .fallback(assets::page)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(answer::compress))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(guard::own_pages_only))
        .layer(from_fn_with_state(state.clone(), headers::add))
        .with_state(state)
}

async fn wrong_method() -> Response {
    let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    let detail = "this resource does not take that method";
    Problem::new(status, "wrong_method", detail).into_response()
}
