//! `query` and `query_range`.

use axum::Extension;
use axum::extract::State;
use xiezhi_metrics::wire;

use super::parameters::Parameters;
use super::{Made, Refused};
use crate::program::Reader;
use crate::state::AppState;

/// Points of one series at most, as Prometheus has it: a chart has fewer pixels.
const MAX_POINTS: i64 = 11_000;

pub(crate) async fn instant(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    let time_ms = parameters.time_ms("time", Some(state.now_ms()))?;
    let query = parameters.get("query").unwrap_or_default().to_owned();
    let wish = parameters.wish()?;
    let lookback_ms = parameters.lookback_ms()?;
    state.inner.directory.refresh().await?;
    let queries = state.inner.queries.looking_back(lookback_ms)?;
    let made = queries.instant_json(reader.scope, query, time_ms, wish);
    Ok(Made(made.await?))
}

pub(crate) async fn range(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    let start_ms = parameters.time_ms("start", None)?;
    let end_ms = parameters.time_ms("end", None)?;
    let step = parameters.get("step").unwrap_or_default();
    let step_ms = wire::duration_ms(step).map_err(|error| Refused::parameter("step", error))?;
    check_steps(start_ms, end_ms, step_ms)?;
    let query = parameters.get("query").unwrap_or_default().to_owned();
    let wish = parameters.wish()?;
    let lookback_ms = parameters.lookback_ms()?;
    state.inner.directory.refresh().await?;
    let steps = (start_ms, end_ms, step_ms);
    let queries = state.inner.queries.looking_back(lookback_ms)?;
    let made = queries.range_json(reader.scope, query, steps, wish);
    Ok(Made(made.await?))
}

/// A query in Prometheus's own form; nothing is asked of anybody.
pub(crate) async fn format(
    State(state): State<AppState>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    let query = parameters.get("query").unwrap_or_default().to_owned();
    Ok(Made(state.inner.queries.format_json(query).await?))
}

fn check_steps(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), Refused> {
    if end_ms < start_ms {
        let why = "end timestamp must not be before start time";
        return Err(Refused::parameter("end", why));
    }
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. \
                   Try a positive integer";
        return Err(Refused::parameter("step", why));
    }
    if end_ms.saturating_sub(start_ms) / step_ms > MAX_POINTS {
        return Err(Refused::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(())
}
