//! A disk is full for a while: the controller's, or a host's.

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{Api, SmallDisk, TestAgent, TestController, eventually};

use crate::proof;

const CONFIGURATION: &str = "interval: 1s\nreconnect_within: 200ms\nsecurity_events: false\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_intake_visibly_and_loses_nothing() -> Result<()> {
    if !SmallDisk::is_possible() {
        xiezhi_test_support::skip("this user may not mount a tmpfs (run as root)");
        return Ok(());
    }
    let mut controller = TestController::prepare("")?;
    let disk = SmallDisk::under(&controller.folder().join("data"), 24)?;
    let result = fill_and_free(&mut controller, &disk).await;
    // In this order: a folder with a filesystem on it cannot be removed.
    controller.kill();
    drop(disk);
    result
}

async fn fill_and_free(controller: &mut TestController, disk: &SmallDisk) -> Result<()> {
    controller.run().await?;
    let mut agent = TestAgent::enrol(controller, CONFIGURATION)?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;

    let ballast = disk.fill()?;
    // Events may be refused before: samples still fit into what their log has.
    eventually("the log says that samples are refused", async || {
        let log = controller.process()?.log();
        let is_told = log.contains("samples cannot be stored, trying again; agents keep theirs");
        Ok(is_told.then_some(()))
    })
    .await?;
    let failures = api.metric("xiezhi_ingest_commit_failures_total").await?;
    ensure!(failures > 0.0, "no failure is counted");
    // People still see the fleet.
    ensure!(
        api.only_host().await?.is_some(),
        "the list of hosts is empty"
    );

    std::fs::remove_file(ballast)?;
    let host = api.only_host_when("up").await?;
    ensure!(host["identity_conflict_ms"].is_null(), "{host}");
    let ours = proof::stop_with_empty_spool(&mut agent, &api).await?;
    assert_eq!(proof::shown_events(&api, id).await?, ours.last_event);
    controller.stop()?;
    let theirs = proof::of_controller(controller, id)?;
    proof::check_nothing_lost(&ours, &theirs);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_on_a_full_disk_goes_on_says_so_and_recovers() -> Result<()> {
    if !SmallDisk::is_possible() {
        xiezhi_test_support::skip("this user may not mount a tmpfs (run as root)");
        return Ok(());
    }
    let mut controller = TestController::start().await?;
    let mut agent = TestAgent::enrol(&controller, CONFIGURATION)?;
    let disk = SmallDisk::under(&agent.state(), 2)?;
    let result = fill_the_agents(&mut controller, &mut agent, &disk).await;
    // In this order: a folder with a filesystem on it cannot be removed.
    agent.kill();
    drop(disk);
    result
}

async fn fill_the_agents(
    controller: &mut TestController,
    agent: &mut TestAgent,
    disk: &SmallDisk,
) -> Result<()> {
    agent.run()?;
    let api = controller.api().await?;
    let id = api.only_host_when("up").await?["id"].as_i64();
    let id = id.context("the row has no id")?;

    let ballast = disk.fill()?;
    told(&api, agent, true).await?;
    // It goes on: reports wait in memory for their acknowledgement only.
    reports_come(&api, 3).await?;
    // A host that is started anew meanwhile reports too; what it had not sent is lost, and counted.
    agent.kill();
    agent.run()?;
    reports_come(&api, 3).await?;
    told(&api, agent, true).await?;

    std::fs::remove_file(ballast)?;
    told(&api, agent, false).await?;
    reports_come(&api, 2).await?;
    let host = api.only_host().await?.context("the host is gone")?;
    ensure!(host["identity_conflict_ms"].is_null(), "{host}");
    let ours = proof::stop_with_empty_spool(agent, &api).await?;
    assert_eq!((ours.epoch, ours.pending), (1, 0), "{ours:?}");
    proof::shown_events(&api, id).await?;
    controller.stop()?;
    let theirs = proof::of_controller(controller, id)?;
    theirs.check_times();
    let numbers = theirs.numbers().remove(&1).unwrap_or_default();
    ensure!(
        numbers.is_sorted_by(|a, b| a < b),
        "stored twice: {numbers:?}"
    );
    ensure!(numbers.last() == Some(&ours.last), "{numbers:?}, {ours:?}");
    Ok(())
}

/// Waits until the host's own note and the controller say that its spool is in trouble, or not.
async fn told(api: &Api, agent: &TestAgent, full: bool) -> Result<()> {
    let is_told = |text: &str| text.contains("cannot write") || text.contains("cannot keep");
    eventually("the controller shows the trouble", async || {
        let host = api.only_host().await?.context("the host is gone")?;
        let trouble = host["trouble"].as_str().unwrap_or_default();
        Ok((is_told(trouble) == full).then_some(()))
    })
    .await?;
    eventually("status.json tells the trouble", async || {
        let text = std::fs::read_to_string(agent.state().join("status.json"))?;
        let note: serde_json::Value = serde_json::from_str(&text)?;
        let trouble = note["trouble"].as_str().unwrap_or_default();
        Ok((is_told(trouble) == full).then_some(()))
    })
    .await
}

async fn last_report(api: &Api) -> Result<i64> {
    let host = api.only_host().await?.context("the host is gone")?;
    Ok(host["last_report_ms"].as_i64().unwrap_or_default())
}

async fn reports_come(api: &Api, number: u32) -> Result<()> {
    let mut last = last_report(api).await?;
    for _ in 0..number {
        last = eventually("a further report comes", async || {
            let now = last_report(api).await?;
            Ok((now > last).then_some(now))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_starts_on_a_full_disk_says_so_and_recovers() -> Result<()> {
    if !SmallDisk::is_possible() {
        xiezhi_test_support::skip("this user may not mount a tmpfs (run as root)");
        return Ok(());
    }
    let mut controller = TestController::prepare("")?;
    let disk = SmallDisk::under(&controller.folder().join("data"), 24)?;
    let result = start_on_a_full_one(&mut controller, &disk).await;
    controller.kill();
    drop(disk);
    result
}

async fn start_on_a_full_one(controller: &mut TestController, disk: &SmallDisk) -> Result<()> {
    controller.run().await?;
    let mut agent = TestAgent::enrol(controller, CONFIGURATION)?;
    agent.run()?;
    let api = controller.api().await?;
    let id = api.only_host_when("up").await?["id"].as_i64();
    let id = id.context("the row has no id")?;
    reports_come(&api, 2).await?;

    // Both ways to end: with what SQLite and the log keep open, and without.
    for in_order in [false, true] {
        let ballast = if in_order {
            controller.stop()?;
            disk.fill()?
        } else {
            let ballast = disk.fill()?;
            controller.kill();
            ballast
        };
        controller.run().await?;
        // It may have given back a little of its own by starting.
        disk.fill()?;
        let probe = format!("http://{}/readyz", controller.web());
        eventually("the probe says that the disk is full", async || {
            let ready = Api::probe(&probe).await?.to_string();
            ensure!(ready.contains("disk_full"), "{ready}");
            Ok(Some(()))
        })
        .await
        .with_context(|| format!("the controller said:\n{}", log(controller)))?;
        std::fs::remove_file(ballast)?;
        eventually("the probe is well", async || {
            let ready = Api::probe(&probe).await?;
            Ok((ready["status"] == "ok").then_some(()))
        })
        .await?;
        let api = controller.api().await?;
        api.only_host_when("up").await?;
        reports_come(&api, 2).await?;
    }
    let api = controller.api().await?;
    let ours = proof::stop_with_empty_spool(&mut agent, &api).await?;
    assert_eq!(proof::shown_events(&api, id).await?, ours.last_event);
    controller.stop()?;
    let theirs = proof::of_controller(controller, id)?;
    proof::check_nothing_lost(&ours, &theirs);
    Ok(())
}

fn log(controller: &mut TestController) -> String {
    let process = controller.process();
    process.map_or_else(|error| error.to_string(), |process| process.log())
}
