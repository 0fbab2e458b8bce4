//! Every route of the interface, one line each: who may call it, how, and what answers.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use xiezhi_inventory::register::MAX_FILE_BYTES;
use xiezhi_model::Permission;

use crate::openapi::{self, Described, Draft};
use crate::resources::{
    acts, api_tokens, approvals, audit, bandwidth, devices, events, facts, fleet, gaps, health,
    host, hosts, live, login, me, metrics, overview, own_tokens, prometheus, register, series,
    sessions, settings, sites, tokens, users, views,
};
use crate::state::AppState;
use crate::{
    answer, assets, guard, headers, once, peer, problem::Problem, program, refused, uploads,
};

/// Largest body of any request but a file, a query and what is written. The largest that makes sense is a
/// bandwidth budget of a few windows.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

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
    pub(crate) method: MethodFilter,
    pub(crate) path: &'static str,
    pub(crate) caller: Caller,
    /// One line for whoever reads the description of the interface.
    pub(crate) summary: &'static str,
    /// Statuses that its types do not show, each with the type of its body; none: a refusal like any
    /// other; `-`: no body.
    pub(crate) also: &'static [(u16, &'static str)],
    /// Describes what the handler takes and answers.
    pub(crate) describe: fn(&mut Draft<'_>),
    /// Largest body.
    most_bytes: usize,
    length: Length,
    handler: MethodRouter<AppState>,
}

impl Route {
    fn also(self, also: &'static [(u16, &'static str)]) -> Self {
        Self { also, ..self }
    }

    /// Its body is a file, taken in whole within this bound before its handler begins.
    fn takes(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }

    fn open(self) -> Self {
        let length = Length::Open;
        Self { length, ..self }
    }
}

fn route<H, T, D>(
    method: MethodFilter,
    path: &'static str,
    caller: Caller,
    handler: H,
    summary: &'static str,
) -> Route
where
    H: Handler<T, AppState> + Described<D>,
    T: 'static,
{
    Route {
        method,
        path,
        caller,
        summary,
        also: &[],
        describe: <H as Described<D>>::describe,
        most_bytes: MAX_BODY_BYTES,
        length: Length::Short,
        handler: on(method, handler),
    }
}

/// The method of a route: each takes exactly one.
pub(crate) fn method_of(filter: MethodFilter) -> Method {
    match filter {
        MethodFilter::POST => Method::POST,
        MethodFilter::PUT => Method::PUT,
        MethodFilter::DELETE => Method::DELETE,
        _ => Method::GET,
    }
}

