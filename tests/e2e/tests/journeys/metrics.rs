//! A local scraper reads the agent's loopback page.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually, fetch};

/// What `promtool check metrics` says of names that are node_exporter's own and stay as they are.
const NAMES_OF_OTHERS: [&str; 2] = ["node_", "xiezhi_agent_info"];

#[tokio::test]
async fn the_loopback_page_is_what_prometheus_reads() -> Result<()> {
    let controller = TestController::start().await?;
    let configuration = "interval: 1s\nreconnect_within: 1s\nmetrics: 127.0.0.1:0\n";
    let mut agent = TestAgent::enrol(&controller, configuration)?;
    agent.run()?;
    let address = eventually("the page is served", async || {
        agent.process()?.check()?;
        let log = agent.log();
        let line = log.lines().find(|line| line.contains("/metrics is served"));
        let address = line.and_then(|line| line.split("address=").nth(1));
        Ok(address.map(|rest| rest.trim().to_owned()))
    })
    .await?;
    let page = eventually("the page holds a report", async || {
        let page = fetch(&format!("http://{address}/metrics")).await?;
        let whole = page.contains("\nnode_load1 ") && page.contains("\nxiezhi_agent_info{");
        Ok(whole.then_some(page))
    })
    .await?;
    assert!(page.contains("# TYPE node_cpu_seconds_total counter\n"));
    assert!(page.contains("# TYPE node_load1 gauge\n"));
    check(&page)?;
    agent.stop()
}

/// Has Prometheus's own reader read it.
fn check(page: &str) -> Result<()> {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        xiezhi_test_support::skip("promtool is not installed: apt-get install prometheus");
        return Ok(());
    };
    let mut input = promtool.stdin.take().context("promtool has no input")?;
    input.write_all(page.as_bytes())?;
    drop(input);
    let done = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    // 3: it was read, and there are remarks.
    let read = matches!(done.status.code(), Some(0 | 3));
    ensure!(read, "promtool cannot read the page: {said}");
    let ours = said
        .lines()
        .find(|line| !NAMES_OF_OTHERS.iter().any(|name| line.starts_with(name)));
    ensure!(ours.is_none(), "promtool remarks: {said}");
    ensure!(!said.contains("no help text"), "promtool remarks: {said}");
    Ok(())
}
