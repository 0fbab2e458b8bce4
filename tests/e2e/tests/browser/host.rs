//! A host's page follows what the host reports.

use anyhow::{Context as _, Result};
use xiezhi_test_support::{TestAgent, TestController};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// The lines of all charts as they are painted: changes whenever one is redrawn otherwise.
const PAINTED: &str = "return [...document.querySelectorAll('.chart canvas')].map((canvas) => canvas.toDataURL()).join()";

#[tokio::test]
async fn a_new_report_redraws_the_charts_without_a_reload() -> Result<()> {
    let controller = TestController::start().await?;
    let mut agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.goto(&format!("/hosts/{id}?range=15m")).await?;
    browser
        .until(
            "charts are drawn",
            "return document.querySelectorAll('.chart canvas').length >= 3",
        )
        .await?;
    browser.run("window.sameDocument = true").await?;
    let first = browser.run(PAINTED).await?;
    let script = format!(
        "const before = arguments[0]; const now = (() => {{ {PAINTED} }})(); return now !== before"
    );
    for _ in 0..2 {
        browser
            .until_with("the charts change", &script, &first)
            .await?;
    }
    browser
        .until("the same document", "return window.sameDocument === true")
        .await?;

    // When the agent is stopped in good order the page says so by itself, in words.
    agent.stop()?;
    browser
        .until(
            "the page says that the agent stopped",
            "return document.querySelector('main').textContent.includes('代理被停止了')",
        )
        .await?;
    checks::none_of(&checks::around(&browser, "host-stopped", Look::usual()).await?)?;
    browser.close().await
}
