//! `status/tsdb`: how many series there are, and of what. Prometheus tells of all that it holds; here
//! each number is a query under the caller's scope and limits, over the last minutes.

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use xiezhi_metrics::Selectors;
use xiezhi_promql::{METRIC_NAME, Value};

use super::parameters::Parameters;
use super::{Refused, Success};
use crate::program::Reader;
use crate::state::AppState;

/// Entries of each list where nothing is said, and at most, as Prometheus has it.
const USUAL: usize = 10;
const MOST: usize = 10_000;

/// Labels that are looked at: hosts have about thirty.
const LABELS: usize = 100;

/// How far a series' newest sample may lie back, as for a query.
const LOOK_BACK_MS: i64 = 300_000;

/// A name with its number.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Count {
    name: String,
    value: u64,
}

/// The whole, as far as the caller sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_label_pairs: u64,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

/// As Prometheus shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Count>,
    label_value_count_by_label_name: Vec<Count>,
    memory_in_bytes_by_label_name: Vec<Count>,
    series_count_by_label_value_pair: [(); 0],
}

pub(crate) async fn statistics(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Success<Statistics>, Refused> {
    let limit = match parameters.get("limit").map(str::parse::<usize>) {
        None => USUAL,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
        Some(_) => {
            let why = format!("limit must be a number from 1 to {MOST}");
            return Err(Refused::parameter("limit", why));
        }
    };
    state.inner.directory.refresh().await?;
    let now_ms = state.now_ms();
    let total = counted(&state, &reader, "count({__name__!=\"\"})", now_ms).await?;
    let metrics = format!("topk({limit}, count by (__name__) ({{__name__!=\"\"}}))");
    let metrics = counted(&state, &reader, &metrics, now_ms).await?;
    let (mut values, mut bytes) = labels(&state, &reader, now_ms).await?;
    let num_label_pairs = values.iter().map(|count| count.value).sum();
    for list in [&mut values, &mut bytes] {
        list.sort_by_key(|count| std::cmp::Reverse(count.value));
        list.truncate(limit);
    }
    Ok(Success(Statistics {
        head_stats: HeadStats {
            num_series: total.first().map_or(0, |count| count.value),
            num_label_pairs,
            chunk_count: 0,
            min_time: now_ms.saturating_sub(LOOK_BACK_MS),
            max_time: now_ms,
        },
        series_count_by_metric_name: metrics,
        label_value_count_by_label_name: values,
        memory_in_bytes_by_label_name: bytes,
        series_count_by_label_value_pair: [],
    }))
}

/// The vector of a query, by name, the largest first.
async fn counted(
    state: &AppState,
    reader: &Reader,
    query: &str,
    now_ms: i64,
) -> Result<Vec<Count>, Refused> {
    let queries = &state.inner.queries;
    let asked = queries.instant(reader.scope.clone(), query.to_owned(), now_ms, None);
    let Value::Vector(found) = asked.await?.value else {
        return Ok(Vec::new());
    };
    let mut counts: Vec<Count> = found
        .iter()
        .map(|sample| Count {
            name: sample
                .labels
                .get(METRIC_NAME)
                .unwrap_or_default()
                .to_owned(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count"
            )]
            value: sample.value as u64,
        })
        .collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.value));
    Ok(counts)
}

/// How many values each label has, and their bytes.
async fn labels(
    state: &AppState,
    reader: &Reader,
    now_ms: i64,
) -> Result<(Vec<Count>, Vec<Count>), Refused> {
    let everything = Selectors {
        texts: Vec::new(),
        start_ms: now_ms.saturating_sub(LOOK_BACK_MS),
        end_ms: now_ms,
    };
    let queries = &state.inner.queries;
    let names = queries.label_names(reader.scope.clone(), everything.clone());
    let (mut counts, mut bytes) = (Vec::new(), Vec::new());
    for name in names.await?.into_iter().take(LABELS) {
        let scope = reader.scope.clone();
        let values = queries.label_values(scope, name.clone(), everything.clone());
        let values = values.await?;
        counts.push(Count {
            name: name.clone(),
            value: values.len() as u64,
        });
        let value = values.iter().map(|text| text.len() as u64).sum();
        bytes.push(Count { name, value });
    }
    Ok((counts, bytes))
}
