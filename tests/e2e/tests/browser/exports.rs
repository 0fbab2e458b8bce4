//! Lists saved as files: what is refused or cut is said where the button is, and what is saved is whole.

use std::io::{Cursor, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use xiezhi_test_support::{TestController, eventually};

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
    let mut found = checks::around(&browser, "export-refused", Look::usual()).await?;
    found.retain(|problem| !problem.contains("422"));
    checks::none_of(&found)?;
    ensure!(browser.run("return window.handed.length").await? == 1);
    browser.close().await
}

/// The buttons of lists: page, what the button says, the file, and what every one of its rows holds.
const FILES: &[(&str, &str, &str, &str, usize)] = &[
    ("/register/rooms", "导出 CSV", "rooms.csv", "机房", 3),
    ("/register/rooms?q=302", "导出 CSV", "rooms.csv", "机房", 1),
    ("/register/rooms", "导出表格", "rooms.xlsx", "机房", 3),
    ("/sites?q=gs-01-0", "导出 CSV", "sites.csv", "gs-01-0", 8),
    ("/users", "导出表格", "users.xlsx", "admin", 1),
    (
        "/audit?action=register.create",
        "导出 CSV",
        "audit.csv",
        "register.create",
        3,
    ),
    ("/audit", "导出可核验文件", "audit.jsonl", "hash", 5),
];

/// The text of a file: of a workbook, that of its first sheet and of what its cells share.
fn text_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path)?;
    if !bytes.starts_with(b"PK") {
        return Ok(String::from_utf8(bytes)?);
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    let mut text = String::new();
    for part in ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"] {
        if let Ok(mut part) = archive.by_name(part) {
            part.read_to_string(&mut text)?;
        }
    }
    Ok(text)
}

/// Rows under the heading; a file to be verified offline has none.
fn rows_of(name: &str, text: &str) -> usize {
    if name.ends_with("xlsx") {
        text.matches("<row ").count() - 1
    } else {
        let heads = usize::from(name.ends_with("csv"));
        text.lines().count() - heads
    }
}

#[tokio::test]
async fn a_saved_file_is_on_the_disk_with_the_rows_of_the_page() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    for code in ["301", "302", "303"] {
        let room = json!({"site": 2, "values": {"code": code, "name": "机房"}});
        api.post("/api/v1/register/rooms", &room).await?;
    }
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    for (at, (page, button, name, word, least)) in FILES.iter().enumerate() {
        let folder = controller.folder().join(format!("saved-{at}"));
        std::fs::create_dir(&folder)?;
        browser.save_into(&folder).await?;
        browser.goto(page).await?;
        press(&browser, button).await?;
        let path = folder.join(name);
        let text = eventually(name, async || {
            // It appears under its name once it is whole.
            path.exists().then(|| text_of(&path)).transpose()
        })
        .await
        .with_context(|| format!("{page} {button}"))?;
        let rows = rows_of(name, &text);
        let counted = !page.starts_with("/sites") && !name.ends_with("jsonl");
        ensure!(
            text.contains(word)
                && if counted {
                    rows == *least
                } else {
                    rows >= *least
                },
            "{page}: {name} has {rows} rows: {text}"
        );
        checks::none_of(&browser.problems().await?)?;
    }
    browser.close().await
}
