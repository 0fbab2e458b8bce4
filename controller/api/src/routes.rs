//! Every route of the interface, one line each: who may call it, how, and what answers.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use xiezhi_model::Permission;

use crate::resources::{
    acts, api_tokens, approvals, audit, bandwidth, events, facts, fleet, gaps, health, host, hosts,
    live, login, me, metrics, overview, prometheus, register, series, settings, sites, tokens,
    users,
};
use crate::state::AppState;
use crate::{answer, assets, guard, headers, problem::Problem, program};

/// Largest body of any request but a query and what is written. The largest that makes sense is a bandwidth budget of a few windows.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anyone who reaches the port.
    Anyone,
    /// People who are signed in, for what is their own.
    SignedIn,
    /// People with this permission; each sees only what it reaches.
    May(Permission),
    /// The same, and programs on this machine.
    LocalOrMay(Permission),
    /// People who may see hosts, and programs with an API token that reads; each sees only its
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
    use Caller::{Anyone, LocalOrMay, May, MetricsReader, MetricsWriter, SignedIn};
    use Permission::{
        ManageAccounts, ManageHosts, ManagePrograms, ManageRegister, ManageSites, SeeAccounts, SeeAudit, SeeHosts, SeeOverview,
        SeeRegister, SeeSettings,
    };
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

        route(GET, "/metrics", LocalOrMay(SeeSettings), metrics::read),

        route(POST, "/api/v1/logout", SignedIn, login::leave),
        route(GET, "/api/v1/me", SignedIn, me::read),
        route(POST, "/api/v1/me/password", SignedIn, me::set_password),
        route(POST, "/api/v1/me/second-factor", SignedIn, me::offer_second_factor),
        route(POST, "/api/v1/me/second-factor/confirm", SignedIn, me::confirm_second_factor),
        route(POST, "/api/v1/me/second-factor/remove", SignedIn, me::remove_second_factor),
        route(GET, "/api/v1/health", May(SeeOverview), health::read),
        route(GET, "/api/v1/overview", May(SeeOverview), overview::read),
        route(GET, "/api/v1/sites", May(SeeOverview), sites::list),
        route(POST, "/api/v1/sites", May(ManageSites), sites::create),
        route(GET, "/api/v1/sites/{id}", May(SeeOverview), sites::read),
        route(PUT, "/api/v1/sites/{id}", May(ManageSites), sites::change),
        route(GET, "/api/v1/sites/{id}/history", May(SeeOverview), sites::history),
        route(GET, "/api/v1/site-imports", May(ManageSites), sites::imports::list),
        // Reads its body itself, within its own bound.
        route(POST, "/api/v1/site-imports", May(ManageSites), sites::imports::upload),
        route(GET, "/api/v1/site-imports/{id}", May(ManageSites), sites::imports::preview),
        route(POST, "/api/v1/site-imports/{id}/apply", May(ManageSites), sites::imports::apply),
        route(POST, "/api/v1/site-imports/{id}/undo", May(ManageSites), sites::imports::undo),
        route(GET, "/api/v1/sites/{id}/bandwidth", May(SeeHosts), bandwidth::read),
        route(PUT, "/api/v1/sites/{id}/bandwidth", May(ManageHosts), bandwidth::set),
        route(DELETE, "/api/v1/sites/{id}/bandwidth", May(ManageHosts), bandwidth::clear),
        route(GET, "/api/v1/fleet", May(SeeHosts), fleet::read),
        route(GET, "/api/v1/hosts", May(SeeHosts), hosts::list),
        route(GET, "/api/v1/hosts/{id}", May(SeeHosts), host::read),
        route(GET, "/api/v1/hosts/{id}/series", May(SeeHosts), series::read),
        route(GET, "/api/v1/hosts/{id}/facts", May(SeeHosts), facts::read),
        route(POST, "/api/v1/hosts/{id}/revoke", May(ManageHosts), host::revoke),
        route(POST, "/api/v1/hosts/{id}/settle", May(ManageHosts), host::settle),
        route(POST, "/api/v1/hosts/{id}/directives", May(ManageHosts), host::direct),
        route(GET, "/api/v1/events", May(SeeHosts), events::search),
        route(GET, "/api/v1/gaps", May(SeeHosts), gaps::list),
        route(GET, "/api/v1/tokens", May(ManageHosts), tokens::list),
        route(POST, "/api/v1/tokens", May(ManageHosts), tokens::create),
        route(DELETE, "/api/v1/tokens/{id}", May(ManageHosts), tokens::revoke),
        route(GET, "/api/v1/approvals", May(ManageHosts), approvals::list),
        route(POST, "/api/v1/approvals/{id}", May(ManageHosts), approvals::decide),
        route(GET, "/api/v1/users", May(SeeAccounts), users::list),
        route(POST, "/api/v1/users", May(ManageAccounts), users::create),
        route(GET, "/api/v1/users/{id}", May(SeeAccounts), users::read),
        // Who may change what depends on the account: the handler decides.
        route(POST, "/api/v1/users/{id}/changes", May(SeeAccounts), users::change),
        route(GET, "/api/v1/acts", May(SeeAccounts), acts::list),
        route(POST, "/api/v1/acts/{id}/consent", May(SeeAccounts), acts::consent),
        route(POST, "/api/v1/acts/{id}/end", May(SeeAccounts), acts::end),
        route(GET, "/api/v1/register/{kind}", May(SeeRegister), register::list),
        route(POST, "/api/v1/register/{kind}", May(ManageRegister), register::create),
        route(GET, "/api/v1/register/{kind}/export", May(SeeRegister), register::export::csv),
        route(GET, "/api/v1/register/{kind}/{id}", May(SeeRegister), register::read),
        route(PUT, "/api/v1/register/{kind}/{id}", May(ManageRegister), register::change),
        route(GET, "/api/v1/register/{kind}/{id}/history", May(SeeRegister), register::history),
        route(GET, "/api/v1/labels/assets/{id}", May(SeeRegister), register::label),
        route(GET, "/api/v1/imports", May(ManageRegister), register::imports::list),
        // Reads its body itself, within its own bound.
        route(POST, "/api/v1/imports", May(ManageRegister), register::imports::upload),
        route(GET, "/api/v1/imports/{id}", May(ManageRegister), register::imports::preview),
        route(POST, "/api/v1/imports/{id}/apply", May(ManageRegister), register::imports::apply),
        route(POST, "/api/v1/imports/{id}/undo", May(ManageRegister), register::imports::undo),
        route(GET, "/api/v1/api-tokens", May(ManagePrograms), api_tokens::list),
        route(POST, "/api/v1/api-tokens", May(ManagePrograms), api_tokens::create),
        route(DELETE, "/api/v1/api-tokens/{id}", May(ManagePrograms), api_tokens::revoke),
        route(GET, "/api/v1/audit", May(SeeAudit), audit::list),
        route(GET, "/api/v1/audit/chain", May(SeeAudit), audit::chain),
        route(GET, "/api/v1/settings", May(SeeSettings), settings::list),
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

        Route { length: Length::Open, ..route(GET, "/api/v1/live", May(SeeOverview), live::stream) },
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
        let late = match caller {
            Caller::MetricsReader | Caller::MetricsWriter => prometheus::late,
            _ => guard::late,
        };
        if length == Length::Short {
            handler = handler.route_layer(from_fn(move |request, next| {
                guard::in_time(limit, late, request, next)
            }));
        }
        if caller == Caller::MetricsReader {
            handler = handler.layer(DefaultBodyLimit::max(prometheus::MAX_FORM_BYTES));
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
            Caller::May(permission) => {
                let state = state.clone();
                handler.route_layer(from_fn(move |request, next| {
                    guard::permitted(state.clone(), permission, request, next)
                }))
            }
            Caller::LocalOrMay(permission) => {
                let state = state.clone();
                handler.route_layer(from_fn(move |request, next| {
                    guard::local_or_permitted(state.clone(), permission, request, next)
                }))
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
