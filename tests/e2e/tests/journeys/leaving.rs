//! A host falls silent, on purpose or not: it is called down only with evidence.

use anyhow::{Result, bail};
use xiezhi_test_support::{TestAgent, TestController, eventually};

#[tokio::test]
async fn a_stopped_agent_says_goodbye_and_its_host_is_unknown_at_once() -> Result<()> {
    let controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    agent.stop()?;
    let host = api.only_host_when("unknown").await?;
    assert_eq!(host["reason"], "agent_stopped", "{host}");
    assert!(host["connected_since_ms"].is_null(), "{host}");
    agent.run()?;
    api.only_host_when("up").await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_agent_alone_at_its_site_is_late_but_not_down() -> Result<()> {
    let controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    agent.kill();
    let host = eventually("the silence is noticed", async || {
        let Some(host) = api.only_host().await? else {
            bail!("the host is gone from the list")
        };
        Ok((host["presence"] != "up").then_some(host))
    })
    .await?;
    assert_eq!(
        (&host["presence"], &host["reason"]),
        (&"stale".into(), &"report_late".into())
    );
    agent.run()?;
    api.only_host_when("up").await?;
    Ok(())
}
