//! The worker dies; the warden starts another, and the host goes on as the same.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually};

#[tokio::test]
async fn a_worker_that_dies_is_replaced_and_the_host_stays_the_same() -> Result<()> {
    let controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let before = api.only_host_when("up").await?;
    let Some(worker) = worker_of(agent.process()?.children()) else {
        xiezhi_test_support::skip("the agent has a warden only when root starts it");
        return Ok(());
    };
    let killed = Command::new("kill")
        .args(["-s", "KILL", &worker.to_string()])
        .status()?;
    ensure!(killed.success(), "the worker was not killed");
    eventually("another worker runs", async || {
        let other = worker_of(agent.process()?.children());
        Ok(other.filter(|&other| other != worker))
    })
    .await?;
    assert!(
        agent
            .log()
            .contains("xiezhi-agent: the worker ended (signal: 9 (SIGKILL))")
    );
    let after = eventually("a new session is open", async || {
        let host = api.only_host().await?;
        let opened = |host: &serde_json::Value| host["connected_since_ms"].as_i64();
        Ok(host.filter(|host| opened(host) > opened(&before)))
    })
    .await?;
    assert_eq!(after["id"], before["id"]);
    assert!(after["identity_conflict_ms"].is_null(), "{after}");
    api.only_host_when("up").await?;
    agent.process()?.check().context("the warden must go on")?;
    agent.stop()
}

fn worker_of(children: Vec<u32>) -> Option<u32> {
    let name = |child: &u32| std::fs::read_to_string(format!("/proc/{child}/comm")).ok();
    children
        .into_iter()
        .find(|child| name(child).as_deref() == Some("xiezhi-worker\n"))
}
