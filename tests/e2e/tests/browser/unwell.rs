//! The controller's disk is full: every page says so in words, probes say which part, and both say
//! when it is over.

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::{SmallDisk, TestAgent, TestController, eventually};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

#[tokio::test]
async fn a_full_disk_is_told_on_every_page_and_by_the_probe() -> Result<()> {
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
    let agent = TestAgent::start(controller)?;
    controller.api().await?.only_host_when("up").await?;
    let browser = Browser::signed_in(controller, Look::usual()).await?;
    ensure!(
        probe(&browser, "/healthz").await?.starts_with("200 "),
        "not well at the start"
    );

    let ballast = disk.fill()?;
    let banner = "const told = document.querySelector('.ailment'); return !!told && told.textContent.includes('磁盘已满') && told.textContent.includes('不会丢失')";
    browser.until("the banner", banner).await?;
    browser.picture("unwell").await?;
    let said = probe(&browser, "/readyz").await?;
    ensure!(
        said.starts_with("503 ") && said.contains("disk_full"),
        "{said}"
    );
    for page in ["/fleet", "/settings"] {
        browser.goto(page).await?;
        browser.until("the banner", banner).await?;
    }
    // The browser's log tells of the probe's own refusal.
    let mut found = checks::around(&browser, "unwell-settings", Look::usual()).await?;
    found.retain(|complaint| !complaint.contains("503"));
    checks::none_of(&found)?;

    std::fs::remove_file(ballast)?;
    browser
        .until(
            "the banner goes",
            "return !document.querySelector('.ailment')",
        )
        .await?;
    eventually("the probe is well", async || {
        Ok(probe(&browser, "/readyz")
            .await?
            .starts_with("200 ")
            .then_some(()))
    })
    .await?;
    browser.close().await?;
    drop(agent);
    Ok(())
}

/// Status and body of an address, as the browser gets it.
async fn probe(browser: &Browser, address: &str) -> Result<String> {
    let ask = format!(
        "const done = arguments[arguments.length - 1]; \
         fetch('{address}').then(async (answer) => done(answer.status + ' ' + await answer.text()))"
    );
    let said = browser.run_async(&ask).await?;
    Ok(said.as_str().context("no answer")?.to_owned())
}
