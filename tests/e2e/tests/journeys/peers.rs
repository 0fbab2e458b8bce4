//! The dashboards over the embedded store, over Debian's Prometheus and over Debian's VictoriaMetrics,
//! with the same samples: who moves to a cluster must read the same figures.
//!
//! VictoriaMetrics reckons `rate` and `increase` differently by design: of queries with these only the
//! series must agree; of every other the figures too. docs/dashboards.md holds what was measured, query
//! by query; `XIEZHI_WRITE_DOCS=1` measures and writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{Running, TestAgent, TestController, eventually, free_port, skip};

use crate::dashboards::{all_queries, every_query, finds_nothing};

/// How far figures may be apart that are sums in another order.
const TOLERANCE: f64 = 1e-9;

/// A series' labels in order, of a range with the moment, and its value.
type Figures = BTreeMap<String, f64>;

/// Panels that a browser asks for at once.
const AT_ONCE: usize = 24;

/// A range's length and step, seconds: from before the first sample, so that it begins in it.
const RANGE: (i64, i64) = (60, 3);

#[tokio::test]
async fn dashboards_read_the_same_over_prometheus_and_victoria_metrics() -> Result<()> {
    for program in ["prometheus", "promtool", "victoria-metrics"] {
        if Command::new(program).arg("--version").output().is_err() {
            skip(format!(
                "{program} is not installed (Debian's prometheus, victoria-metrics)"
            ));
            return Ok(());
        }
    }
    let queries = all_queries()?;
    let Embedded {
        samples,
        at_ms,
        figures: ours,
        ranges,
    } = embedded(&queries).await?;
    let folder = tempfile::tempdir()?;
    let mut measured = BTreeMap::new();
    let prometheus = prometheus(folder.path(), &samples).await?;
    let victoria = victoria(folder.path(), &samples).await?;
    for ((file, query), ours) in &ours {
        let theirs = ask(&prometheus.url, query, at_ms).await?;
        ensure!(
            agree(ours, &theirs),
            "{file}: {query}\nembedded:   {ours:?}\nPrometheus: {theirs:?}"
        );
        let theirs = ask(&victoria.url, query, at_ms).await?;
        if let Some(difference) = difference(ours, &theirs) {
            measured.insert(query.clone(), difference);
        }
        ensure!(
            if reckons(query) {
                ours.keys().eq(theirs.keys())
            } else {
                agree(ours, &theirs)
            },
            "{file}: {query}\nembedded:        {ours:?}\nVictoriaMetrics: {theirs:?}"
        );
    }
    for ((file, query), ours) in &ranges {
        let theirs = ask_range(&prometheus.url, query, at_ms).await?;
        ensure!(
            agree(ours, &theirs),
            "{file}: range of {query}\nembedded:   {ours:?}\nPrometheus: {theirs:?}"
        );
        // VictoriaMetrics lets a series end earlier and begin later; where it has a figure, it is ours.
        let theirs = ask_range(&victoria.url, query, at_ms).await?;
        let both = |figures: &Figures, others: &Figures| -> Figures {
            let shared = figures.iter().filter(|(key, _)| others.contains_key(*key));
            shared.map(|(key, value)| (key.clone(), *value)).collect()
        };
        let (ours, theirs) = (both(ours, &theirs), both(&theirs, ours));
        ensure!(
            !ours.is_empty() && (reckons(query) || agree(&ours, &theirs)),
            "{file}: range of {query}\nembedded:        {ours:?}\nVictoriaMetrics: {theirs:?}"
        );
    }
    eprintln!(
        "{} queries; {} of them differ on VictoriaMetrics",
        ours.len(),
        measured.len()
    );
    if std::env::var_os("XIEZHI_WRITE_DOCS").is_some() {
        let (before, _, after) = page()?;
        let text = before + &written(ours.len(), &measured)? + &after;
        std::fs::write(page_path(), text)?;
    }
    let (_, list, _) = page()?;
    let listed = |query: &String| {
        list.lines()
            .any(|line| line.ends_with(&format!(" `{query}`")))
    };
    let unlisted: Vec<_> = measured.keys().filter(|query| !listed(query)).collect();
    ensure!(
        unlisted.is_empty(),
        "docs/dashboards.md does not list {unlisted:#?}: run this test with XIEZHI_WRITE_DOCS=1"
    );
    Ok(())
}

