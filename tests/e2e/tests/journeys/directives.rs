//! A person asks a host to report now.

use anyhow::{Context as _, Result};
use serde_json::json;
use xiezhi_test_support::{TestAgent, TestController, eventually};

#[tokio::test]
async fn collect_now_reaches_the_agent_and_a_report_follows() -> Result<()> {
    let controller = TestController::start().await?;
    // With an hour between reports, whatever comes next comes because it was asked for.
    let mut agent = TestAgent::enrol(&controller, "interval: 1h\nreconnect_within: 1s\n")?;
    agent.run()?;
    let api = controller.api().await?;
    // The report of the start was taken before the session and counts as past: it tells nothing
    // of the present, so the host has not been heard of yet.
    let host = eventually("the agent is connected", async || {
        let host = api.only_host().await?;
        Ok(host.filter(|host| !host["connected_since_ms"].is_null()))
    })
    .await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    assert_eq!(host["reason"], "never_reported", "{host}");

    let asked = std::time::Instant::now();
    let path = format!("/api/v1/hosts/{id}/directives");
    let outcome = api.post(&path, &json!({ "kind": "collect_now" })).await?;
    assert_eq!(outcome, json!({ "outcome": "done", "detail": "" }));
    let host = api.only_host_when("up").await?;
    eprintln!("from the request to the report: {:?}", asked.elapsed());
    assert!(!host["last_report_ms"].is_null(), "{host}");

    let audit = api
        .get(&format!(
            "/api/v1/audit?action=host.direct&subject=host:{id}"
        ))
        .await?;
    assert_eq!(
        audit["items"][0]["detail"]["directive"], "collect_now",
        "{audit}"
    );
    Ok(())
}
