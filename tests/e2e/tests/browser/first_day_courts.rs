//! The first day of a province: there is no court yet. Its administrator imports the list of courts in
//! the browser, and then what is in them, from the files that courts have: workbooks with merged cells,
//! texts in GB18030, rows that stand twice, courts above each other in a circle; and takes it back
//! as long as nothing of it is in use.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::TestController;

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;
use crate::spreadsheet::{old_csv, workbook};

const HEADER: &[&str] = &["编号", "名称", "层级", "上级", "法院代字"];
const HIGH: &[&str] = &["gs", "甘肃省高级人民法院", "高院", "", "甘"];
const LANZHOU: &[&str] = &["gs-01", "兰州市中级人民法院", "中院", "gs", "甘01"];
const YUZHONG: &[&str] = &[
    "gs-01-03",
    "榆中县人民法院",
    "基层法院",
    "兰州市中级人民法院",
    "",
];

/// What stands in which cell of a list, and what the page has to say of it.
const WRONG: &[&[&str]] = &[
    HEADER,
    HIGH,
    LANZHOU,
    LANZHOU,
    &["gs-02", "嘉峪关市中级人民法院", "中院", "gs", ""],
    &["gs-03", "金昌市中级人民法院", "", "gs", ""],
    &["gs-04", "皋兰县人民法院", "基层法院", "没有的法院", ""],
    &["t-1", "和平法庭", "派出法庭", "t-2", ""],
    &["t-2", "夏官营法庭", "派出法庭", "t-1", ""],
];
const TOLD: &[&str] = &[
    "7 处问题",
    "A4 单元格",
    "同一个编号写了两行",
    "C5 单元格",
    "是合并的（C5:C6）",
    "C6 单元格",
    "没有填",
    "D7 单元格",
    "没有的法院",
    "C8 单元格",
    "层级不能和上级相同",
    "D8 单元格",
    "绕成了圈",
];

const ROOMS: &[&[&str]] = &[
    &["2026年房间登记表"],
    &["单位", "房间编号", "房间名称", "用途", "楼层"],
    &["榆中县人民法院", "301", "信息中心机房", "机房", "3"],
    &["榆中县人民法院", "302", "第一法庭", "科技法庭", "3"],
];
const ASSETS: &[&[&str]] = &[
    &["单位", "资产编号", "资产名称", "类型", "存放房间"],
    &["榆中县人民法院", "ZC-1", "刀片服务器", "服务器", "301"],
    &["榆中县人民法院", "ZC-1", "打印机", "打印机", "302"],
    &["榆中县人民法院", "ZC-3", "打印机", "手推车", "302"],
];

#[tokio::test]
async fn a_province_begins_with_workbooks_and_takes_them_back() -> Result<()> {
    let controller = TestController::start_empty().await?;
    let folder = controller.folder().to_owned();
    let browser = Browser::signed_in(&controller, Look::usual()).await?;
    browser.goto("/sites").await?;
    browser.until("no court yet", &says("还没有单位")).await?;
    browser.click("main a[href='/sites/import']").await?;

    look_at(&browser, &workbook(&folder, "wrong", WRONG, &["C5:C6"])?).await?;
    told(&browser, TOLD).await?;
    checks::none_of(&clean(&browser, "courts-problems", Look::usual()).await?)?;
    let good = workbook(&folder, "courts", &[HEADER, HIGH, LANZHOU, YUZHONG], &[])?;
    browser.click(".import-acts .button").await?;
    look_at(&browser, &good).await?;
    apply(&browser, "导入完成：新增 3").await?;
    checks::none_of(&clean(&browser, "courts-imported", Look::usual()).await?)?;
    browser.click(".import-acts a.button-primary").await?;
    browser
        .until("the courts", &says("兰州市中级人民法院"))
        .await?;

    browser.goto("/register/imports?kind=rooms").await?;
    look_at(&browser, &workbook(&folder, "rooms", ROOMS, &["A1:E1"])?).await?;
    apply(&browser, "导入完成：新增 2").await?;
    browser.goto("/register/imports?kind=assets").await?;
    look_at(&browser, &old_csv(&folder, "assets", ASSETS)?).await?;
    told(
        &browser,
        &[
            "2 处问题",
            "B3 单元格",
            "“ZC-1”重复了",
            "D4 单元格",
            "手推车",
        ],
    )
    .await?;
    browser.goto("/register/assets").await?;
    browser
        .until("nothing was imported", &says("这里还没有登记"))
        .await?;

    // A court whose register has a history stays; the rooms themselves can be taken back.
    browser.goto("/sites/import").await?;
    undo(&browser).await?;
    let refused = "const told = document.querySelector('.dialog .field-error'); return !!told && told.textContent.includes('所以一个也没有撤销')";
    browser.until("a refusal that says why", refused).await?;
    let mut found = clean(&browser, "courts-not-undone", Look::usual()).await?;
    // A refusal is told by the browser's log too; the file's name and a court's id stand within sentences.
    let named = ["409", "courts.xlsx", "gs-01-03"];
    found.retain(|problem| !named.iter().any(|name| problem.contains(name)));
    checks::none_of(&found)?;
    browser.goto("/register/imports?kind=rooms").await?;
    look_at_undo(&browser).await?;
    checks::none_of(&clean(&browser, "rooms-undo", Look::usual()).await?)?;
    browser.click(".import-acts .button-danger").await?;
    browser
        .until("they are taken back", &says("已撤销"))
        .await?;
    browser.goto("/register/rooms").await?;
    browser
        .until("no room again", &says("这里还没有登记"))
        .await?;
    // Nothing is in use any more: the courts go too.
    browser.goto("/sites/import").await?;
    undo(&browser).await?;
    browser
        .until("the courts are taken back", &says("已撤销"))
        .await?;
    browser.goto("/sites").await?;
    browser.until("no court again", &says("还没有单位")).await?;
    // A refusal is told by the browser's log too.
    let mut problems = browser.problems().await?;
    problems.retain(|problem| !problem.contains("409"));
    checks::none_of(&problems)?;
    browser.close().await
}

