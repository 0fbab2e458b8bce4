//! `/healthz` and `/readyz`: whether the controller takes what agents send, and if not, which part
//! is unwell. Anyone may ask, so they say no more than a word for each part; what is behind it is
//! `/api/v1/health`, for people who are signed in.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;

use xiezhi_metrics::cluster::Standing;

use crate::answer::Answer;
use crate::health::{self, Ailment, Part};
use crate::state::AppState;
use crate::view::View;

#[derive(Serialize, JsonSchema)]
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
    let present = health::present(&state);
    let mut parts: BTreeMap<_, _> = present.map(|part| (part.word(), "ok")).collect();
    parts.extend(health::probed(&ailments).map(|ailment| (ailment.part.word(), ailment.code)));
    let (status, word) = if health::probed(&ailments).next().is_none() {
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

#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// Whether agents' reports are taken.
    accepting: bool,
    parts: Vec<&'static str>,
    ailments: Vec<Ailment>,
    /// How sending to the cluster stands; missing without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
    version: String,
}

/// Numbers since the start.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Cluster {
    /// Age of the oldest sample that the cluster does not have yet.
    lag_s: i64,
    sent_samples: u64,
    dropped_samples: u64,
    unsent_frames: u64,
}

impl Cluster {
    fn of(standing: &Standing) -> Self {
        Self {
            lag_s: standing.lag_ms / 1000,
            sent_samples: standing.sent,
            dropped_samples: standing.dropped,
            unsent_frames: standing.unsent,
        }
    }
}

pub(crate) async fn read(view: View) -> Answer<Health> {
    let state = &view.state;
    let ailments = health::ailments(state).await;
    Answer(Health {
        accepting: health::accepting(&ailments),
        parts: health::present(state).map(Part::word).collect(),
        ailments: health::told(&ailments, health::sees_reasons(&view)),
        cluster: state
            .inner
            .cluster
            .as_ref()
            .map(|status| Cluster::of(&status.now())),
        version: state.inner.options.version.clone(),
    })
}
