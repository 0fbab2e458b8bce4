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
    let before = api.only_host_when("up").await?;
    let id = before["id"].as_i64().context("the row has no id")?;
    let first_ms = before["last_report_ms"].as_i64().context("no report")?;

    let asked = std::time::Instant::now();
    let path = format!("/api/v1/hosts/{id}/directives");
    let outcome = api.post(&path, &json!({ "kind": "collect_now" })).await?;
    assert_eq!(outcome, json!({ "outcome": "done", "detail": "" }));
    eventually("a further report comes", async || {
        let host = api.only_host().await?;
        let last_ms = host.and_then(|host| host["last_report_ms"].as_i64());
        Ok(last_ms.filter(|&last_ms| last_ms > first_ms))
    })
    .await?;
    eprintln!("from the request to the report: {:?}", asked.elapsed());

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
