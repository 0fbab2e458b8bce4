//! `metadata`: what kind of number a metric is. Of our agents' metrics the type is read off the name, as
//! the naming rules of the Prometheus documentation have it; agents send no help texts, they would cost
//! the line. Of a foreign source's metrics it is what the source told, if it told anything.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use serde::Serialize;
use xiezhi_metrics::remote_write::Description;
use xiezhi_metrics::{Directory as _, SOURCE, Scope, Selectors};
use xiezhi_promql::{METRIC_NAME, MatchOp, Matcher, format_matchers};

use super::parameters::Parameters;
use super::{Made, Refused};
use crate::program::Reader;
use crate::state::AppState;

/// What is known of one metric.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Metadata {
    r#type: &'static str,
    help: Cow<'static, str>,
    unit: Cow<'static, str>,
}

const LOOK_BACK_MS: i64 = 3_600_000;

pub(crate) async fn metadata(
    State(state): State<AppState>,
    Extension(reader): Extension<Reader>,
    parameters: Parameters,
) -> Result<Made, Refused> {
    state.inner.directory.refresh().await?;
    let wanted = parameters.get("metric");
    let wish = parameters.wish()?;
    let own = names(&state, &reader.scope, wanted, MatchOp::Equal).await?;
    // Thousands of metrics of hundreds of sources: work for a query thread.
    let sources = visible_sources(&state, &reader.scope);
    let foreign = if sources.is_empty() {
        Vec::new()
    } else {
        names(&state, &reader.scope, wanted, MatchOp::NotEqual).await?
    };
    let each = parameters.limit_of("limit_per_metric")?;
    let (queries, limit) = (state.inner.queries.clone(), wish.limit);
    let made = queries.made_json(wish, move || {
        let mut known: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
        for name in own {
            let of_host = of(&name);
            known.insert(name, vec![of_host]);
        }
        for name in foreign {
            let told = told(&state, &sources, &name);
            let all = known.entry(name).or_default();
            for one in told {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        for all in known.values_mut() {
            all.truncate(each);
        }
        let known = known.into_iter().take(limit);
        known.collect::<BTreeMap<_, _>>()
    });
    Ok(Made(made.await?))
}

/// Names of metrics of hosts (whose label [`SOURCE`] is empty) or of sources.
async fn names(
    state: &AppState,
    scope: &Scope,
    wanted: Option<&str>,
    source: MatchOp,
) -> Result<Vec<String>, Refused> {
    let end_ms = state.now_ms();
    let named = match wanted {
        Some(name) => Matcher::equal(METRIC_NAME, name),
        None => Matcher::written(METRIC_NAME, MatchOp::NotEqual, ""),
    };
    let of_source = Matcher::written(SOURCE, source, "");
    let selectors = Selectors {
        texts: vec![format_matchers(&[named, of_source])],
        start_ms: end_ms.saturating_sub(LOOK_BACK_MS),
        end_ms,
    };
    let queries = &state.inner.queries;
    let values = queries.label_values(scope.clone(), METRIC_NAME.to_owned(), selectors);
    Ok(values.await?)
}

/// Keys of the sources that the caller sees.
fn visible_sources(state: &AppState, scope: &Scope) -> Vec<i64> {
    let origins = state.inner.directory.origins();
    let all = origins.hosts.iter().zip(origins.sites.iter());
    let seen = all.filter(|(origin, site)| origin.host < 0 && scope.sees(**site));
    seen.map(|(origin, _)| origin.host).collect()
}

/// What the sources told of a metric; what its name tells if they told nothing.
fn told(state: &AppState, sources: &[i64], name: &str) -> Vec<Metadata> {
    let described = state.inner.write_desk.described();
    let told = sources
        .iter()
        .filter_map(|&source| described.of(source, name));
    let told: Vec<Metadata> = told.map(Metadata::from).collect();
    if told.is_empty() {
        return vec![of(name)];
    }
    told
}

impl From<&Description> for Metadata {
    fn from(description: &Description) -> Self {
        Self {
            r#type: description.kind,
            help: description.help.clone().into(),
            unit: description.unit.clone().into(),
        }
    }
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
        help: Cow::Borrowed(""),
        unit: Cow::Borrowed(unit),
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
