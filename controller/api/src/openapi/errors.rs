//! The refusals of an operation: they follow from who may call and what is taken.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::draft::Draft;
use crate::routes::{Caller, Route, is_kept_once, method_of};

/// Whatever is asked: the database is away, the answer took too long, a fault.
const ALWAYS: [u16; 3] = [500, 503, 504];

pub(super) fn add(route: &Route, draft: &mut Draft<'_>) {
    let is_write = !matches!(method_of(route.method), Method::GET);
    let mut statuses = ALWAYS.to_vec();
    statuses.append(&mut draft.refusals);
    match route.caller {
        Caller::Anyone => {}
        // Guesses at tokens are slowed.
        Caller::MetricsReader | Caller::MetricsWriter => statuses.extend([401, 403, 429]),
        Caller::SignedIn => statuses.extend([401, 403, 429]),
        Caller::May(_) | Caller::LocalOrMay(_) => statuses.extend([401, 403, 429]),
    }
    let takes_header = !matches!(route.caller, Caller::MetricsReader | Caller::MetricsWriter);
    if is_write && takes_header {
        // From a page of another site; the disk is full.
        statuses.extend([403, 507]);
        let only = json!({"type": "string", "enum": ["1"]});
        let why = "Proof that no page of another site sends it";
        draft.header("X-Xiezhi-Request", true, only, why);
    }
    if is_kept_once(route) {
        statuses.extend([400, 409, 413, 422, 429]);
        let key = json!({"type": "string", "minLength": 1, "maxLength": 128,
            "pattern": "^[!-~]+$"});
        let why = "A text of the caller's own, new for each thing to be done. The same request \
                   with the same key within 24 hours is answered as it was and not done again; \
                   such an answer has `Idempotency-Replayed: true`";
        draft.header("Idempotency-Key", false, key, why);
    }
    for (status, content) in route.also {
        match *content {
            "" => statuses.push(*status),
            "-" => draft.answer_empty(*status, &reason(*status)),
            kind => {
                let content = json!({kind: {"schema": schema_of(kind)}});
                let answer = json!({"description": reason(*status), "content": content});
                draft.answers.insert(status.to_string(), answer);
            }
        }
    }
    let speaks_prometheus = !takes_header;
    for status in statuses {
        let key = status.to_string();
        let answer = || refusal(speaks_prometheus);
        draft.answers.entry(key).or_insert_with(answer);
    }
}

fn reason(status: u16) -> String {
    let status = StatusCode::from_u16(status).ok();
    let reason = status.and_then(|status| status.canonical_reason());
    reason.unwrap_or_default().to_owned()
}

fn schema_of(kind: &str) -> Value {
    if kind == "application/json" {
        json!({"type": "object"})
    } else {
        json!({"type": "string"})
    }
}

/// As problem+json; on Prometheus's paths as Prometheus does, too.
fn refusal(speaks_prometheus: bool) -> Value {
    let name = match speaks_prometheus {
        true => "PrometheusError",
        false => "Problem",
    };
    json!({"$ref": format!("#/components/responses/{name}")})
}

/// What refusals refer to. `problem` is the schema of problem+json.
pub(super) fn responses(problem: &Value) -> Value {
    let prometheus = json!({
        "type": "object", "required": ["status", "errorType", "error"],
        "properties": {
            "status": {"const": "error"},
            "errorType": {"type": "string"},
            "error": {"type": "string"},
        },
    });
    json!({
        "Problem": {
            "description": "Why it was not done",
            "content": {"application/problem+json": {"schema": problem}},
        },
        "PrometheusError": {
            "description": "Why it was not done, as Prometheus says it",
            "content": {
                "application/json": {"schema": prometheus},
                "application/problem+json": {"schema": problem},
            },
        },
    })
}
