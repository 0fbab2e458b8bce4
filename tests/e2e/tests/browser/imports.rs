//! Imports that nobody wanted after all: one that waits is given up, one that is done is taken back, and the
//! courts themselves go once nothing of theirs is waited for.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{Api, TestController};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

const COURTS: &str = "编号,名称,层级,上级,法院代字\ngs,甘肃省高级人民法院,高院,,甘\n\
    gs-01,兰州市中级人民法院,中院,gs,甘01\n";
const MORE: &str = "编号,名称,层级,上级,法院代字\ngs-02,嘉峪关市中级人民法院,中院,gs,甘02\n";
const ROOMS: &str =
    "单位,房间编号,房间名称,用途,楼层\n兰州市中级人民法院,301,信息中心机房,机房,3\n";

fn file(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.csv"));
    std::fs::write(&path, text)?;
    Ok(path)
}

fn says(text: &str) -> String {
    format!("return document.querySelector('main').textContent.includes('{text}')")
}

/// Gives a file to a page of imports and waits for what it would do.
async fn preview(browser: &Browser, page: &str, file: &Path) -> Result<()> {
    browser.goto(page).await?;
    browser.give_file(file).await?;
    browser.click(".import-form .button-primary").await?;
    browser
        .until(
            "the preview",
            "return !!document.querySelector('.import-acts .button-primary')",
        )
        .await
}

async fn apply(browser: &Browser, look: Look) -> Result<()> {
    browser.click(".import-acts .button-primary").await?;
    let done = says(look.said("导入完成", "Done: "));
    browser.until("the import is done", &done).await
}

/// Presses 放弃, which leads back to where a file is chosen.
async fn give_up(browser: &Browser, look: Look, name: &str) -> Result<()> {
    // The address holds it: what was looked at an hour ago can still be decided on.
    let address = browser
        .run("return location.pathname + location.search")
        .await?;
    let address = address.as_str().unwrap_or_default().to_owned();
    ensure!(
        address.contains("import="),
        "the address forgets: {address}"
    );
    browser.goto(&address).await?;
    browser
        .until(
            "the preview again",
            "return !!document.querySelector('.import-acts .button-primary')",
        )
        .await?;
    checks::none_of(&checks::around(browser, name, look).await?)?;
    browser
        .click(".import-acts .button:not(.button-primary)")
        .await?;
    let chosen = "return !!document.querySelector('.import-form input[type=file]') && !location.search.includes('import=')";
    browser.until("a file can be chosen again", chosen).await
}

async fn undo(browser: &Browser) -> Result<()> {
    browser
        .click("section[aria-labelledby=earlier] td button")
        .await?;
    browser.click(".dialog .button-danger").await
}

/// How the newest import of a list is.
async fn newest(api: &Api, path: &str) -> Result<Value> {
    Ok(api.get(path).await?["items"][0]["state"].clone())
}

#[tokio::test]
async fn what_waits_is_given_up_and_what_is_done_is_taken_back() -> Result<()> {
    let controller = TestController::start_empty().await?;
    let folder = controller.folder().to_owned();
    let api = controller.api().await?;
    let courts = file(&folder, "courts", COURTS)?;
    let more = file(&folder, "more", MORE)?;
    let rooms = file(&folder, "rooms", ROOMS)?;
    let mut browser = Browser::signed_in(&controller, Look::usual()).await?;
    for look in Look::two() {
        browser.look(look).await?;
        preview(&browser, "/sites/import", &courts).await?;
        apply(&browser, look).await?;

        // What is only looked at holds the courts, until somebody gives it up.
        preview(&browser, "/register/imports?kind=rooms", &rooms).await?;
        browser.goto("/sites/import").await?;
        undo(&browser).await?;
        let refused = "const told = document.querySelector('.dialog .field-error'); return !!told && told.textContent.length > 10";
        browser.until("a refusal that says why", refused).await?;
        browser.picture("import-waits").await?;
        let refusals = browser.problems().await?;
        ensure!(
            refusals.iter().all(|one| one.contains("409")),
            "{refusals:?}"
        );
        browser.goto("/register/imports?kind=rooms").await?;
        browser
            .click("section[aria-labelledby=earlier] td a.button")
            .await?;
        browser
            .until("the preview is back", "return location.search.includes('import=') && !!document.querySelector('.import-acts .button-primary')")
            .await?;
        give_up(&browser, look, "import-give-up").await?;
        ensure!(newest(&api, "/api/v1/imports").await? != "waiting");

        // The same with a list of courts.
        preview(&browser, "/sites/import", &more).await?;
        give_up(&browser, look, "courts-give-up").await?;
        ensure!(newest(&api, "/api/v1/site-imports").await? != "waiting");
        undo(&browser).await?;
        browser
            .until(
                "the courts are taken back",
                &says(look.said("已撤销", "Taken back")),
            )
            .await?;
        checks::none_of(&checks::around(&browser, "courts-taken-back", look).await?)?;
        browser.goto("/sites").await?;
        let none = says(look.said("还没有单位", "no site yet"));
        browser.until("no court again", &none).await?;
    }
    browser.close().await
}
