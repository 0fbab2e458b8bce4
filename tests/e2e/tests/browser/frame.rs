//! The frame around the pages by keyboard: going anywhere, what part is looked at, saved views.

use anyhow::Result;
use xiezhi_test_support::TestController;

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

const CONTROL: u32 = 2;

#[tokio::test]
async fn keys_lead_anywhere_and_a_part_of_the_organisation_stays_chosen() -> Result<()> {
    let controller = TestController::start().await?;
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.press("k", "KeyK", 75, CONTROL).await?;
    let opened = "return document.activeElement.getAttribute('role') === 'combobox'";
    browser.until("the search of everything", opened).await?;
    browser.type_text("城关").await?;
    browser.until("the court is found", "return !!document.querySelector('.find-on') && document.querySelector('.find-on').textContent.includes('城关')").await?;
    clean(&browser, "palette").await?;
    browser.press("Enter", "Enter", 13, 0).await?;
    browser.until("the court's page", "return /^\\/sites\\/\\d+$/.test(location.pathname) && !document.querySelector('.veil')").await?;

    browser.goto("/").await?;
    browser.click(".scope").await?;
    browser.until("the choice of a part", opened).await?;
    clean(&browser, "scope").await?;
    browser.type_text("兰州市中级").await?;
    browser
        .until(
            "it is found",
            "return document.querySelectorAll('.find').length === 1",
        )
        .await?;
    browser.press("Enter", "Enter", 13, 0).await?;
    let part = "return location.search === '?site=2' && document.querySelector('.scope').textContent.includes('兰州市中级人民法院')";
    browser.until("only this part is looked at", part).await?;
    browser
        .until(
            "its courts alone are shown",
            "return !document.querySelector('.wall').textContent.includes('嘉峪关')",
        )
        .await?;
    browser.click(".nav a[href^='/fleet']").await?;
    browser
        .until(
            "the part stays",
            "return location.pathname === '/fleet' && location.search.includes('site=2')",
        )
        .await?;

    browser.goto("/sites").await?;
    // A key that comes before the rows leads nowhere.
    browser
        .until(
            "the rows are there",
            "return document.querySelectorAll('.table tbody tr').length > 2",
        )
        .await?;
    for (key, code, number, row) in [
        ("j", "KeyJ", 74, 0),
        ("j", "KeyJ", 74, 1),
        ("k", "KeyK", 75, 0),
    ] {
        browser.press(key, code, number, 0).await?;
        let reached = format!(
            "return document.querySelectorAll('.table tbody tr')[{row}].contains(document.activeElement)"
        );
        browser
            .until(&format!("{key} leads to row {row}"), &reached)
            .await?;
    }
    browser.press("?", "Slash", 191, 0).await?;
    browser
        .until(
            "the list of keys",
            "return !!document.querySelector('.keys')",
        )
        .await?;
    clean(&browser, "keys").await?;
    browser.press("Escape", "Escape", 27, 0).await?;
    browser
        .until("it is closed", "return !document.querySelector('.veil')")
        .await?;
    checks::none_of(&browser.problems().await?)?;
    browser.close().await
}

#[tokio::test]
async fn filters_are_kept_under_a_name() -> Result<()> {
    let controller = TestController::start().await?;
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.goto("/register/rooms?state=retired&q=x").await?;
    browser.click(".views summary").await?;
    browser
        .fill(".views input[name=name]", "停用的房间")
        .await?;
    browser.click(".views form .button").await?;
    browser
        .until(
            "it is listed",
            "return document.querySelector('.views li').textContent.includes('停用的房间')",
        )
        .await?;
    clean(&browser, "views").await?;
    // In another browser of the same person they are there.
    checks::none_of(&browser.problems().await?)?;
    browser.close().await?;
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.goto("/register/rooms").await?;
    browser.click(".views summary").await?;
    browser.click(".views li a").await?;
    browser
        .until(
            "the filters are back",
            "return location.search === '?state=retired&q=x'",
        )
        .await?;
    browser.goto("/fleet").await?;
    browser.click(".views summary").await?;
    let none =
        "return document.querySelector('.views-box') && !document.querySelector('.views li')";
    browser.until("another page has none", none).await?;
    browser.goto("/register/rooms").await?;
    browser.click(".views summary").await?;
    browser.click(".views li button").await?;
    browser.until("it is gone", none).await?;
    checks::none_of(&browser.problems().await?)?;
    browser.close().await
}

/// Asks everything of what is open, in all sizes and lights.
async fn clean(browser: &Browser, name: &str) -> Result<()> {
    checks::none_of(&checks::around(browser, name, Look::usual()).await?)
}
