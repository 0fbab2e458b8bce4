//! `series`, `labels` and `label/…/values`: what there is.

use axum::Extension;
use axum::extract::State;
use xiezhi_metrics::Selectors;

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
    let name = unescaped(&name).unwrap_or(name);
    let made = queries.label_values_json(reader.scope, name, selectors, wish);
    Ok(Made(made.await?))
}

/// The name behind `U__…`, in which Prometheus's clients write a name that cannot stand in a path:
/// `__` is an underscore, `_2e_` the sign with that number. `None` if it is no such name.
///
/// Source: "UTF-8 and escaping" of the Prometheus documentation, "values" escaping.
fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::with_capacity(rest.len());
    while let Some((plain, after)) = rest.split_once('_') {
        out.push_str(plain);
        let (number, next) = after.split_once('_')?;
        match number {
            "" => out.push('_'),
            hex => out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?),
        }
        rest = next;
    }
    out.push_str(rest);
    Some(out)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_stand_in_a_path_are_read() {
        let of = |name: &str| unescaped(name);
        assert_eq!(of("U__a_2e_b").as_deref(), Some("a.b"));
        assert_eq!(of("U__a__b_6cd5_").as_deref(), Some("a_b法"));
        for name in ["node_load1", "U__a_b", "U__a_zz_", "U__a_ffffffff_"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
