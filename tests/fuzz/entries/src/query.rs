//! Query text: what anybody who may look at a page can send.

use std::sync::OnceLock;

use xiezhi_promql::testing::MemoryStorage;
use xiezhi_promql::{Budget, Engine, Exhausted, Limits, QueryError, Value};

/// Samples that a fuzzed query may read; small, so that every input ends soon.
const SAMPLES: u64 = 20_000;

/// A few series with everything that makes trouble: gaps, markers, NaN, resets, buckets.
const DATA: &str = "load 15s
  up{host=\"a\"} 1x40
  up{host=\"b\"} 1 0 stale _ _ 1x20
  requests_total{host=\"a\", code=\"200\"} 0+7x20 0+3x20
  requests_total{host=\"a\", code=\"500\"} 0 NaN Inf -Inf 1e308 -1e308 5x10
  wait_bucket{host=\"a\", le=\"1\"} 0+1x40
  wait_bucket{host=\"a\", le=\"2\"} 0+2x40
  wait_bucket{host=\"a\", le=\"+Inf\"} 0+3x40
  wait_bucket{host=\"a\", le=\"none\"} 5x40
";

/// A query over a small storage: whatever the text, an answer or an error, within the budget.
pub fn promql(bytes: &[u8]) {
    static STORAGE: OnceLock<MemoryStorage> = OnceLock::new();
    let storage =
        STORAGE.get_or_init(|| MemoryStorage::from_text(DATA).expect("the data is right"));
    let text = String::from_utf8_lossy(bytes);
    let engine = Engine::default();
    let limits = Limits {
        samples: SAMPLES,
        memory_bytes: 16 << 20,
        ..Limits::default()
    };
    for outcome in [
        engine.instant(storage, &text, 300_000, &Budget::new(limits.clone())),
        engine.range(
            storage,
            &text,
            0,
            600_000,
            60_000,
            &Budget::new(limits.clone()),
        ),
    ] {
        match outcome {
            Ok(answer) => check(&answer.value),
            Err(QueryError::Parse(error)) => {
                let lines = text.split('\n').count();
                assert!(
                    error.line >= 1 && error.line <= lines,
                    "a place beyond the text"
                );
                assert!(error.column >= 1 && error.column <= text.len() + 1);
            }
            Err(QueryError::Stopped(why)) => {
                assert!(
                    !matches!(why, Exhausted::Canceled | Exhausted::TimedOut),
                    "{why}"
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// No two series of an answer are the same, and no value is a stale marker.
fn check(value: &Value) {
    let (labels, values): (Vec<_>, Vec<f64>) = match value {
        Value::Scalar(..) | Value::String(..) => return,
        Value::Vector(samples) => (
            samples.iter().map(|s| &s.labels).collect(),
            samples.iter().map(|s| s.value).collect(),
        ),
        Value::Matrix(series) => (
            series.iter().map(|s| &s.labels).collect(),
            series
                .iter()
                .flat_map(|s| s.points.iter().map(|point| point.1))
                .collect(),
        ),
    };
    let mut unique = labels.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), labels.len(), "two series are the same");
    assert!(
        !values.iter().any(|value| xiezhi_promql::is_stale(*value)),
        "a marker is a value"
    );
}
