//! Answers as JSON. Values are texts there, because JSON has no infinity and no NaN.

use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use xiezhi_promql::{Answer, Labels, RangeSeries, Sample, Value, format_value};

/// A success.
#[derive(Debug, Serialize)]
pub struct Body<T> {
    status: &'static str,
    data: T,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    infos: Vec<String>,
}

impl<T> Body<T> {
    /// The same answer, which says so if something was left out at a caller's limit.
    #[must_use]
    pub fn cut(mut self, is_cut: bool) -> Self {
        if is_cut {
            // Prometheus's words.
            self.warnings
                .push("results truncated due to limit".to_owned());
        }
        self
    }

    /// The same answer with these warnings.
    #[must_use]
    pub fn warned(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}

/// A failure.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    status: &'static str,
    #[serde(rename = "errorType")]
    kind: &'a str,
    error: &'a str,
}

/// `data` as the answer of a request that succeeded.
pub fn data<T: Serialize>(data: T) -> Body<T> {
    Body {
        status: "success",
        data,
        warnings: Vec::new(),
        infos: Vec::new(),
    }
}

/// A query's answer with its warnings.
#[must_use]
pub fn value(answer: &Answer) -> Body<impl Serialize + '_> {
    Body {
        warnings: answer.warnings(),
        infos: answer.infos(),
        ..data(Result {
            kind: answer.value.kind(),
            result: ValueBody(&answer.value),
        })
    }
}

/// A failure of this kind (`bad_data`, `execution`, …) with this message.
#[must_use]
pub fn error<'a>(kind: &'a str, error: &'a str) -> ErrorBody<'a> {
    ErrorBody {
        status: "error",
        kind,
        error,
    }
}

#[derive(Debug, Serialize)]
struct Result<T> {
    #[serde(rename = "resultType")]
    kind: &'static str,
    result: T,
}

#[derive(Debug)]
struct ValueBody<'a>(&'a Value);

impl Serialize for ValueBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::Scalar(time, value) => point(*time, *value).serialize(serializer),
            Value::String(time, text) => (Seconds(*time), text).serialize(serializer),
            Value::Vector(samples) => serializer.collect_seq(samples.iter().map(SampleBody)),
            Value::Matrix(series) => serializer.collect_seq(series.iter().map(SeriesBody)),
        }
    }
}

struct SampleBody<'a>(&'a Sample);

impl Serialize for SampleBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("metric", &Metric(&self.0.labels))?;
        map.serialize_entry("value", &point(self.0.time_ms, self.0.value))?;
        map.end()
    }
}

struct SeriesBody<'a>(&'a RangeSeries);

impl Serialize for SeriesBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("metric", &Metric(&self.0.labels))?;
        map.serialize_entry("values", &Points(&self.0.points))?;
        map.end()
    }
}

struct Points<'a>(&'a [(i64, f64)]);

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for (time, value) in self.0 {
            sequence.serialize_element(&point(*time, *value))?;
        }
        sequence.end()
    }
}

/// A label set as a JSON object.
#[derive(Debug, Clone, Copy)]
pub struct Metric<'a>(pub &'a Labels);

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let pairs = self.0.iter().map(|label| (&*label.name, &*label.value));
        serializer.collect_map(pairs)
    }
}

/// Label sets or texts as a JSON list.
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl Serialize for List<String> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for List<Labels> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Metric))
    }
}

/// Unix milliseconds as seconds with as many decimals as they need.
struct Seconds(i64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            serializer.serialize_i64(self.0 / 1000)
        } else {
            #[expect(clippy::cast_precision_loss, reason = "exact until the year 285,000")]
            serializer.serialize_f64(self.0 as f64 / 1000.0)
        }
    }
}

fn point(time_ms: i64, value: f64) -> (Seconds, String) {
    (Seconds(time_ms), format_value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: Value) -> String {
        let answer = Answer {
            value,
            annotations: Vec::new(),
        };
        serde_json::to_string(&super::value(&answer)).unwrap()
    }

    #[test]
    fn answers_look_like_prometheus() {
        let labels = Labels::new([("__name__", "up"), ("job", "节点")]);
        assert_eq!(
            json(Value::Vector(vec![Sample {
                labels: labels.clone(),
                time_ms: 1_435_781_451_781,
                value: f64::INFINITY,
            }])),
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"节点"},"value":[1435781451.781,"+Inf"]}]}}"#
        );
        assert_eq!(
            json(Value::Matrix(vec![RangeSeries {
                labels,
                points: vec![(1_000, 1.0), (1_500, f64::NAN)],
            }])),
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"节点"},"values":[[1,"1"],[1.5,"NaN"]]}]}}"#
        );
        assert_eq!(
            json(Value::Scalar(2_000, -0.5)),
            r#"{"status":"success","data":{"resultType":"scalar","result":[2,"-0.5"]}}"#
        );
        let failed = serde_json::to_string(&error("bad_data", "no \"query\"")).unwrap();
        assert_eq!(
            failed,
            r#"{"status":"error","errorType":"bad_data","error":"no \"query\""}"#
        );
    }
}
