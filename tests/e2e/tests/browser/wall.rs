//! The screen on a wall: readable from afar at both usual sizes, without names, and honest when it
//! is old.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use xiezhi_test_support::{TestAgent, TestController};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// Sizes of all texts as they are drawn, the smallest first: `[size, text]`.
const SMALLEST: &str = "const texts = [...document.querySelectorAll('main *')]
    .filter((one) => one.tagName !== 'title' && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && one.getClientRects().length)
    .map((one) => { const drawing = one.ownerSVGElement; const scale = drawing ? drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width : 1;
        return [parseFloat(getComputedStyle(one).fontSize) * scale, one.textContent]; });
    return texts.sort((a, b) => a[0] - b[0])[0];";

#[tokio::test]
async fn the_wall_is_read_from_afar_and_says_when_it_is_old() -> Result<()> {
    let mut controller = TestController::start().await?;
    let agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let wall = json!({"name": "wall.screen", "display_name": "", "home": null,
        "roles": [{"role": "wall", "site": null}]});
    let made = api.post("/api/v1/users", &wall).await?;
    let once = made["password"].as_str().context("no password")?;

    let mut browser = Browser::open(&controller, Look::usual()).await?;
    browser.goto("/login").await?;
    let own = "a phrase for the wall to keep";
    for password in [once, own] {
        browser.fill("input[name=username]", "wall.screen").await?;
        browser.fill("input[name=password]", password).await?;
        browser.click(".gate-card .button-primary").await?;
        if password == once {
            browser.fill("input[name=old]", once).await?;
            browser.fill("input[name=new]", own).await?;
            browser.fill("input[name=again]", own).await?;
            browser
                .click("section[aria-labelledby=password] .button-primary")
                .await?;
            browser
                .until("the gate", "return !!document.querySelector('.gate-card')")
                .await?;
        }
    }
    // It lands on the wall at once, whatever address it asks for.
    let lands = "return location.pathname === '/' && location.search.includes('wall=1') && !!document.querySelector('.screen .tiles')";
    browser.until("the wall's screen", lands).await?;
    for path in ["/", "/fleet", "/sites", "/users", "/nowhere"] {
        browser.goto(path).await?;
        browser.until("the wall's screen again", lands).await?;
    }
    let offered = "return [...document.querySelectorAll('a[href], button')].map((one) => one.getAttribute('href') || one.textContent.trim())";
    let offered_there = browser.run(offered).await?;
    ensure!(offered_there == json!(["/me"]), "{offered_there}");
    browser.goto("/me").await?;
    browser
        .until(
            "the account",
            "return !!document.querySelector('input[name=old]')",
        )
        .await?;
    let shell = browser
        .run("return [...document.querySelectorAll('.nav a, .bar-search *, [aria-label^=搜索]')].map((one) => one.getAttribute('href') || one.tagName)")
        .await?;
    ensure!(shell == json!(["/?wall=1"]), "{shell}");
    browser.click(".nav a").await?;
    browser
        .until("the wall's screen by its link", lands)
        .await?;
    // Signing in was asked for while signed out, which the browser's log tells as a refusal.
    browser.problems().await?;
    for (width, height, least) in [(1920, 1080, 18.0), (3840, 2160, 36.0)] {
        browser.size(width, height).await?;
        browser.goto("/?wall=1&rotate=0").await?;
        browser
            .until(
                "the courts",
                "return document.querySelectorAll('.screen .hex').length > 10",
            )
            .await?;
        let name = format!("screen-{width}");
        browser.picture(&name).await?;
        let clean = checks::every_complaint(&browser, &name, Look::usual()).await?;
        checks::none_of(&clean)?;
        let smallest = browser.run(SMALLEST).await?;
        ensure!(
            smallest[0]
                .as_f64()
                .is_some_and(|size| size >= least - 0.01),
            "{width}: {smallest}"
        );
        let fits = browser.run("return document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth").await?;
        ensure!(fits == true, "{width}: the screen does not hold its page");
    }
    let said = browser.run("return document.body.innerText").await?;
    let hostname = host["hostname"].as_str().context("no name")?;
    ensure!(
        !said.as_str().unwrap_or_default().contains(hostname),
        "the wall's account sees a host's name"
    );
    browser.press("ArrowRight", "ArrowRight", 39, 0).await?;
    browser.until("the next page", "return !!document.querySelector('.screen-cities') || document.querySelector('.screen-foot').textContent.includes('第 2 屏')").await?;
    let clean = checks::every_complaint(&browser, "screen-next", Look::usual()).await?;
    checks::none_of(&clean)?;
    in_other_looks(&mut browser).await?;

    drop(agent);
    controller.kill();
    browser.until("it says that it is old", "const banner = document.querySelector('.screen-old'); return !!banner && banner.textContent.includes('断开')").await?;
    browser.close().await
}

/// Screens on walls hang in the dark and speak the language that was chosen; a phone shows them when somebody
/// tries the address there.
async fn in_other_looks(browser: &mut Browser) -> Result<()> {
    let mut found = Vec::new();
    for look in Look::all_of(false).into_iter().chain(Look::all_of(true)) {
        browser.look(look).await?;
        if !look.phone {
            browser.size(1920, 1080).await?;
        }
        browser.goto("/?wall=1&rotate=0").await?;
        browser
            .until(
                "the courts",
                "return document.querySelectorAll('.screen .hex').length > 10",
            )
            .await?;
        browser.picture("screen").await?;
        found.extend(checks::every_complaint(browser, "screen", look).await?);
    }
    browser.look(Look::usual()).await?;
    browser.size(1920, 1080).await?;
    browser.goto("/?wall=1&rotate=0").await?;
    checks::none_of(&found)
}
