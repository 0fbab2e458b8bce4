//! Who sees badly asks for more contrast, by the system or here; who is made ill by motion sees none.

use anyhow::{Result, ensure};
use xiezhi_test_support::{TestAgent, TestController};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// Pages whose parts are all there are: numbers, wall, table, form, chart, preview of paper.
const PAGES: &[(&str, &str)] = &[
    ("overview", "/"),
    ("sites", "/sites?add=1"),
    ("fleet", "/fleet"),
    ("host", "/hosts/1"),
    ("register", "/register/staff?new=1"),
    ("users", "/users"),
    ("me", "/me"),
];

const CONTRAST: &str = "return document.documentElement.dataset.contrast";

#[tokio::test]
async fn high_contrast_is_asked_for_or_chosen_and_nothing_moves_where_motion_is_unwanted()
-> Result<()> {
    let controller = TestController::start().await?;
    let agent = TestAgent::start(&controller)?;
    controller.api().await?.only_host_when("up").await?;
    let mut browser = Browser::signed_in(&controller, Look::usual()).await?;
    ensure!(browser.run(CONTRAST).await? == "normal", "not asked for");
    let moving = "return document.getAnimations().length > 0";
    browser.until("the live mark breathes", moving).await?;

    let wishes = [
        ("prefers-contrast", "more"),
        ("prefers-reduced-motion", "reduce"),
    ];
    let mut found = Vec::new();
    for (dark, phone) in [(false, false), (true, true)] {
        let english = dark;
        let look = Look {
            english,
            dark,
            phone,
        };
        browser.look(look).await?;
        browser.prefers(&wishes).await?;
        for (name, address) in PAGES {
            browser.goto(address).await?;
            browser.picture(&format!("contrast-{name}")).await?;
            let name = format!("{name} {look}");
            found.extend(checks::contrast_complaints(&browser, &name).await?);
            if browser.run(moving).await? == true {
                found.push(format!("{name}: something moves"));
            }
            if browser.run(CONTRAST).await? != "more" {
                found.push(format!("{name}: no more contrast"));
            }
        }
    }
    checks::none_of(&found)?;

    // What is chosen here counts more than what the system says, and stays.
    browser.look(Look::usual()).await?;
    browser.goto("/me").await?;
    let choice = |nth| {
        format!(
            "section[aria-labelledby=display] .display-row:nth-of-type(3) .segment:nth-of-type({nth})"
        )
    };
    browser.click(&choice(2)).await?;
    ensure!(browser.run(CONTRAST).await? == "normal", "not chosen");
    browser.prefers(&[]).await?;
    browser.click(&choice(3)).await?;
    browser.goto("/").await?;
    ensure!(browser.run(CONTRAST).await? == "more", "not kept");
    browser.close().await?;
    drop(agent);
    Ok(())
}
