//! A host's identity is withdrawn while it reports.

use anyhow::{Context as _, Result};
use xiezhi_test_support::{TestAgent, TestController, eventually};

#[tokio::test]
async fn a_revoked_host_is_cut_off_and_returns_only_with_a_new_token() -> Result<()> {
    let controller = TestController::start().await?;
    let mut agent = TestAgent::prepare("interval: 1s\nreconnect_within: 1s\n")?;
    let token = controller.token(1)?;
    agent.enrol_with(controller.agents(), &token, &[])?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    assert!(!host["connected_since_ms"].is_null(), "{host}");

    let asked = std::time::Instant::now();
    controller.command(&[
        "host",
        "revoke",
        &id.to_string(),
        "--reason",
        "decommissioned",
    ])?;
    eventually("the session is closed", async || {
        let host = api.only_host().await?;
        Ok(host.filter(|host| host["connected_since_ms"].is_null()))
    })
    .await?;
    eprintln!(
        "from the command to the closed session: {:?}",
        asked.elapsed()
    );
    let host = api.only_host_when("unknown").await?;
    assert_eq!(host["reason"], "revoked", "{host}");
    eventually("the agent hears why", async || {
        Ok(agent.log().contains("code=\"revoked\"").then_some(()))
    })
    .await?;
    let audit = api.get("/api/v1/audit?action=host.revoke").await?;
    assert_eq!(
        audit["items"][0]["detail"]["reason"], "decommissioned",
        "{audit}"
    );
    agent.stop()?;

    let refused = agent
        .enrol_with(controller.agents(), &token, &["--force"])
        .unwrap_err();
    let said = "xiezhi-agent: this enrolment token is used up: ask for a new one";
    assert!(refused.to_string().contains(said), "{refused:#}");
    let still = agent
        .enrol_with(controller.agents(), &token, &[])
        .unwrap_err();
    assert!(
        still.to_string().contains("--force makes a new identity"),
        "{still:#}"
    );

    agent.enrol_with(controller.agents(), &controller.token(1)?, &["--force"])?;
    agent.run()?;
    eventually("the host is back under a new number", async || {
        let list = api.get("/api/v1/hosts?presence=up").await?;
        Ok(list["items"][0]["id"].as_i64().filter(|&new| new != id))
    })
    .await?;
    Ok(())
}
