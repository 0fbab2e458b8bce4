//! What clients ask to learn whom they talk to, and what they ask of a Prometheus only out of habit:
//! rules, alerts, exemplars and targets, of which there are none here.
//!
//! Nothing is invented: a number that this engine does not have is left out or 0, and what counts
//! series counts those that the caller may see.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;

use super::parameters::Parameters;
use super::{Refused, Success};
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

/// What of its condition concerns whoever asks PromQL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuntimeInfo {
    start_time: String,
    server_time: String,
    reload_config_success: bool,
    storage_retention: String,
}

pub(crate) async fn runtime_info(State(state): State<AppState>) -> Success<RuntimeInfo> {
    Success(RuntimeInfo {
        start_time: rfc3339(state.inner.started_ms),
        server_time: rfc3339(state.now_ms()),
        // It was read at the start, or there would be no answer; it is not read again.
        reload_config_success: true,
        storage_retention: retention(&state),
    })
}

/// The options of a Prometheus that have a meaning here, under its names.
pub(crate) async fn flags(
    State(state): State<AppState>,
) -> Success<BTreeMap<&'static str, String>> {
    let settings = state.inner.queries.settings();
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs());
    let lookback_s = xiezhi_promql::Options::default().lookback_ms / 1000;
    Success(BTreeMap::from([
        ("query.lookback-delta", format!("{lookback_s}s")),
        ("query.max-concurrency", settings.threads.to_string()),
        ("query.max-samples", settings.limits.samples.to_string()),
        ("query.timeout", seconds(settings.timeout)),
        ("storage.tsdb.retention.time", retention(&state)),
    ]))
}

/// A configuration file in Prometheus's form.
#[derive(Debug, Serialize)]
pub(crate) struct Configuration {
    yaml: &'static str,
}

/// There is none: the controller's own holds paths and addresses, and is no caller's business.
pub(crate) async fn config() -> Success<Configuration> {
    Success(Configuration {
        yaml: "# Xiezhi is not configured by a file in Prometheus's form.\n",
    })
}

fn retention(state: &AppState) -> String {
    format!("{}d", state.inner.series.retention().as_secs() / 86_400)
}

fn rfc3339(time_ms: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(time_ms.div_euclid(1000))
        .ok()
        .and_then(|time| {
            time.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_default()
}

/// Groups of rules: none yet.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rules {
    groups: [(); 0],
}

pub(crate) async fn rules(parameters: Parameters) -> Result<Success<Rules>, Refused> {
    match parameters.get("type") {
        None | Some("alert" | "record") => Ok(Success(Rules::default())),
        Some(other) => {
            let why = format!("not supported value {other:?}");
            Err(Refused::parameter("type", why))
        }
    }
}

/// Active alerts: none without rules.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Alerts {
    alerts: [(); 0],
}

pub(crate) async fn alerts() -> Success<Alerts> {
    Success(Alerts::default())
}

/// Nothing is scraped: hosts report by themselves.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Targets {
    active_targets: [(); 0],
    dropped_targets: [(); 0],
    dropped_target_counts: BTreeMap<String, u64>,
}

pub(crate) async fn targets() -> Success<Targets> {
    Success(Targets::default())
}

/// Nobody is told of alerts without rules.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alertmanagers {
    active_alertmanagers: [(); 0],
    dropped_alertmanagers: [(); 0],
}

pub(crate) async fn alertmanagers() -> Success<Alertmanagers> {
    Success(Alertmanagers::default())
}

/// Exemplars: agents send none, and those of remote write are not kept. The question is looked at all
/// the same, so that a mistake in it is said.
pub(crate) async fn exemplars(
    State(state): State<AppState>,
    parameters: Parameters,
) -> Result<Success<[(); 0]>, Refused> {
    let end_ms = parameters.time_ms("end", Some(state.now_ms()))?;
    let start_ms = parameters.time_ms("start", Some(end_ms))?;
    if end_ms < start_ms {
        let why = "end timestamp must not be before start time";
        return Err(Refused::parameter("end", why));
    }
    let query = parameters.get("query").unwrap_or_default();
    xiezhi_promql::check_query(query).map_err(|error| Refused::parameter("query", error))?;
    Ok(Success([]))
}

/// Parts of Prometheus's interface that are not here, so that its clients read why.
pub(crate) async fn absent(uri: axum::http::Uri) -> Refused {
    let status = axum::http::StatusCode::NOT_FOUND;
    let path = uri.path();
    let detail = format!(
        "{path} is not offered: ask /api/v1/query, query_range, series, labels and label/…/values"
    );
    Refused::new(status, "not_found", detail)
}
