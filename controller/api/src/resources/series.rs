//! Samples of one host as columns for a chart, thinned out here so that a day on a thin line costs
//! what an hour does.

mod columns;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use self::columns::{Column, Grid, Shape};
use crate::answer::Answer;
use crate::extract::{Pairs, Path};
use crate::problem::Problem;
use crate::view::View;

/// Points of one series in one answer at most.
const MAX_POINTS: i64 = 1000;
/// Points where the caller does not say: enough for a chart's width.
const USUAL_POINTS: i64 = 300;
const MAX_RANGE_MS: i64 = 32 * 86_400_000;
const MAX_MATCHES: usize = 64;
/// Reports come every 15 s; a finer grid would be full of holes.
const LEAST_STEP_MS: i64 = 15_000;
/// How far before the range a counter's last value is looked for, so that its rate begins there.
const LOOK_BACK_MS: i64 = 120_000;

/// What is asked for. `match` is a metric's name, once or more.
#[derive(Debug, PartialEq)]
struct Asked {
    names: Vec<String>,
    from_ms: i64,
    to_ms: i64,
    step_ms: i64,
    shape: Shape,
}

/// The parameters as they are described; `parse` reads them.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes what is parsed by hand")]
pub(crate) struct Parameters {
    /// Names of metrics; given once for each.
    #[schemars(length(min = 1, max = 64))]
    r#match: Vec<String>,
    /// Unix milliseconds; an hour before `to` unless given.
    from: Option<i64>,
    /// Unix milliseconds; now unless given. 32 days after `from` at most.
    to: Option<i64>,
    /// Wanted milliseconds between points; more if there would be more than 1,000.
    step: Option<i64>,
    /// Counters as rates per second.
    rate: Option<bool>,
    /// Labels over which series are added up; given once for each.
    without: Option<Vec<String>>,
}

/// Columns: `values[n]` of each series belongs to `times[n]`, Unix seconds; `null` where nothing is
/// known.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Series {
    from_ms: i64,
    to_ms: i64,
    step_ms: i64,
    times: Vec<i64>,
    series: Vec<Column>,
    /// Frames that could not be read; what they held is missing above.
    damaged: u64,
    /// What may be missing above, a sentence for each thing: damage, and files that are not served.
    warnings: Vec<String>,
}

pub(crate) async fn read(
    view: View,
    Path(id): Path<i64>,
    parameters: Pairs<Parameters>,
) -> Result<Answer<Series>, Problem> {
    let state = &view.state;
    let asked = parse(&parameters.0, state.now_ms())?;
    view.host(id).await?;
    let permit = std::sync::Arc::clone(&state.inner.series_queries)
        .acquire_owned()
        .await;
    let permit = permit.map_err(|_| Problem::busy())?;
    let store = state.inner.series.clone();
    let query = tokio::task::spawn_blocking(move || {
        // Held until the work is done, even if the caller has gone.
        let _permit = permit;
        answer(&store, id, &asked)
    });
    let answered = query.await.map_err(|_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(
            status,
            "series_failed",
            "the query failed; the controller's log says why",
        )
    })?;
    Ok(Answer(answered?))
}

fn answer(
    store: &xiezhi_series::SeriesStore,
    host: i64,
    asked: &Asked,
) -> Result<Series, xiezhi_series::SeriesError> {
    let wanted = |series: &str| {
        let name = series.split_once('{').map_or(series, |(name, _)| name);
        asked.names.iter().any(|wanted| wanted == name)
    };
    let from_ms = asked
        .from_ms
        .saturating_sub(if asked.shape.rate { LOOK_BACK_MS } else { 0 });
    let found = store.range_report(host, from_ms, asked.to_ms, &wanted)?;
    let grid = Grid::new(asked.from_ms, asked.to_ms, asked.step_ms);
    Ok(Series {
        from_ms: asked.from_ms,
        to_ms: asked.to_ms,
        step_ms: asked.step_ms,
        times: grid.times_s(),
        series: columns::columns(&grid, &asked.shape, &found.series),
        damaged: found.damaged + found.undecodable,
        warnings: found.lacking,
    })
}

fn parse(parameters: &[(String, String)], now_ms: i64) -> Result<Asked, Problem> {
    let mut names = Vec::new();
    let (mut from_ms, mut to_ms, mut step_ms) = (None, None, None);
    let mut shape = Shape::default();
    for (key, value) in parameters {
        let number = || {
            value.parse::<i64>().map_err(|_| {
                Problem::bad_request(format!("`{key}` must be a whole number of milliseconds"))
            })
        };
        match key.as_str() {
            "match" => names.push(value.clone()),
            "from" => from_ms = Some(number()?),
            "to" => to_ms = Some(number()?),
            "step" => step_ms = Some(number()?),
            "rate" => shape.rate = value == "true",
            "without" => shape.without.push(value.clone()),
            _ => return Err(Problem::bad_request(format!("unknown parameter `{key}`"))),
        }
    }
    if names.is_empty() || names.len() > MAX_MATCHES {
        let detail = format!("give 1 to {MAX_MATCHES} metric names as `match`");
        return Err(Problem::bad_request(detail));
    }
    let to_ms = to_ms.unwrap_or(now_ms);
    let from_ms = from_ms.unwrap_or(to_ms.saturating_sub(3_600_000));
    let range_ms = to_ms.saturating_sub(from_ms);
    if from_ms < 0 || !(1..=MAX_RANGE_MS).contains(&range_ms) {
        let detail = "`from` must be before `to`, by 32 days at most";
        return Err(Problem::bad_request(detail));
    }
    let wanted_ms = step_ms.unwrap_or(range_ms / USUAL_POINTS);
    let least_ms = (range_ms / MAX_POINTS + 1).max(LEAST_STEP_MS);
    Ok(Asked {
        names,
        from_ms,
        to_ms,
        step_ms: wanted_ms.max(least_ms),
        shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Asked, Problem> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        parse(&pairs, 10_000_000_000)
    }

    #[test]
    fn the_step_keeps_answers_small_whatever_is_asked() {
        let day = parsed("match=a&from=9900000000&to=9986400000").unwrap();
        assert_eq!(day.step_ms, 288_000);
        let fine = parsed("match=a&from=9900000000&to=9986400000&step=1").unwrap();
        assert!((fine.to_ms - fine.from_ms) / fine.step_ms <= MAX_POINTS);
        let short = parsed("match=a&from=9999100000&to=10000000000").unwrap();
        assert_eq!(short.step_ms, LEAST_STEP_MS);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "from=1",
            "match=a&from=5&to=4",
            "match=a&x=1",
            "match=a&to=now",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
        assert!(parsed("match=a&from=0&to=9000000000").is_err(), "104 days");
        assert!(parsed(&"match=a&".repeat(65)).is_err());
    }
}
