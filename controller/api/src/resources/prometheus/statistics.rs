//! `status/tsdb`: how many series there are, and of what. Prometheus tells of all that it holds; here
//! it is one look at the series of the last minutes, under the caller's scope and a query's limits.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use xiezhi_metrics::Selectors;
use xiezhi_promql::{Labels, METRIC_NAME};

use super::parameters::Parameters;
use super::{Made, Refused};
use crate::program::Reader;
use crate::state::AppState;

/// Entries of each list where nothing is said, and at most, as Prometheus has it.
const USUAL: usize = 10;
const MOST: usize = 10_000;

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
) -> Result<Made, Refused> {
    let limit = match parameters.get("limit").map(str::parse::<usize>) {
        None => USUAL,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
        Some(_) => {
            let why = format!("limit must be a number from 1 to {MOST}");
            return Err(Refused::parameter("limit", why));
        }
    };
    let wish = parameters.wish()?;
    state.inner.directory.refresh().await?;
    let now_ms = state.now_ms();
    let everything = Selectors {
        texts: vec!["{__name__!=\"\"}".to_owned()],
        start_ms: now_ms.saturating_sub(LOOK_BACK_MS),
        end_ms: now_ms,
    };
    let queries = &state.inner.queries;
    let made = queries.of_series_json(reader.scope, everything, wish, move |series| {
        count(&series, limit, now_ms)
    });
    Ok(Made(made.await?))
}

/// Counts series by metric, and values by label.
fn count(series: &[Labels], limit: usize, now_ms: i64) -> Statistics {
    let mut metrics: HashMap<&str, u64> = HashMap::new();
    let mut labels: HashMap<&str, HashSet<&str>> = HashMap::new();
    for label in series.iter().flat_map(Labels::iter) {
        if &*label.name == METRIC_NAME {
            *metrics.entry(&label.value).or_default() += 1;
        }
        labels.entry(&label.name).or_default().insert(&label.value);
    }
    let bytes = |values: &HashSet<&str>| values.iter().map(|value| value.len() as u64).sum();
    let values = labels.iter().map(|(&name, all)| (name, all.len() as u64));
    let memory = labels.iter().map(|(&name, all)| (name, bytes(all)));
    Statistics {
        head_stats: HeadStats {
            num_series: series.len() as u64,
            num_label_pairs: labels.values().map(|all| all.len() as u64).sum(),
            chunk_count: 0,
            min_time: now_ms.saturating_sub(LOOK_BACK_MS),
            max_time: now_ms,
        },
        label_value_count_by_label_name: largest(values, limit),
        memory_in_bytes_by_label_name: largest(memory, limit),
        series_count_by_metric_name: largest(
            metrics.iter().map(|(&name, &all)| (name, all)),
            limit,
        ),
        series_count_by_label_value_pair: [],
    }
}

/// The largest counts, the largest first; of equal ones the first by name.
fn largest<'a>(counts: impl Iterator<Item = (&'a str, u64)>, limit: usize) -> Vec<Count> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable_by_key(|&(name, value)| (Reverse(value), name));
    let counts = counts.into_iter().take(limit);
    let counts = counts.map(|(name, value)| Count {
        name: name.to_owned(),
        value,
    });
    counts.collect()
}
