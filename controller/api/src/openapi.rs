//! OpenAPI 3.1, made from the list of routes: an operation cannot be missing, and what it takes and
//! answers are the types of its handler.
//!
//! Answers that are refusals follow from who may call, what is taken and how long it may take, so
//! that no handler lists them; what is left over stands beside the route. `docs/openapi.json` is
//! what a test compares with.

mod described;
mod draft;
mod errors;
mod words;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

pub(crate) use self::described::{Answers, Described};
pub(crate) use self::draft::Draft;
use self::draft::Schemas;
pub(crate) use self::words::{presence, severity};
use crate::problem::Body;
use crate::routes::{Caller, Route, method_of, routes};

/// The cookie of a session, as it is over TLS.
const SESSION: &str = "session";
/// An API token as bearer token.
const TOKEN: &str = "token";
/// An API token as the password of basic authentication.
const TOKEN_AS_PASSWORD: &str = "token_as_password";

/// `/api/v1/openapi.json`.
pub(crate) async fn read() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    let mut response = text.as_str().into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The whole description.
pub(crate) fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let path = path_of(route.path);
        let method = method_of(route.method);
        let operation = operation(&route, &mut schemas);
        paths
            .entry(path)
            .or_default()
            .insert(method.as_str().to_lowercase(), operation);
    }
    let problem = schemas.answer::<Body<'static>>().into();
    in_words_of_json(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Xiezhi controller",
            "version": "1",
            "description": "Times are Unix milliseconds unless a name ends in `_s`. Every refusal is \
                problem+json with a stable `code`, but for Prometheus's own paths, which answer as \
                Prometheus does. What is outside the caller's scope is answered as if it were not there.",
        },
        "servers": [{"url": "/"}],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "responses": errors::responses(&problem),
            "securitySchemes": {
                SESSION: {
                    "type": "apiKey", "in": "cookie", "name": "__Host-xiezhi_session",
                    "description": "Set by `POST /api/v1/login`; `xiezhi_session` where browsers come \
                        without TLS. A write needs the header `X-Xiezhi-Request: 1` as well.",
                },
                TOKEN: {"type": "http", "scheme": "bearer", "description": "An API token of a program: one for \
                    metrics on Prometheus's paths, one that acts for its maker (`POST \
                    /api/v1/me/api-tokens`) wherever this scheme is named. A write then needs no \
                    `X-Xiezhi-Request`."},
                TOKEN_AS_PASSWORD: {
                    "type": "http", "scheme": "basic",
                    "description": "An API token as password; any name",
                },
            },
        },
    }))
}

/// Descriptions are the types' own documentation, which calls nothing `None`; JSON calls it `null`.
fn in_words_of_json(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let word = |(name, value): (String, Value)| match value {
                Value::String(text) if name == "description" => {
                    (name, text.replace("`None`", "`null`").into())
                }
                other => (name, in_words_of_json(other)),
            };
            fields.into_iter().map(word).collect()
        }
        Value::Array(items) => items.into_iter().map(in_words_of_json).collect(),
        other => other,
    }
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let mut draft = Draft::new(route, schemas);
    (route.describe)(&mut draft);
    errors::add(route, &mut draft);
    let Draft {
        parameters,
        body,
        answers,
        ..
    } = draft;
    let mut operation = json!({
        "operationId": name_of(route),
        "summary": route.summary,
        "tags": [tag_of(route)],
        "security": security_of(route.caller),
        "x-permission": permission_of(route.caller),
        "responses": answers,
    });
    if let Some(operation) = operation.as_object_mut() {
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        operation.extend(body.map(|body| ("requestBody".to_owned(), body)));
    }
    operation
}

/// A path as OpenAPI writes it: without the star of a parameter that takes all that is left.
fn path_of(path: &str) -> String {
    path.replace("{*", "{")
}

/// `get_hosts_id_facts`; each is there once, because a method and a path are.
fn name_of(route: &Route) -> String {
    let method = method_of(route.method).as_str().to_lowercase();
    let path = route.path.strip_prefix("/api/v1").unwrap_or(route.path);
    let words = path.split(|sign: char| !sign.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    std::iter::once(method.as_str())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// What belongs together, in the order in which a reader meets it.
const TAGS: [(&str, &str); 11] = [
    (
        "session",
        "Signing in and out, and what is the caller's own",
    ),
    ("overview", "What is where, and what changes"),
    ("sites", "The organisation tree, and lists of sites"),
    (
        "hosts",
        "Hosts, what they report and what may be asked of them",
    ),
    ("enrolment", "How hosts are let in"),
    (
        "register",
        "Rooms, staff and assets, and spreadsheets of them",
    ),
    ("accounts", "People, programs and acts that take two people"),
    ("audit", "Who did what"),
    (
        "prometheus",
        "What Prometheus's own clients ask and send, as they do it",
    ),
    ("controller", "The controller itself"),
    ("pages", "The pages"),
];

fn tag_of(route: &Route) -> &'static str {
    if matches!(route.caller, Caller::MetricsReader | Caller::MetricsWriter) {
        return "prometheus";
    }
    let path = route.path.strip_prefix("/api/v1").unwrap_or(route.path);
    match path.split('/').nth(1).unwrap_or_default() {
        "login" | "logout" | "me" => "session",
        "overview" | "live" => "overview",
        "sites" | "site-imports" => "sites",
        "hosts" | "fleet" | "events" | "gaps" => "hosts",
        "tokens" | "approvals" => "enrolment",
        "register" | "labels" | "imports" => "register",
        "users" | "acts" | "api-tokens" => "accounts",
        "audit" => "audit",
        "assets" => "pages",
        _ => "controller",
    }
}

fn security_of(caller: Caller) -> Value {
    match caller {
        Caller::Anyone => json!([]),
        Caller::May(one) if one.is_for_programs() => json!([{SESSION: []}, {TOKEN: []}]),
        Caller::SignedIn | Caller::May(_) => json!([{SESSION: []}]),
        Caller::LocalOrMay(_) => json!([{}, {SESSION: []}, {TOKEN: []}]),
        Caller::MetricsReader => json!([{SESSION: []}, {TOKEN: []}, {TOKEN_AS_PASSWORD: []}]),
        Caller::MetricsWriter => json!([{TOKEN: []}, {TOKEN_AS_PASSWORD: []}]),
    }
}

/// The permission that people need; of programs the right of the token.
fn permission_of(caller: Caller) -> &'static str {
    match caller {
        Caller::Anyone => "anyone",
        Caller::SignedIn => "signed_in",
        Caller::May(permission) | Caller::LocalOrMay(permission) => permission.word(),
        Caller::MetricsReader => xiezhi_model::Permission::SeeHosts.word(),
        Caller::MetricsWriter => xiezhi_model::ApiRight::WriteMetrics.word(),
    }
}
