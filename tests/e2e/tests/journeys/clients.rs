//! Other people's clients ask the real controller: promtool, and vmalert, which evaluates rules against it
//! and sends what comes out back to it.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{Running, TestAgent, TestController, eventually, free_port, skip};

/// A token of this right, for everything or a court.
fn token(controller: &TestController, right: &str, site: &[&str]) -> Result<String> {
    let mut arguments = vec!["api-token", "create", "--name", "client", "--right", right];
    arguments.extend(site);
    Ok(controller.command(&arguments)?.trim().to_owned())
}

/// What `promtool query …` prints of the controller at `url`.
fn promtool(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("promtool");
    command.arg("query").args(arguments);
    Ok(command.output()?)
}

fn answer(arguments: &[&str]) -> Result<String> {
    let output = promtool(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn json(arguments: &[&str]) -> Result<Value> {
    let text = answer(arguments)?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

#[tokio::test]
async fn promtool_asks_everything_that_it_can_ask() -> Result<()> {
    if Command::new("promtool").arg("--version").output().is_err() {
        skip("promtool is not installed: apt-get install prometheus");
        return Ok(());
    }
    let controller = TestController::start().await?;
    let _agent = TestAgent::start(&controller)?;
    let host = controller.api().await?.only_host_when("up").await?;
    let name = host["hostname"].as_str().context("a host has a name")?;
    let secret = token(&controller, "read-metrics", &[])?;
    let url = format!("http://anybody:{secret}@{}", controller.web());

    let instant = ["instant", "-o", "json", &url, "node_load1"];
    let found = eventually("promtool finds the host", async || {
        let found = json(&instant)?;
        Ok((!found[0].is_null()).then_some(found))
    })
    .await?;
    ensure!(found[0]["metric"]["instance"] == name, "{found}");
    let text = answer(&["instant", &url, "count(node_load1) + 1"])?;
    ensure!(text.contains("=> 2 @["), "{text}");
    ensure!(
        answer(&["instant", &url, "1 + 1"])?.contains("scalar: 2"),
        "a scalar"
    );

    let range = json(&["range", "-o", "json", "--step=1s", &url, "vector(3)"])?;
    let values = range[0]["values"].as_array().context("values")?;
    ensure!(
        values.len() == 301,
        "five minutes by the second: {}",
        values.len()
    );
    let range = answer(&["range", "--step=1m", &url, "node_load1"])?;
    ensure!(range.contains(name), "{range}");

    let series = answer(&["series", "--match=node_load1", "--match=node_load5", &url])?;
    ensure!(
        series.lines().filter(|line| line.contains(name)).count() == 2,
        "{series}"
    );
    let labels = answer(&["labels", &url, "instance"])?;
    ensure!(labels.lines().any(|line| line == name), "{labels}");
    let names = answer(&["labels", &url, "__name__"])?;
    ensure!(names.lines().any(|line| line == "node_load1"), "{names}");

    let wrong = promtool(&["instant", &url, "up{"])?;
    let said = String::from_utf8_lossy(&wrong.stderr);
    ensure!(
        !wrong.status.success() && said.contains("bad_data") && said.contains("parse error"),
        "{said}"
    );
    let stranger = format!("http://anybody:xza_00@{}", controller.web());
    let refused = promtool(&["instant", &stranger, "1"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("unauthorized"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn vmalert_evaluates_rules_here_and_writes_what_comes_out() -> Result<()> {
    if Command::new("vmalert").arg("--version").output().is_err() {
        skip("vmalert is not installed: apt-get install victoria-metrics");
        return Ok(());
    }
    let controller = TestController::start().await?;
    let _agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    let reader = token(&controller, "read-metrics", &[])?;
    let writer = token(&controller, "write-metrics", &["--site", "gs-01"])?;
    let folder = tempfile::tempdir()?;
    let rules = folder.path().join("rules.yml");
    std::fs::write(
        &rules,
        "groups:\n  - name: test\n    interval: 1s\n    rules:\n      \
         - {record: 'hosts:count', expr: 'count(node_load1) by (job)'}\n",
    )?;
    let url = format!("http://{}", controller.web());
    let mut command = Command::new("vmalert");
    command.arg(format!("-rule={}", rules.display()));
    command.args([
        format!("-datasource.url={url}"),
        format!("-datasource.bearerToken={reader}"),
        format!("-remoteWrite.url={url}"),
        format!("-remoteWrite.bearerToken={writer}"),
        format!("-httpListenAddr=127.0.0.1:{}", free_port()?),
        "-remoteWrite.flushInterval=1s".to_owned(),
        "-notifier.url=http://127.0.0.1:1".to_owned(),
    ]);
    let log = folder.path().join("vmalert.log");
    let mut running = Running::start("vmalert", &mut command, &log)?;
    let found = eventually("what the rule records is found", async || {
        running.check()?;
        let answer = api.get("/api/v1/query?query=hosts:count").await?;
        let found = answer["data"]["result"][0].clone();
        Ok((!found.is_null()).then_some(found))
    })
    .await?;
    ensure!(
        found["value"][1] == "1" && found["metric"]["job"] == "node",
        "{found}"
    );
    ensure!(!found["metric"]["source_id"].is_null(), "{found}");
    Ok(())
}
