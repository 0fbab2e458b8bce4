//! A cluster's JSON as our answers.

use std::collections::BTreeMap;

use serde::Deserialize;
use xiezhi_promql::{Annotation, AnnotationKind, Answer, Labels, RangeSeries, Sample, Value};

/// Prometheus's envelope, for success and failure alike.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: Option<T>,
    #[serde(rename = "errorType")]
    pub(super) kind: Option<String>,
    pub(super) error: Option<String>,
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
    warnings: Option<Vec<String>>,
    infos: Option<Vec<String>>,
}

/// A query's result.
#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Outcome {
    Vector(Vec<One>),
    Matrix(Vec<Many>),
    Scalar((f64, String)),
    String((f64, String)),
}

#[derive(Debug, Deserialize)]
pub(super) struct One {
    metric: BTreeMap<String, String>,
    /// Missing where the value is a native histogram.
    value: Option<(f64, String)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Many {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// The answer; `None` if it holds what is no number.
pub(super) fn answer(envelope: Envelope<Outcome>) -> Option<Answer> {
    let mut annotations = Vec::new();
    let warnings = envelope.warnings.unwrap_or_default().into_iter();
    annotations.extend(warnings.map(|text| annotation(AnnotationKind::Warning, &text)));
    let infos = envelope.infos.unwrap_or_default().into_iter();
    annotations.extend(infos.map(|text| annotation(AnnotationKind::Info, &text)));
    if envelope.is_partial {
        let text = "parts of the cluster did not answer: the result is not whole";
        annotations.push(annotation(AnnotationKind::Warning, text));
    }
    let value = match envelope.data? {
        Outcome::Scalar(pair) => {
            let (time_ms, value) = point(&pair)?;
            Value::Scalar(time_ms, value)
        }
        Outcome::String((time, text)) => Value::String(milliseconds(time), text),
        Outcome::Vector(all) => Value::Vector(all.into_iter().filter_map(sample).collect()),
        Outcome::Matrix(all) => Value::Matrix(all.into_iter().map(series).collect::<Option<_>>()?),
    };
    Some(Answer { value, annotations })
}

fn sample(one: One) -> Option<Sample> {
    let (time_ms, value) = point(&one.value?)?;
    Some(Sample {
        labels: Labels::new(one.metric),
        time_ms,
        value,
    })
}

fn series(many: Many) -> Option<RangeSeries> {
    let points: Option<Vec<(i64, f64)>> = many.values.iter().map(point).collect();
    Some(RangeSeries {
        labels: Labels::new(many.metric),
        points: points?,
    })
}

fn point((time, value): &(f64, String)) -> Option<(i64, f64)> {
    Some((milliseconds(*time), value.parse().ok()?))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole milliseconds; beyond 64 bits the bound is right"
)]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// `PromQL warning: … (1:7)` taken apart, because it will be put together again.
fn annotation(kind: AnnotationKind, text: &str) -> Annotation {
    let bare = text
        .strip_prefix("PromQL warning: ")
        .or_else(|| text.strip_prefix("PromQL info: "))
        .unwrap_or(text);
    let place = bare.strip_suffix(')').and_then(|bare| {
        let (message, place) = bare.rsplit_once(" (")?;
        let (line, column) = place.split_once(':')?;
        Some((message, line.parse().ok()?, column.parse().ok()?))
    });
    let (message, line, column) = place.unwrap_or((bare, 1, 1));
    Annotation {
        kind,
        message: message.to_owned(),
        line,
        column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Answer> {
        answer(serde_json::from_str(text).ok()?)
    }

    #[test]
    fn answers_of_prometheus_and_victoriametrics_are_read() {
        let prometheus = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"x"},"value":[1700000000.123,"+Inf"]},
            {"metric":{},"histogram":[1,{}]}]},
            "warnings":["PromQL warning: something (2:7)","else"]}"#;
        let found = read(prometheus).unwrap();
        let Value::Vector(samples) = &found.value else {
            panic!("{found:?}")
        };
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].time_ms, 1_700_000_000_123);
        assert_eq!(samples[0].value, f64::INFINITY);
        let warnings = found.warnings();
        assert_eq!(
            warnings,
            [
                "PromQL warning: something (2:7)",
                "PromQL warning: else (1:1)"
            ]
        );
        let victoria = r#"{"status":"success","isPartial":true,"data":{"resultType":"matrix",
            "result":[{"metric":{},"values":[[1,"1"],[16,"NaN"]]}]},"stats":{"seriesFetched":"1"}}"#;
        let found = read(victoria).unwrap();
        let Value::Matrix(series) = &found.value else {
            panic!("{found:?}")
        };
        assert_eq!(series[0].points[0], (1000, 1.0));
        assert_eq!(found.warnings().len(), 1);
        let scalar = r#"{"data":{"resultType":"scalar","result":[5,"-0.5"]}}"#;
        assert!(matches!(
            read(scalar).unwrap().value,
            Value::Scalar(5000, -0.5)
        ));
        assert!(read(r#"{"data":{"resultType":"scalar","result":[5,"x"]}}"#).is_none());
    }
}
