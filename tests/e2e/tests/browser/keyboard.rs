//! Everything that can be clicked can be reached with the tabulator key, and shows that it was.

use anyhow::{Result, ensure};
use xiezhi_test_support::{TestController, eventually};

use crate::asked::{agent, device};
use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

#[tokio::test]
async fn every_control_is_reached_by_keyboard_and_shows_the_focus() -> Result<()> {
    let controller = TestController::start().await?;
    let switch = device("huawei-vrp-switch.snmprec").await?;
    let mut agent = agent(&controller, &[("hx-sw1", &switch)])?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?["id"].to_string();
    let polled = eventually("the switch answers", async || {
        let list = api.get("/api/v1/devices?q=hx-sw1").await?;
        Ok(list["items"][0]["id"].as_i64())
    })
    .await?;
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    for address in [
        "/sites",
        "/sites/1",
        "/sites/1?edit=1",
        "/sites?add=1",
        "/sites/import",
        "/fleet",
        "/hosts/$HOST?tab=identity",
        "/devices",
        "/devices/$DEVICE",
        "/enrol",
        "/users",
        "/users/tokens",
        "/me",
        "/audit",
        "/settings",
        "/events",
        "/register",
        "/register/staff?new=1",
        "/register/imports",
        "/",
    ] {
        let address = address.replace("$HOST", &host);
        let address = address.replace("$DEVICE", &polled.to_string());
        browser.goto(&address).await?;
        walk(&browser, &address).await?;
    }
    browser.close().await?;
    drop(agent);
    Ok(())
}

/// Presses the key until the focus comes round.
async fn walk(browser: &Browser, address: &str) -> Result<()> {
    browser
        .run("document.activeElement.blur(); window.focus()")
        .await?;
    let total = checks::ask(browser, "reachable().length").await?;
    let total = usize::try_from(total.as_u64().unwrap_or(0))?;
    ensure!(total > 10, "{address}: only {total} controls");
    let mut reached = std::collections::BTreeSet::new();
    let mut unseen = Vec::new();
    // The parts of a date take the key one by one, so there are more presses than controls.
    for _ in 0..2 * total + 30 {
        if reached.len() >= total {
            break;
        }
        browser.press_tab().await?;
        let focus = checks::ask(browser, "focused()").await?;
        if focus["index"].as_i64().is_some_and(|index| index >= 0) {
            reached.insert(focus["index"].as_i64());
            if focus["visible"] != true {
                unseen.push(focus["name"].to_string());
            }
        }
    }
    ensure!(
        unseen.is_empty(),
        "{address}: the focus is not seen on {unseen:?}"
    );
    ensure!(
        reached.len() >= total,
        "{address}: {} of {total} controls are reached",
        reached.len()
    );
    Ok(())
}
