//! Other people's agents send to the real controller, which is killed meanwhile: what it answers
//! afterwards is what the sender's own side has. With `XIEZHI_LONG` set they do so for 25 minutes, and
//! blocks are cut meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{
    Api, Running, TestController, eventually, eventually_within, fetch, free_port, skip,
};

/// Samples by series text and time, without the labels that the controller gives.
type Samples = BTreeMap<String, BTreeMap<i64, f64>>;

/// Seconds that are compared at once: an answer of them has a bounded size.
const SLICE_S: i64 = 60;

/// Seconds that the compared samples span at least.
const LEAST_S: i64 = 12;
/// Longest wait for a sender that goes on: it may pause for a while after a failure.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often the controller is killed, and the seconds of samples that must arrive before each.
fn schedule() -> (u32, f64) {
    if std::env::var_os("XIEZHI_LONG").is_some() {
        (30, 50.0)
    } else {
        (2, 2.0)
    }
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

fn token(controller: &TestController) -> Result<String> {
    let made = controller.command(&[
        "api-token",
        "create",
        "--name",
        "sender",
        "--right",
        "write-metrics",
        "--site",
        "gs-01",
    ])?;
    Ok(made.trim().to_owned())
}

fn scrape(port: u16) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: self\n    \
         static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    )
}

/// Newest time of a series that the controller has, in Unix seconds.
async fn newest(api: &Api, query: &str) -> Result<Option<f64>> {
    let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let answer = api.get(&format!("/api/v1/query?query={encoded}")).await?;
    Ok(answer["data"]["result"][0]["value"][1]
        .as_str()
        .and_then(|text| text.parse().ok()))
}

/// Lets the sender send, kills the controller twice meanwhile, and yields a closed time that both
/// sides have samples of: its end and its length, seconds.
async fn send_through_kills(controller: &mut TestController) -> Result<(i64, i64)> {
    let api = controller.api().await?;
    let first = eventually("samples arrive", async || {
        newest(&api, "timestamp(up{job=\"self\"})").await
    })
    .await?;
    let start_s = first.ceil() as i64;
    let (kills, apart_s) = schedule();
    for _ in 0..kills {
        let before = newest_now(&controller.api().await?).await?;
        controller.kill();
        controller.run().await?;
        let api = controller.api().await?;
        eventually_within(PATIENCE, "samples arrive again", async || {
            let now = newest_now(&api).await?;
            Ok((now > before + apart_s).then_some(()))
        })
        .await?;
    }
    let api = controller.api().await?;
    eventually("enough samples arrive", async || {
        let now = newest_now(&api).await?;
        Ok((now > (start_s + LEAST_S + 2) as f64).then_some(()))
    })
    .await?;
    let end_s = newest_now(&api).await? as i64 - 1;
    Ok((end_s, end_s - start_s))
}

async fn newest_now(api: &Api) -> Result<f64> {
    let query = "max(timestamp(last_over_time(up{job=\"self\"}[5m])))";
    Ok(newest(api, query).await?.unwrap_or(0.0))
}

/// Samples of a Prometheus answer whose result is a matrix.
fn matrix(answer: &Value) -> Result<Samples> {
    ensure!(answer["status"] == "success", "{answer}");
    let mut all = Samples::new();
    for series in answer["data"]["result"].as_array().into_iter().flatten() {
        let points = series["values"].as_array().into_iter().flatten();
        let points = points.filter_map(|pair| {
            let time_ms = (pair[0].as_f64()? * 1000.0).round() as i64;
            Some((time_ms, pair[1].as_str()?.parse().ok()?))
        });
        all.insert(text(&series["metric"]), points.collect());
    }
    Ok(all)
}

fn text(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let own = labels.filter(|(name, _)| !["source_id", "site", "site_id"].contains(&name.as_str()));
    // Not everybody tells them sorted.
    let mut own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    own.sort_unstable();
    own.join(" ")
}

async fn stored(controller: &TestController, end_s: i64, length_s: i64) -> Result<Samples> {
    let query = format!("{{source_id!=\"\",job=\"self\"}}[{length_s}s]");
    let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let api = controller.api().await?;
    matrix(
        &api.get(&format!("/api/v1/query?time={end_s}&query={encoded}"))
            .await?,
    )
}

/// The compared time in parts: the end of each and its length, seconds.
fn slices(end_s: i64, length_s: i64) -> impl Iterator<Item = (i64, i64)> {
    let start_s = end_s - length_s;
    let parts = (0..length_s).step_by(SLICE_S as usize);
    parts.map(move |begun_s| {
        let length_s = SLICE_S.min(length_s - begun_s);
        (start_s + begun_s + length_s, length_s)
    })
}

/// Fails at the first difference. A peer that rounds is allowed so much of a value.
fn compare(ours: &Samples, theirs: &Samples, tolerance: f64) -> Result<()> {
    ensure!(
        theirs.len() > 50,
        "the sender has only {} series",
        theirs.len()
    );
    for (series, points) in theirs {
        let own = ours
            .get(series)
            .with_context(|| format!("{series} is missing"))?;
        let times = |points: &BTreeMap<i64, f64>| points.keys().copied().collect::<Vec<_>>();
        ensure!(
            times(own) == times(points),
            "{series}: {own:?} is not {points:?}"
        );
        for (time_ms, value) in points {
            let stored = own.get(time_ms).copied().unwrap_or(f64::NAN);
            let same = stored.to_bits() == value.to_bits()
                || (stored.is_nan() && value.is_nan())
                || (stored - value).abs() <= value.abs() * tolerance;
            ensure!(same, "{series} at {time_ms}: {stored} is not {value}");
        }
    }
    ensure!(
        ours.len() == theirs.len(),
        "{} are not {}",
        ours.len(),
        theirs.len()
    );
    Ok(())
}

