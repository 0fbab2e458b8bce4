//! `series`, `labels` and `label/…/values`: what there is.

use axum::Extension;
use axum::extract::{Path, State};
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use xiezhi_metrics::wire::Metric;
use xiezhi_promql::{Labels, Select, SelectHint};

use super::parameters::Parameters;
use super::{Refused, Success};
use crate::program::Reader;
use crate::state::AppState;

/// Where nothing is said, lists look back so far: what a dashboard's menus should offer. Prometheus
/// looks at everything that it keeps, which on years of samples is what makes menus slow.
const USUAL_SPAN_MS: i64 = 3_600_000;

pub(crate) async fn series(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Success<LabelSets>, Refused> {
    if parameters.get("match[]").is_none() {
        return Err(Refused::bad_data("no match[] parameter provided"));
    }
    let selections = selections(&parameters, state.now_ms())?;
    state.inner.directory.refresh().await?;
    let mut found = state.inner.queries.series(reader.scope, selections).await?;
    found.truncate(parameters.limit()?);
    Ok(Success(LabelSets(found)))
}

pub(crate) async fn label_names(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Success<Vec<String>>, Refused> {
    let selections = selections(&parameters, state.now_ms())?;
    state.inner.directory.refresh().await?;
    let queries = &state.inner.queries;
    let mut names = queries.label_names(reader.scope, selections).await?;
    names.truncate(parameters.limit()?);
    Ok(Success(names))
}

pub(crate) async fn label_values(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Success<Vec<String>>, Refused> {
    let selections = selections(&parameters, state.now_ms())?;
    state.inner.directory.refresh().await?;
    let queries = &state.inner.queries;
    let mut values = queries.label_values(reader.scope, name, selections).await?;
    values.truncate(parameters.limit()?);
    Ok(Success(values))
}

/// One selection for each `match[]`; a single one without matchers if there is none.
fn selections(parameters: &Parameters, now_ms: i64) -> Result<Vec<Select>, Refused> {
    let end_ms = parameters.time_ms("end", Some(now_ms))?;
    let start_ms = parameters.time_ms("start", Some(end_ms.saturating_sub(USUAL_SPAN_MS)))?;
    if end_ms < start_ms {
        let why = "end timestamp must not be before start time";
        return Err(Refused::parameter("end", why));
    }
    let select = |matchers| Select {
        matchers,
        start_ms,
        end_ms,
        hint: SelectHint::default(),
    };
    let mut all = Vec::new();
    for text in parameters.all("match[]") {
        let matchers = xiezhi_promql::parse_selector(text)
            .map_err(|error| Refused::parameter("match[]", error))?;
        all.push(select(matchers));
    }
    if all.is_empty() {
        all.push(select(Vec::new()));
    }
    Ok(all)
}

/// Label sets as JSON objects.
pub(crate) struct LabelSets(Vec<Labels>);

impl Serialize for LabelSets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for labels in &self.0 {
            sequence.serialize_element(&Metric(labels))?;
        }
        sequence.end()
    }
}