/// Whether a caller may name a request, so that it is done once however often it comes.
pub(crate) fn is_kept_once(route: &Route) -> bool {
    let by_person = matches!(
        route.caller,
        Caller::SignedIn | Caller::May(_) | Caller::LocalOrMay(_)
    );
    by_person && route.method != MethodFilter::GET
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
        route(GET, "/healthz", Anyone, health::probe, "Whether agents' reports are taken, for probes").also(&[(503, "application/json"), (200, "application/json")]),
        route(GET, "/readyz", Anyone, health::probe, "The same").also(&[(503, "application/json"), (200, "application/json")]),
        route(GET, "/assets/{version}/{*path}", Anyone, assets::file, "A file of the pages").also(&[(200, "*/*"), (304, "-")]),
        route(POST, "/api/v1/login", Anyone, login::with_password, "Sign in with a password and, where there is one, a second factor").also(&[(401, ""), (429, "")]),
        route(POST, "/api/v1/login/once", Anyone, login::with_code, "Sign in with a code from the controller's console").also(&[(401, ""), (429, "")]),

        route(GET, "/metrics", LocalOrMay(SeeSettings), metrics::read, "The controller's own numbers, for Prometheus").also(&[(200, "text/plain")]),

        route(POST, "/api/v1/logout", SignedIn, login::leave, "Sign out").also(&[(204, "-")]),
        route(GET, "/api/v1/me", SignedIn, me::read, "Who is signed in, and what they may do"),
        route(POST, "/api/v1/me/password", SignedIn, me::set_password, "Set an own password; all own sessions end"),
        route(POST, "/api/v1/me/second-factor", SignedIn, me::offer_second_factor, "Begin to set up a second factor"),
        route(POST, "/api/v1/me/second-factor/confirm", SignedIn, me::confirm_second_factor, "Prove the second factor: it is asked for from now on").also(&[(404, "")]),
        route(POST, "/api/v1/me/second-factor/remove", SignedIn, me::remove_second_factor, "Take the second factor off"),
        route(GET, "/api/v1/me/sessions", SignedIn, sessions::list, "One's own sessions that are open"),
        route(DELETE, "/api/v1/me/sessions/{id}", SignedIn, sessions::end, "End one of one's own sessions"),
        route(POST, "/api/v1/me/sessions/end-others", SignedIn, sessions::end_others, "End all own sessions but this one"),
        route(GET, "/api/v1/me/views", SignedIn, views::list, "Filters of pages that one keeps, the newest first"),
        route(POST, "/api/v1/me/views", SignedIn, views::save, "Keep filters of a page under a name"),
        route(DELETE, "/api/v1/me/views/{id}", SignedIn, views::forget, "Forget one of the filters that one keeps"),
        route(GET, "/api/v1/me/api-tokens", SignedIn, own_tokens::list, "Tokens of programs that act for one, newest first"),
        route(POST, "/api/v1/me/api-tokens", SignedIn, own_tokens::create, "Make a token for a program that acts for one; it is shown once").also(&[(404, ""), (429, "")]),
        route(DELETE, "/api/v1/me/api-tokens/{id}", SignedIn, own_tokens::revoke, "Withdraw a token that acts for one"),
        route(GET, "/api/v1/openapi.json", SignedIn, openapi::read, "This description").also(&[(200, "application/json")]),
        route(GET, "/api/v1/health", May(SeeOverview), health::read, "What ails the controller"),
        route(GET, "/api/v1/overview", May(SeeOverview), overview::read, "The whole of what the caller sees, or of a site and below it, in one answer").also(&[(404, "")]),
        route(GET, "/api/v1/sites", May(SeeOverview), sites::list, "The organisation tree with the states of its hosts: a level, a search or all of it, by pages").also(&[(404, "")]),
        route(POST, "/api/v1/sites", May(ManageSites), sites::create, "Add a site").also(&[(404, "")]),
        route(GET, "/api/v1/sites/export", May(SeeOverview), sites::export::file, "The listed sites as a file that an import takes back"),
        route(GET, "/api/v1/sites/{id}", May(SeeOverview), sites::read, "One site with those above and below it"),
        route(PUT, "/api/v1/sites/{id}", May(ManageSites), sites::change, "Rename, move, retire or restore a site as it was read"),
        route(GET, "/api/v1/sites/{id}/history", May(SeeOverview), sites::history, "Every change of a site, newest first, by pages"),
        route(GET, "/api/v1/site-imports", May(ManageSites), sites::imports::list, "Imports of lists of sites, newest first"),
        route(POST, "/api/v1/site-imports", May(ManageSites), sites::imports::upload, "Look at a list of sites: what it would change, or every problem by its cell").takes(MAX_FILE_BYTES),
        route(GET, "/api/v1/site-imports/{id}", May(ManageSites), sites::imports::preview, "What a waiting import would do now").also(&[(409, "")]),
        route(DELETE, "/api/v1/site-imports/{id}", May(ManageSites), sites::imports::give_up, "Give a waiting import up"),
        route(POST, "/api/v1/site-imports/{id}/apply", May(ManageSites), sites::imports::apply, "Do what was looked at, whole or not at all"),
        route(POST, "/api/v1/site-imports/{id}/undo", May(ManageSites), sites::imports::undo, "Take an import back, while nothing of it changed"),
        route(GET, "/api/v1/sites/{id}/bandwidth", May(SeeHosts), bandwidth::read, "The bandwidth budget of a site"),
        route(PUT, "/api/v1/sites/{id}/bandwidth", May(ManageHosts), bandwidth::set, "Give a site a bandwidth budget of its own"),
        route(DELETE, "/api/v1/sites/{id}/bandwidth", May(ManageHosts), bandwidth::clear, "Take a site's own budget away"),
        route(GET, "/api/v1/fleet", May(SeeHosts), fleet::read, "The fleet in numbers"),
        route(GET, "/api/v1/hosts", May(SeeHosts), hosts::list, "Hosts: filtered, ordered, by pages"),
        route(GET, "/api/v1/hosts/export", May(SeeHosts), hosts::export::file, "The listed hosts as a file"),
        route(GET, "/api/v1/hosts/{id}", May(SeeHosts), host::read, "One host"),
        route(GET, "/api/v1/hosts/{id}/series", May(SeeHosts), series::read, "Samples of a host as columns for a chart"),
        route(GET, "/api/v1/hosts/{id}/facts", May(SeeHosts), facts::read, "What a host is made of"),
        route(POST, "/api/v1/hosts/{id}/revoke", May(ManageHosts), host::revoke, "Revoke a host's identity"),
        route(POST, "/api/v1/hosts/{id}/settle", May(ManageHosts), host::settle, "Take the mark of a conflict of identities off"),
        route(POST, "/api/v1/hosts/{id}/directives", May(ManageHosts), host::direct, "Tell an agent something and wait for its answer"),
        route(GET, "/api/v1/events", May(SeeHosts), events::search, "Events, newest first, with the gaps among them"),
        route(GET, "/api/v1/events/export", May(SeeHosts), events::export::file, "The listed events as a file, with the gaps among them"),
        route(GET, "/api/v1/devices", May(SeeHosts), devices::list, "Devices of the network: filtered, by pages"),
        route(GET, "/api/v1/devices/export", May(SeeHosts), devices::export::file, "The listed devices as a file"),
        route(GET, "/api/v1/devices/{id}", May(SeeHosts), devices::read, "One device and what it said of itself"),
        route(GET, "/api/v1/gaps", May(SeeHosts), gaps::list, "Data that hosts gave up"),
        route(GET, "/api/v1/gaps/export", May(SeeHosts), gaps::export::file, "The listed gaps as a file"),
        route(GET, "/api/v1/tokens", May(ManageHosts), tokens::list, "Enrolment tokens"),
        route(POST, "/api/v1/tokens", May(ManageHosts), tokens::create, "Make an enrolment token; it is shown once").also(&[(404, "")]),
        route(DELETE, "/api/v1/tokens/{id}", May(ManageHosts), tokens::revoke, "Withdraw an enrolment token"),
        route(GET, "/api/v1/approvals", May(ManageHosts), approvals::list, "Hosts that wait to be let in"),
        route(POST, "/api/v1/approvals/{id}", May(ManageHosts), approvals::decide, "Let a waiting host in, or refuse it"),
        route(GET, "/api/v1/users", May(SeeAccounts), users::list, "Accounts, by pages"),
        route(POST, "/api/v1/users", May(ManageAccounts), users::create, "Make an account; its password for one use is shown once"),
        route(GET, "/api/v1/users/export", May(SeeAccounts), users::export::file, "The listed accounts as a file"),
        route(GET, "/api/v1/users/{id}", May(SeeAccounts), users::read, "One account"),
        // Who may change what depends on the account: the handler decides.
        route(POST, "/api/v1/users/{id}/changes", May(SeeAccounts), users::change, "Change an account, or ask for it where that takes two"),
        route(POST, "/api/v1/users/{id}/end-sessions", May(SeeAccounts), sessions::end_all, "End all sessions of an account"),
        route(GET, "/api/v1/acts", May(SeeAccounts), acts::list, "Acts that take two people"),
        route(POST, "/api/v1/acts/{id}/consent", May(SeeAccounts), acts::consent, "Consent to an act: it is done"),
        route(POST, "/api/v1/acts/{id}/end", May(SeeAccounts), acts::end, "Refuse an act, or take it back"),
        route(GET, "/api/v1/register/{kind}", May(SeeRegister), register::list, "Rooms, staff or assets: filtered, by pages"),
        route(POST, "/api/v1/register/{kind}", May(ManageRegister), register::create, "Write one item down"),
        route(GET, "/api/v1/register/{kind}/export", May(SeeRegister), register::export::file, "The items as a file that an import takes back"),
        route(GET, "/api/v1/register/{kind}/{id}", May(SeeRegister), register::read, "One item"),
        route(PUT, "/api/v1/register/{kind}/{id}", May(ManageRegister), register::change, "Change an item as it was read"),
        route(GET, "/api/v1/register/{kind}/{id}/history", May(SeeRegister), register::history, "Every change of an item, newest first, by pages"),
        route(GET, "/api/v1/labels/assets/{id}", May(SeeRegister), register::label, "What to print on an asset").also(&[(422, "")]),
        route(GET, "/api/v1/imports", May(ManageRegister), register::imports::list, "Imports, newest first"),
        route(POST, "/api/v1/imports", May(ManageRegister), register::imports::upload, "Look at a spreadsheet: what it would change, or every problem by its cell").also(&[(404, "")]).takes(MAX_FILE_BYTES),
        route(GET, "/api/v1/imports/{id}", May(ManageRegister), register::imports::preview, "What a waiting import would do now").also(&[(409, "")]),
        route(DELETE, "/api/v1/imports/{id}", May(ManageRegister), register::imports::give_up, "Give a waiting import up"),
        route(POST, "/api/v1/imports/{id}/apply", May(ManageRegister), register::imports::apply, "Do what was looked at, whole or not at all"),
        route(GET, "/api/v1/imports/{id}/undo", May(ManageRegister), register::imports::undo::preview, "What taking an import back would do now, row by row, and what is in the way").also(&[(409, "")]),
        route(POST, "/api/v1/imports/{id}/undo", May(ManageRegister), register::imports::undo::undo, "Take an import back, while nothing of it changed"),
        route(GET, "/api/v1/api-tokens", May(SeeAccounts), api_tokens::list, "Tokens of programs, with whose they are and when they were used"),
        route(POST, "/api/v1/api-tokens", May(ManagePrograms), api_tokens::create, "Make an API token; it is shown once").also(&[(404, "")]),
        // Who may withdraw one depends on whose it is: the handler decides.
        route(DELETE, "/api/v1/api-tokens/{id}", May(SeeAccounts), api_tokens::revoke, "Withdraw a token of a program"),
        route(GET, "/api/v1/audit", May(SeeAudit), audit::list, "The audit log, newest first, by pages"),
        route(GET, "/api/v1/audit/export", May(SeeAudit), audit::export, "The whole audit log as a file that is checked anywhere").also(&[(200, "application/x-ndjson"), (429, ""), (507, "")]),
        route(GET, "/api/v1/audit/sheet", May(SeeAudit), audit::sheet::file, "The listed entries of the audit log as a file for spreadsheets"),
        route(GET, "/api/v1/audit/chain", May(SeeAudit), audit::chain, "Whether the audit chain holds"),
        route(GET, "/api/v1/settings", May(SeeSettings), settings::list, "The settings that hold now"),
        // What Grafana and promtool ask; the paths are Prometheus's.
        route(GET, "/api/v1/query", MetricsReader, prometheus::instant, "PromQL at one time"),
        route(POST, "/api/v1/query", MetricsReader, prometheus::instant, "PromQL at one time"),
        route(GET, "/api/v1/query_range", MetricsReader, prometheus::range, "PromQL over a time"),
        route(POST, "/api/v1/query_range", MetricsReader, prometheus::range, "PromQL over a time"),
        route(GET, "/api/v1/format_query", MetricsReader, prometheus::format, "PromQL, written tidily"),
        route(POST, "/api/v1/format_query", MetricsReader, prometheus::format, "PromQL, written tidily"),
        route(GET, "/api/v1/series", MetricsReader, prometheus::series, "Series that match"),
        route(POST, "/api/v1/series", MetricsReader, prometheus::series, "Series that match"),
        route(GET, "/api/v1/labels", MetricsReader, prometheus::label_names, "Names of labels"),
        route(POST, "/api/v1/labels", MetricsReader, prometheus::label_names, "Names of labels"),
        route(GET, "/api/v1/label/{name}/values", MetricsReader, prometheus::label_values, "Values of a label"),
        route(GET, "/api/v1/metadata", MetricsReader, prometheus::metadata, "What metrics are"),
        route(GET, "/api/v1/rules", MetricsReader, prometheus::rules, "Rules, of which there are none"),
        route(GET, "/api/v1/alerts", MetricsReader, prometheus::alerts, "Alerts, of which there are none"),
        route(GET, "/api/v1/query_exemplars", MetricsReader, prometheus::exemplars, "Exemplars, of which there are none"),
        route(POST, "/api/v1/query_exemplars", MetricsReader, prometheus::exemplars, "Exemplars, of which there are none"),
        route(GET, "/api/v1/targets", MetricsReader, prometheus::targets, "Targets, of which there are none"),
        route(GET, "/api/v1/alertmanagers", MetricsReader, prometheus::alertmanagers, "Alertmanagers, of which there are none"),
        route(GET, "/api/v1/status/buildinfo", MetricsReader, prometheus::build_info, "As which Prometheus it speaks"),
        route(GET, "/api/v1/status/runtimeinfo", MetricsReader, prometheus::runtime_info, "Since when it runs"),
        route(GET, "/api/v1/status/config", MetricsReader, prometheus::config, "An empty configuration"),
        route(GET, "/api/v1/status/flags", MetricsReader, prometheus::flags, "What bounds queries"),
        route(GET, "/api/v1/status/tsdb", MetricsReader, prometheus::statistics, "How many series there are of what"),
        route(GET, "/federate", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        route(POST, "/api/v1/read", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        route(GET, "/api/v1/targets/metadata", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        route(GET, "/api/v1/scrape_pools", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        route(GET, "/api/v1/parse_query", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        route(POST, "/api/v1/parse_query", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        route(GET, "/api/v1/status/walreplay", MetricsReader, prometheus::absent, "Not offered").also(&[(404, "")]),
        // What a Prometheus or a vmagent sends; it reads its body itself, within its own bounds.
        route(POST, "/api/v1/write", MetricsWriter, prometheus::write, "Remote write, of either version").also(&[(200, "-"), (204, "-"), (400, ""), (413, ""), (415, "")]),

        route(GET, "/api/v1/live", May(SeeOverview), live::stream, "What changes, as server-sent events").also(&[(200, "text/event-stream")]).open(),
    ]
}

/// Everything that the browsers' port answers.
pub fn router(state: AppState) -> Router {
    let limit = state.inner.options.request_timeout;
    let mut router = Router::new();
    for route in routes() {
        let is_kept_once = is_kept_once(&route);
        let Route {
            path,
            caller,
            most_bytes,
            length,
            mut handler,
            ..
        } = route;
        let late = match caller {
            Caller::MetricsReader | Caller::MetricsWriter => prometheus::late,
            _ => guard::late,
        };
        if length == Length::Short {
            handler = handler.route_layer(from_fn(move |request, next| {
                guard::in_time(limit, late, request, next)
            }));
        }
        if is_kept_once {
            let state = state.clone();
            handler = handler.route_layer(from_fn(move |request, next| {
                once::keep(state.clone(), most_bytes, request, next)
            }));
        }
        if let (Caller::May(permission), true) = (caller, most_bytes > MAX_BODY_BYTES) {
            let state = state.clone();
            handler = handler.route_layer(from_fn(move |request, next| {
                uploads::take(state.clone(), permission, most_bytes, request, next)
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
        .layer(from_fn_with_state(state.clone(), refused::watch))
        .layer(from_fn_with_state(state.clone(), headers::add))
        .layer(from_fn_with_state(state.clone(), peer::behind_proxy))
        .with_state(state)
}

async fn wrong_method() -> Response {
    let status = axum::http::StatusCode::METHOD_NOT_ALLOWED;
    let detail = "this resource does not take that method";
    Problem::new(status, "wrong_method", detail).into_response()
}