/// How far a query's figures are apart: the largest distance, as a part of the larger figure, and how
/// many of its series differ, of how many. `None` if they agree.
fn difference(ours: &Figures, theirs: &Figures) -> Option<(f64, usize, usize)> {
    if agree(ours, theirs) {
        return None;
    }
    let pairs = ours
        .iter()
        .filter_map(|(series, a)| Some((*a, *theirs.get(series)?)));
    let apart = pairs.map(|(a, b)| (a - b).abs() / a.abs().max(b.abs()).max(f64::MIN_POSITIVE));
    let apart: Vec<f64> = apart.filter(|part| *part > TOLERANCE).collect();
    let largest = apart.iter().copied().fold(0.0, f64::max);
    Some((largest, apart.len(), ours.len()))
}

const BEGIN: &str = "<!-- measured:begin -->\n";
const END: &str = "<!-- measured:end -->\n";

fn page_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dashboards.md")
}

/// The page before, within and after what is measured.
fn page() -> Result<(String, String, String)> {
    let text = std::fs::read_to_string(page_path())?;
    let marks = "docs/dashboards.md has lost its marks";
    let (before, rest) = text.split_once(BEGIN).context(marks)?;
    let (list, after) = rest.split_once(END).context(marks)?;
    Ok((
        before.to_owned() + BEGIN,
        list.to_owned(),
        END.to_owned() + after,
    ))
}

/// What was measured, and which queries use the same functions of counters that stood still.
fn written(asked: usize, measured: &BTreeMap<String, (f64, usize, usize)>) -> Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "Of {asked} queries none differs on Prometheus, and {} on VictoriaMetrics:\n",
        measured.len()
    )?;
    let mut by_size: Vec<_> = measured.iter().collect();
    by_size.sort_by(|(_, one), (_, other)| other.0.total_cmp(&one.0));
    for (query, (largest, differ, all)) in by_size {
        let percent = largest * 100.0;
        writeln!(
            text,
            "- {percent:.1} %, {differ} of {all} series: `{query}`"
        )?;
    }
    let queries: BTreeSet<String> = every_query()?.into_iter().map(|(_, query)| query).collect();
    let still = queries
        .iter()
        .filter(|query| reckons(query) && !measured.contains_key(*query));
    writeln!(
        text,
        "\nThese use the same functions and did not differ, because their counters stood still or are not \
         on that machine:\n"
    )?;
    for query in still {
        writeln!(text, "- `{query}`")?;
    }
    Ok(text)
}

/// All samples of a controller with one agent, a moment, and what the queries give then and for the time
/// before.
struct Embedded {
    samples: Value,
    at_ms: i64,
    figures: BTreeMap<(String, String), Figures>,
    ranges: BTreeMap<(String, String), Figures>,
}

