//! What clients ask to learn whom they talk to.

use axum::extract::State;
use serde::Serialize;

use super::Success;
use crate::state::AppState;

/// The version of Prometheus whose language and interface are spoken; Grafana switches features by
/// it.
const SPEAKS_AS: &str = "3.5.0";

/// As Prometheus shows it; `application` is ours.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildInfo {
    version: &'static str,
    revision: String,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    application: &'static str,
}

pub(crate) async fn build_info(State(state): State<AppState>) -> Success<BuildInfo> {
    Success(BuildInfo {
        version: SPEAKS_AS,
        revision: format!("xiezhi-{}", state.inner.options.version),
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
        application: "Xiezhi",
    })
}

/// Groups of rules: none yet.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rules {
    groups: [(); 0],
}

pub(crate) async fn rules() -> Success<Rules> {
    Success(Rules::default())
}

/// Active alerts: none without rules.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Alerts {
    alerts: [(); 0],
}

pub(crate) async fn alerts() -> Success<Alerts> {
    Success(Alerts::default())
}