async fn nothing_was_refused(controller: &TestController) -> Result<()> {
    let api = controller.api().await?;
    for name in [
        "xiezhi_remote_write_refused_total",
        "xiezhi_series_damaged_places",
    ] {
        ensure!(api.metric(name).await? == 0.0, "{name} is not 0");
    }
    ensure!(
        api.metric("xiezhi_remote_write_samples_total").await? > 100.0,
        "nothing came"
    );
    Ok(())
}

fn start(name: &str, folder: &Path, arguments: &[String]) -> Result<Running> {
    let log = folder.join(format!("{name}.log"));
    Running::start(
        name,
        Command::new(name).args(arguments).current_dir(folder),
        &log,
    )
}

#[tokio::test]
async fn a_prometheus_finds_every_sample_again_although_the_controller_was_killed() -> Result<()> {
    if !is_there("prometheus") {
        skip("the Debian package prometheus is not installed");
        return Ok(());
    }
    let mut controller = TestController::start().await?;
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let configuration = format!(
        "{}remote_write:\n  - url: http://{}/api/v1/write\n    authorization: {{credentials: {}}}\n    \
         queue_config: {{max_backoff: 1s, batch_send_deadline: 500ms}}\n    \
         metadata_config: {{send_interval: 2s}}\n",
        scrape(port),
        controller.web(),
        token(&controller)?
    );
    std::fs::write(folder.path().join("prometheus.yml"), configuration)?;
    let arguments = [
        "--config.file=prometheus.yml".to_owned(),
        "--storage.tsdb.path=data".to_owned(),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let prometheus = start("prometheus", folder.path(), &arguments)?;
    let (end_s, length_s) = send_through_kills(&mut controller)
        .await
        .with_context(|| prometheus.log())?;
    for (end_s, length_s) in slices(end_s, length_s) {
        let theirs = format!(
            "http://127.0.0.1:{port}/api/v1/query?time={end_s}&query=%7Bjob%3D%22self%22%7D%5B{length_s}s%5D"
        );
        let theirs = matrix(&serde_json::from_str(&fetch(&theirs).await?)?)?;
        eventually("both have the same samples", async || {
            compare(&stored(&controller, end_s, length_s).await?, &theirs, 0.0).map(Some)
        })
        .await?;
    }
    let api = controller.api().await?;
    eventually("the sender's descriptions are shown", async || {
        let all = api
            .get("/api/v1/metadata?metric=prometheus_build_info")
            .await?;
        let help = all["data"]["prometheus_build_info"][0]["help"].as_str();
        Ok(help.filter(|help| help.contains("version")).map(|_| ()))
    })
    .await?;
    nothing_was_refused(&controller).await
}

#[tokio::test]
async fn a_vmagent_finds_every_sample_again_although_the_controller_was_killed() -> Result<()> {
    if !is_there("vmagent") || !is_there("victoria-metrics") {
        skip("the Debian package victoria-metrics is not installed");
        return Ok(());
    }
    let mut controller = TestController::start().await?;
    let folder = tempfile::tempdir()?;
    let (port, peer) = (free_port()?, free_port()?);
    std::fs::write(folder.path().join("scrape.yml"), scrape(port))?;
    let _peer = start(
        "victoria-metrics",
        folder.path(),
        &[
            "-storageDataPath=data".to_owned(),
            format!("-httpListenAddr=127.0.0.1:{peer}"),
        ],
    )?;
    let arguments = [
        "-promscrape.config=scrape.yml".to_owned(),
        "-remoteWrite.tmpDataPath=queue".to_owned(),
        format!("-httpListenAddr=127.0.0.1:{port}"),
        format!("-remoteWrite.url=http://{}/api/v1/write", controller.web()),
        format!("-remoteWrite.url=http://127.0.0.1:{peer}/api/v1/write"),
        format!("-remoteWrite.bearerToken={}", token(&controller)?),
    ];
    let vmagent = start("vmagent", folder.path(), &arguments)?;
    let (end_s, length_s) = send_through_kills(&mut controller)
        .await
        .with_context(|| vmagent.log())?;
    for (end_s, length_s) in slices(end_s, length_s) {
        let theirs = format!(
            "http://127.0.0.1:{peer}/api/v1/export?match[]=%7Bjob%3D%22self%22%7D&start={}&end={end_s}",
            end_s - length_s
        );
        eventually("both have the same samples", async || {
            let theirs = exported(&fetch(&theirs).await?)?;
            // It rounds to so many decimals.
            compare(&stored(&controller, end_s, length_s).await?, &theirs, 1e-11).map(Some)
        })
        .await?;
    }
    nothing_was_refused(&controller).await
}

/// Samples of VictoriaMetrics's lines of JSON.
fn exported(lines: &str) -> Result<Samples> {
    let mut all = Samples::new();
    for line in lines.lines() {
        let series: Value = serde_json::from_str(line)?;
        let times = series["timestamps"].as_array().into_iter().flatten();
        let values = series["values"].as_array().into_iter().flatten();
        let pairs = times.zip(values);
        let pairs = pairs.filter_map(|(time, value)| Some((time.as_i64()?, value.as_f64()?)));
        let points: &mut BTreeMap<i64, f64> = all.entry(text(&series["metric"])).or_default();
        points.extend(pairs);
    }
    Ok(all)
}