#[tokio::test]
async fn a_list_in_the_old_encoding_is_imported_on_a_phone_at_night_in_english() -> Result<()> {
    let controller = TestController::start_empty().await?;
    let folder = controller.folder().to_owned();
    let look = Look {
        english: true,
        dark: true,
        phone: true,
    };
    let browser = Browser::signed_in(&controller, look).await?;
    browser.goto("/sites/import").await?;
    let mut wrong = WRONG.to_vec();
    wrong.truncate(4);
    look_at(&browser, &old_csv(&folder, "wrong", &wrong)?).await?;
    told(
        &browser,
        &[
            "Problems in the file: 1",
            "Cell A4",
            "The id stands in two rows",
        ],
    )
    .await?;
    let mut found = clean(&browser, "courts-problems", look).await?;
    browser.click(".import-acts .button").await?;
    look_at(
        &browser,
        &old_csv(&folder, "courts", &[HEADER, HIGH, LANZHOU, YUZHONG])?,
    )
    .await?;
    browser
        .until(
            "the preview",
            "return !!document.querySelector('.import-acts .button-primary')",
        )
        .await?;
    found.extend(clean(&browser, "courts-preview", look).await?);
    apply(&browser, "Done: 3 added").await?;
    browser.goto("/sites").await?;
    browser
        .until("the courts", &says("兰州市中级人民法院"))
        .await?;
    browser.goto("/sites/import").await?;
    undo(&browser).await?;
    browser
        .until("it is taken back", &says("Taken back"))
        .await?;
    found.extend(clean(&browser, "courts-undone", look).await?);
    checks::none_of(&found)?;
    browser.close().await
}

/// Whether the page's main part says something.
fn says(text: &str) -> String {
    format!("return document.querySelector('main').textContent.includes('{text}')")
}

/// Gives a file to the page of an import, and asks what it would do.
async fn look_at(browser: &Browser, file: &Path) -> Result<()> {
    browser.give_file(file).await?;
    browser.click(".import-form .button-primary").await
}

/// Waits for problems, all of which must be told in words.
async fn told(browser: &Browser, parts: &[&str]) -> Result<()> {
    browser
        .until(
            "the problems",
            "return !!document.querySelector('.verdict-down')",
        )
        .await?;
    let said = browser
        .run("return document.querySelector('main').innerText")
        .await?;
    let said = said.as_str().context("no text")?;
    for part in parts {
        ensure!(said.contains(part), "the page does not say {part}: {said}");
    }
    Ok(())
}

async fn apply(browser: &Browser, done: &str) -> Result<()> {
    browser.click(".import-acts .button-primary").await?;
    browser.until("the import is done", &says(done)).await
}

/// Looks at what taking the newest import back would do.
async fn look_at_undo(browser: &Browser) -> Result<()> {
    browser
        .click("section[aria-labelledby=earlier] td button")
        .await?;
    browser
        .until("what would go", &says("现在什么都还没有改"))
        .await
}

/// Asks for the newest import of courts to be taken back, and is sure.
async fn undo(browser: &Browser) -> Result<()> {
    browser
        .click("section[aria-labelledby=earlier] td button")
        .await?;
    browser.click(".dialog .button-danger").await
}

async fn clean(browser: &Browser, name: &str, look: Look) -> Result<Vec<String>> {
    checks::around(browser, name, look).await
}
