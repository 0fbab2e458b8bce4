//! `series`, `labels` and `label/…/values`: what there is.

use axum::Extension;
use axum::extract::State;
use xiezhi_metrics::Selectors;
use xiezhi_promql::{Named, plain_name};

use super::parameters::Parameters;
use super::{Made, Refused};
use crate::extract::Path;
use crate::program::Reader;
use crate::state::AppState;

/// Where nothing is said, lists look back so far: what a dashboard's menus should offer. Prometheus
/// looks at everything that it keeps, which on years of samples is what makes menus slow.
const USUAL_SPAN_MS: i64 = 3_600_000;

pub(crate) async fn series(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    if parameters.get("match[]").is_none() {
        return Err(Refused::bad_data("no match[] parameter provided"));
    }
    let selectors = selectors(&parameters, state.now_ms())?;
    let wish = parameters.wish()?;
    state.inner.directory.refresh().await?;
    let queries = &state.inner.queries;
    let made = queries.series_json(reader.scope, selectors, wish);
    Ok(Made(made.await?))
}

pub(crate) async fn label_names(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    let selectors = selectors(&parameters, state.now_ms())?;
    let wish = parameters.wish()?;
    state.inner.directory.refresh().await?;
    let queries = &state.inner.queries;
    let made = queries.label_names_json(reader.scope, selectors, wish);
    Ok(Made(made.await?))
}

pub(crate) async fn label_values(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    Path(name): Path<String>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    let selectors = selectors(&parameters, state.now_ms())?;
    let wish = parameters.wish()?;
    state.inner.directory.refresh().await?;
    let queries = &state.inner.queries;
    let name = plain_name(&name, Named::Label).into_owned();
    let made = queries.label_values_json(reader.scope, name, selectors, wish);
    Ok(Made(made.await?))
}

/// What each `match[]` says; it is read on a query thread.
fn selectors(parameters: &Parameters, now_ms: i64) -> Result<Selectors, Refused> {
    let end_ms = parameters.time_ms("end", Some(now_ms))?;
    let start_ms = parameters.time_ms("start", Some(end_ms.saturating_sub(USUAL_SPAN_MS)))?;
    if end_ms < start_ms {
        let why = "end timestamp must not be before start time";
        return Err(Refused::parameter("end", why));
    }
    let texts = parameters.all("match[]").map(str::to_owned);
    Ok(Selectors {
        texts: texts.collect(),
        start_ms,
        end_ms,
    })
}
