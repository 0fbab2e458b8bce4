//! `/healthz` and `/readyz`: whether the controller takes what agents send, and if not, which part
//! is unwell. Anyone may ask, so they say no more than a word for each part; what is behind it is
//! `/api/v1/health`, for people who are signed in.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::answer::Answer;
use crate::health::{self, Ailment, Part};
use crate::state::AppState;

#[derive(Serialize)]
struct Probe {
    /// `ok`; `degraded` if something is unwell and reports are taken all the same; `unwell`.
    status: &'static str,
    /// `ok` or the code of what ails it, for each part.
    parts: BTreeMap<&'static str, &'static str>,
    /// Whole days until a certificate ends, for those that end soon or have ended.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    days_left: BTreeMap<&'static str, i64>,
}

/// 200 while reports are taken, otherwise 503.
pub(crate) async fn probe(State(state): State<AppState>) -> Response {
    let ailments = health::ailments(&state).await;
    let mut parts: BTreeMap<_, _> = Part::ALL.map(|part| (part.word(), "ok")).into();
    parts.extend(
        ailments
            .iter()
            .map(|ailment| (ailment.part.word(), ailment.code)),
    );
    let (status, word) = if ailments.is_empty() {
        (StatusCode::OK, "ok")
    } else if health::accepting(&ailments) {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unwell")
    };
    let probe = Probe {
        status: word,
        parts,
        days_left: ailments
            .iter()
            .filter_map(|ailment| Some((ailment.part.word(), ailment.days_left?)))
            .collect(),
    };
    (status, Answer(probe)).into_response()
}

#[derive(Serialize)]
pub(crate) struct Health {
    /// Whether agents' reports are taken.
    accepting: bool,
    parts: Vec<&'static str>,
    ailments: Vec<Ailment>,
    version: String,
}

pub(crate) async fn read(State(state): State<AppState>) -> Answer<Health> {
    let ailments = health::ailments(&state).await;
    Answer(Health {
        accepting: health::accepting(&ailments),
        parts: Part::ALL.map(Part::word).to_vec(),
        ailments: ailments.to_vec(),
        version: state.inner.options.version.clone(),
    })
}
