//! Who leaves a page open is signed out all the same, and comes back to it; who works stays.

use anyhow::{Result, ensure};
use xiezhi_test_support::{TestController, WrongClock};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// Counts the answers that the page gets.
const COUNT: &str = "window.answers = 0; const real = window.fetch;
    window.fetch = async (...given) => { const answer = await real(...given); window.answers += 1; return answer; }";

const GATE: &str = "return !!document.querySelector('.gate-card')";

/// Waits until the page has asked twice more of its own accord.
async fn polled(browser: &Browser) -> Result<()> {
    browser.run("window.answers = 0").await?;
    let asked = "return window.answers >= 2 || !!document.querySelector('.gate-card')";
    browser.until("the page asks by itself", asked).await?;
    let gate = browser.run(GATE).await?;
    ensure!(gate == false, "the page signed itself out too early");
    Ok(())
}

#[tokio::test]
async fn a_page_left_open_half_an_hour_asks_to_sign_in_and_comes_back() -> Result<()> {
    let mut controller = TestController::prepare("")?;
    let clock = match WrongClock::new(controller.folder()) {
        Ok(clock) => clock,
        Err(error) => {
            xiezhi_test_support::skip(format!("{error:#}"));
            return Ok(());
        }
    };
    controller.set_environment(clock.environment());
    controller.run().await?;
    let look = Look::usual();
    let browser = Browser::signed_in(&controller, look).await?;
    let page = "/enrol?site=2";
    browser.goto(page).await?;
    browser.run(COUNT).await?;
    polled(&browser).await?;

    // Twenty minutes without an act: what the page asks meanwhile is none.
    clock.set(20 * 60)?;
    polled(&browser).await?;
    browser.problems().await?;
    clock.set(32 * 60)?;
    browser.until("the gate", GATE).await?;
    let told = "return document.querySelector('.gate-told').textContent.includes('登录已结束')";
    browser.until("why the gate is shown", told).await?;
    let mut found = checks::around(&browser, "idle-gate", look).await?;
    found.retain(|complaint| !complaint.contains("401"));
    checks::none_of(&found)?;
    browser.fill("input[name=username]", "admin").await?;
    browser
        .fill("input[name=password]", crate::browser::PASSWORD)
        .await?;
    browser.click(".gate-card .button-primary").await?;
    let back = "return location.pathname + location.search === '/enrol?site=2' && !!document.querySelector('#tokens')";
    browser.until("the page that was left", back).await?;

    // A key pressed after twenty minutes is an act: the session goes on from there.
    clock.set(52 * 60)?;
    browser.press_tab().await?;
    polled(&browser).await?;
    clock.set(77 * 60)?;
    polled(&browser).await?;
    browser.close().await
}
