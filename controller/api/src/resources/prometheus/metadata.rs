//! `metadata`: what kind of number a metric is. The type is read off the name, as the naming rules
//! of the Prometheus documentation have it; agents send no help texts, they would cost the line.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use xiezhi_promql::{METRIC_NAME, Matcher, Select, SelectHint};

use super::parameters::Parameters;
use super::{Refused, Success};
use crate::program::Reader;
use crate::state::AppState;

/// What is known of one metric.
#[derive(Debug, Serialize)]
pub(crate) struct Metadata {
    r#type: &'static str,
    help: &'static str,
    unit: &'static str,
}

const LOOK_BACK_MS: i64 = 3_600_000;

pub(crate) async fn metadata(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Success<BTreeMap<String, [Metadata; 1]>>, Refused> {
    let end_ms = state.now_ms();
    let wanted = parameters.get("metric");
    let matchers = wanted.map(|name| Matcher::equal(METRIC_NAME, name));
    let selection = Select {
        matchers: matchers.into_iter().collect(),
        start_ms: end_ms.saturating_sub(LOOK_BACK_MS),
        end_ms,
        hint: SelectHint::default(),
    };
    state.inner.directory.refresh().await?;
    let (queries, name) = (&state.inner.queries, METRIC_NAME.to_owned());
    let names = queries
        .label_values(reader.scope, name, vec![selection])
        .await?;
    let known = names.into_iter().take(parameters.limit()?);
    Ok(Success(
        known.map(|name| (name.clone(), [of(&name)])).collect(),
    ))
}

fn of(name: &str) -> Metadata {
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    let r#type = match () {
        () if ends(&["_bucket"]) => "histogram",
        () if ends(&["_total", "_sum", "_count"]) => "counter",
        () => "gauge",
    };
    let unit = match () {
        () if ends(&["_seconds_total", "_seconds"]) => "seconds",
        () if ends(&["_bytes_total", "_bytes"]) => "bytes",
        () => "",
    };
    Metadata {
        r#type,
        help: "",
        unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_from_names() {
        assert_eq!(of("node_cpu_seconds_total").r#type, "counter");
        assert_eq!(of("node_cpu_seconds_total").unit, "seconds");
        assert_eq!(of("node_memory_MemFree_bytes").r#type, "gauge");
        assert_eq!(of("http_seconds_bucket").r#type, "histogram");
    }
}