async fn embedded(queries: &BTreeSet<(String, String)>) -> Result<Embedded> {
    let controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    eventually("every query finds data", async || {
        for (_, query) in queries {
            if finds_nothing(&api, query).await? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    // A moment at which every query finds data, and which lies behind: nothing is added to it while it is
    // asked about.
    let now_ms = || anyhow::Ok(i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?);
    let at_ms = (now_ms()? / 1000 + 1) * 1000;
    agent.stop()?;
    eventually("that moment lies behind", async || {
        Ok((now_ms()? > at_ms + 2000).then_some(()))
    })
    .await?;
    let all = format!(
        "/api/v1/query?query={}&time={}",
        encoded("{__name__=~\".+\"}[30m]"),
        at_ms / 1000
    );
    let samples = api.get(&all).await?["data"]["result"].clone();
    ensure!(
        samples.as_array().is_some_and(|series| series.len() > 100),
        "{samples}"
    );
    let mut figures = BTreeMap::new();
    for (file, query) in queries {
        let answer = api.get(&path(query, at_ms)).await?;
        figures.insert((file.clone(), query.clone()), figures_of(&answer)?);
    }
    let drawn: Vec<_> = queries
        .iter()
        .filter(|(_, query)| !query.starts_with("label_values("))
        .collect();
    let mut ranges = BTreeMap::new();
    for panels in drawn.chunks(AT_ONCE) {
        let answers = panels.iter().map(async |(_, query)| {
            let answer = api.get(&range_path(query, at_ms)).await?;
            figures_of(&answer)
        });
        let answers = futures_util::future::join_all(answers).await;
        for (panel, answer) in panels.iter().zip(answers) {
            ranges.insert((*panel).clone(), answer?);
        }
    }
    Ok(Embedded {
        samples,
        at_ms,
        figures,
        ranges,
    })
}

/// A program that answers Prometheus's API.
struct Peer {
    url: String,
    _running: Running,
}

async fn prometheus(folder: &Path, samples: &Value) -> Result<Peer> {
    let (text, data) = (folder.join("samples.txt"), folder.join("prometheus"));
    std::fs::write(&text, open_metrics(samples)?)?;
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &data])
        .output()?;
    ensure!(
        made.status.success(),
        "promtool: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let configuration = folder.join("prometheus.yml");
    std::fs::write(&configuration, "global:\n  evaluation_interval: 1m\n")?;
    let port = free_port()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    start("prometheus", &mut command, folder, port, "/-/ready").await
}

async fn victoria(folder: &Path, samples: &Value) -> Result<Peer> {
    let port = free_port()?;
    let mut command = Command::new("victoria-metrics");
    command.arg(format!(
        "-storageDataPath={}",
        folder.join("victoria").display()
    ));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    command.args(["-retentionPeriod=1y", "-search.latencyOffset=0s"]);
    let peer = start("victoria-metrics", &mut command, folder, port, "/health").await?;
    let mut lines = String::new();
    for series in samples.as_array().into_iter().flatten() {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for (time_ms, value) in points(series)? {
            times.push(time_ms);
            values.push(value.parse::<f64>()?);
        }
        let line = serde_json::json!({
            "metric": series["metric"], "values": values, "timestamps": times,
        });
        writeln!(lines, "{line}")?;
    }
    let client = reqwest::Client::new();
    let import = client
        .post(format!("{}/api/v1/import", peer.url))
        .body(lines);
    import.send().await?.error_for_status()?;
    reqwest::get(format!("{}/internal/force_flush", peer.url))
        .await?
        .error_for_status()?;
    Ok(peer)
}

async fn start(
    name: &str,
    command: &mut Command,
    folder: &Path,
    port: u16,
    ready: &str,
) -> Result<Peer> {
    let mut running = Running::start(name, command, &folder.join(format!("{name}.log")))?;
    let url = format!("http://127.0.0.1:{port}");
    eventually("the peer answers", async || {
        running.check()?;
        let answer = reqwest::get(format!("{url}{ready}")).await?;
        Ok(answer.status().is_success().then_some(()))
    })
    .await?;
    Ok(Peer {
        url,
        _running: running,
    })
}

async fn ask(url: &str, query: &str, at_ms: i64) -> Result<Figures> {
    figures_at(url, &path(query, at_ms), query).await
}

async fn ask_range(url: &str, query: &str, at_ms: i64) -> Result<Figures> {
    figures_at(url, &range_path(query, at_ms), query).await
}

async fn figures_at(url: &str, path: &str, query: &str) -> Result<Figures> {
    let answer = reqwest::get(format!("{url}{path}")).await?.text().await?;
    figures_of(&serde_json::from_str(&answer).with_context(|| answer.clone())?)
        .with_context(|| query.to_owned())
}

/// Where a query, or what a menu asks, is answered for a moment.
fn path(query: &str, at_ms: i64) -> String {
    let at = at_ms / 1000;
    let menu = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    match menu.and_then(|menu| menu.rsplit_once(", ")) {
        Some((selector, label)) => {
            let (from, selector) = (at - 1800, encoded(selector));
            format!("/api/v1/label/{label}/values?match[]={selector}&start={from}&end={at}")
        }
        None => format!("/api/v1/query?query={}&time={at}&nocache=1", encoded(query)),
    }
}

fn range_path(query: &str, at_ms: i64) -> String {
    let ((length, step), end) = (RANGE, at_ms / 1000);
    let (start, query) = (end - length, encoded(query));
    format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}&nocache=1")
}

fn figures_of(answer: &Value) -> Result<Figures> {
    ensure!(answer["status"] == "success", "{answer}");
    if let Some(values) = answer["data"].as_array() {
        return Ok(values
            .iter()
            .map(|value| (value.to_string(), 1.0))
            .collect());
    }
    let mut figures = Figures::new();
    for series in answer["data"]["result"].as_array().context("no result")? {
        if series["values"].is_array() {
            for (time_ms, value) in points(series)? {
                figures.insert(format!("{} {time_ms}", series["metric"]), value.parse()?);
            }
            continue;
        }
        let value = series["value"][1].as_str().context("no value")?;
        // serde_json keeps the labels in order.
        figures.insert(series["metric"].to_string(), value.parse()?);
    }
    Ok(figures)
}

fn agree(ours: &Figures, theirs: &Figures) -> bool {
    ours.keys().eq(theirs.keys())
        && ours.values().zip(theirs.values()).all(|(a, b)| {
            a == b
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
        })
}

/// Milliseconds and values as texts, of a series of a range query.
fn points(series: &Value) -> Result<Vec<(i64, String)>> {
    let mut points = Vec::new();
    for point in series["values"].as_array().context("no values")? {
        let seconds = point[0].as_f64().context("no time")?;
        let value = point[1].as_str().context("no value")?;
        points.push(((seconds * 1000.0).round() as i64, value.to_owned()));
    }
    Ok(points)
}

/// The samples as promtool reads them: a metric's lines together.
fn open_metrics(samples: &Value) -> Result<String> {
    let mut by_metric: BTreeMap<String, String> = BTreeMap::new();
    for series in samples.as_array().into_iter().flatten() {
        let metric = series["metric"].as_object().context("no labels")?;
        let name = metric["__name__"].as_str().context("no name")?;
        let pairs: Vec<String> = metric
            .iter()
            .filter(|(label, _)| *label != "__name__")
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        let lines = by_metric.entry(name.to_owned()).or_default();
        for (time_ms, value) in points(series)? {
            let (seconds, rest) = (time_ms / 1000, time_ms % 1000);
            writeln!(
                lines,
                "{name}{{{}}} {value} {seconds}.{rest:03}",
                pairs.join(",")
            )?;
        }
    }
    Ok(by_metric.into_values().collect::<String>() + "# EOF\n")
}

/// Whether a query uses what VictoriaMetrics reckons differently.
fn reckons(query: &str) -> bool {
    query.contains("rate(") || query.contains("increase(")
}

#[test]
fn the_page_lists_every_query_that_may_differ_and_no_other() -> Result<()> {
    let (_, list, _) = page()?;
    let quoted = |line: &str| Some(line.strip_suffix('`')?.split_once('`')?.1.to_owned());
    let listed: BTreeSet<String> = list.lines().filter_map(quoted).collect();
    let queries: BTreeSet<String> = every_query()?.into_iter().map(|(_, query)| query).collect();
    let may: BTreeSet<String> = queries.into_iter().filter(|query| reckons(query)).collect();
    ensure!(
        listed == may,
        "docs/dashboards.md is older than the dashboards: run this file's tests with \
         XIEZHI_WRITE_DOCS=1"
    );
    Ok(())
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
