//! Two machines with one identity, as a cloned virtual disk makes them.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually};

const EVERY_SECOND: &str = "interval: 1s\nreconnect_within: 1s\n";

#[tokio::test]
async fn a_copied_identity_is_noticed_shown_and_audited() -> Result<()> {
    let controller = TestController::start().await?;
    let mut original = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    assert!(host["identity_conflict_ms"].is_null(), "{host}");
    let id = host["id"].as_i64().context("the row has no id")?;
    original.stop()?;

    let mut copy = TestAgent::prepare(EVERY_SECOND)?;
    let copied = Command::new("cp")
        .arg("-a")
        .args([original.state(), copy.state()])
        .status()?;
    ensure!(copied.success(), "the state folder was not copied");
    original.run()?;
    copy.run()?;

    eventually("the host is marked", async || {
        let host = api.only_host().await?;
        Ok(host.and_then(|host| host["identity_conflict_ms"].as_i64()))
    })
    .await?;
    let path = format!("/api/v1/audit?subject=host:{id}");
    eventually("the mark is audited", async || {
        let audit = api.get(&path).await?;
        let items = audit["items"].as_array().cloned().unwrap_or_default();
        let known = ["host.identity_conflict", "host.rolled_back_or_cloned"];
        Ok(items
            .into_iter()
            .find(|item| known.iter().any(|action| item["action"] == **action)))
    })
    .await?;
    let listed = api.get("/api/v1/hosts?conflict=true").await?;
    assert_eq!(listed["total"], 1, "{listed}");

    // A person ends the copy and takes the mark off: it stays off.
    copy.stop()?;
    original.stop()?;
    api.post(
        &format!("/api/v1/hosts/{id}/settle"),
        &serde_json::json!({}),
    )
    .await?;
    let host = api
        .only_host()
        .await?
        .context("the host is gone from the list")?;
    assert!(host["identity_conflict_ms"].is_null(), "{host}");
    Ok(())
}
