//! A court's bandwidth budget is set on its page and reaches its agents.

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{TestAgent, TestController, eventually};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

#[tokio::test]
async fn a_budget_is_set_in_the_browser_told_to_the_agent_and_audited() -> Result<()> {
    let controller = TestController::start().await?;
    let agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let site = host["site"]["id"].as_i64().context("the row has no site")?;
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.goto(&format!("/sites/{site}")).await?;
    browser
        .click("section[aria-labelledby=budget] .budget-acts .button")
        .await?;
    browser.fill(".budget-kbps input", "512").await?;
    browser.click(".budget-form .button-primary").await?;
    let shown = "return document.querySelector('.budget-runs').textContent.includes('512 kbit/s') && !document.querySelector('.budget-form')";
    browser.until("the budget is shown", shown).await?;
    browser.picture("site-budget").await?;

    let address = format!("/api/v1/sites/{site}/bandwidth");
    let budget = api.get(&address).await?;
    ensure!(
        budget["own"][8] == 512 && budget["own"][20].is_null(),
        "{budget}"
    );
    eventually("the controller told one agent", async || {
        let log = log_of(&controller)?;
        Ok(log.contains("bandwidth budgets changed").then_some(()))
    })
    .await?;
    let refused = log_of(&controller)?.contains("budget was not taken");
    ensure!(!refused, "the agent refused the budget");

    // The same from the console: the page and the agents follow.
    let set = [
        "bandwidth",
        "set",
        "--site",
        "gs",
        "--hours",
        "22-6",
        "--kbps",
        "64",
    ];
    let said = controller.command(&set)?;
    ensure!(
        said.contains("08:00-18:00  512 kbit/s") && said.contains("22:00-24:00  64 kbit/s"),
        "{said}"
    );
    browser.goto(&format!("/sites/{site}")).await?;
    browser
        .until(
            "the console's budget is shown",
            "return document.querySelector('.budget-runs').textContent.includes('64 kbit/s')",
        )
        .await?;

    browser.goto("/audit").await?;
    browser
        .until(
            "the audit names the act",
            "return document.querySelector('main').textContent.includes('设置法院带宽预算')",
        )
        .await?;
    checks::none_of(&browser.problems().await?)?;
    browser.close().await?;
    drop(agent);
    Ok(())
}

fn log_of(controller: &TestController) -> Result<String> {
    Ok(std::fs::read_to_string(
        controller.folder().join("controller.log"),
    )?)
}
