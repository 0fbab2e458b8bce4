//! Lists saved as files: what is refused or cut is said where the button is, and what is saved is whole.

use anyhow::{Result, ensure};
use serde_json::json;
use xiezhi_test_support::TestController;

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// Keeps what the page hands out: `window.handed` has the files' names and texts.
const WATCH: &str = "window.handed = []; const made = URL.createObjectURL;
    URL.createObjectURL = (file) => { window.blob = file; return made.call(URL, file); };
    document.addEventListener('click', (event) => { const link = event.target.closest('a[download]');
        if (link) { event.preventDefault(); window.blob.text().then((text) => window.handed.push([link.download, text])); } }, true);";

fn button(text: &str) -> String {
    format!(
        "const found = [...document.querySelectorAll('.page-tools button')].find((one) => one.textContent.trim() === '{text}');"
    )
}

async fn press(browser: &Browser, text: &str) -> Result<()> {
    let there = format!("{} return !!found", button(text));
    browser.until(text, &there).await?;
    let press = format!("{} found.click()", button(text));
    browser.run(&press).await.map(drop)
}

#[tokio::test]
async fn a_list_is_saved_whole_or_the_page_says_why_not() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    for code in ["301", "302"] {
        let room = json!({"site": 2, "values": {"code": code, "name": "=机房"}});
        api.post("/api/v1/register/rooms", &room).await?;
    }
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.goto("/register/rooms").await?;
    browser.run(WATCH).await?;
    press(&browser, "导出 CSV").await?;
    let saved = "return window.handed.length === 1";
    browser.until("the file", saved).await?;
    let handed = browser.run("return window.handed[0]").await?;
    let text = handed[1].as_str().unwrap_or_default();
    ensure!(
        handed[0] == "rooms.csv" && text.matches("'=机房").count() == 2,
        "{handed}"
    );
    let told = "return document.querySelector('.export-told').textContent.includes('已导出 2 行')";
    browser.until("how many rows", told).await?;
    // All buttons of the page's head have one height.
    let heights = "return [...new Set([...document.querySelectorAll('.page-tools .button')].map((one) => one.offsetHeight))].length";
    ensure!(browser.run(heights).await? == 1, "buttons differ");
    checks::none_of(&browser.problems().await?)?;

    // A refusal, and an answer that is cut off.
    let refuse = "const real = window.fetch; window.fetch = (address, given) => (!address.includes('/export') ? real(address, given)
        : address.includes('xlsx') ? Promise.resolve(new Response('{\"code\":\"too_many_rows\",\"detail\":\"20000\",\"status\":422}', { status: 422 }))
        : Promise.resolve(new Response(new ReadableStream({ start(body) { body.enqueue(new Uint8Array(9)); body.error(new TypeError('cut')); } }))))";
    browser.run(refuse).await?;
    for (name, why) in [("导出表格", "20000 行"), ("导出 CSV", "没有传完")] {
        press(&browser, name).await?;
        let said = format!(
            "return (document.querySelector('.export-told[role=alert]') || {{ textContent: '' }}).textContent.includes('{why}')"
        );
        browser.until(why, &said).await?;
    }
    browser.picture("export-refused").await?;
    ensure!(browser.run("return window.handed.length").await? == 1);
    browser.close().await
}
