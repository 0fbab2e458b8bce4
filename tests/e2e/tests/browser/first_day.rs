//! The first day of a court: its administrator fills the register from spreadsheets, gives it a
//! technician, prints what is to be printed, and the technician signs in on a phone. In either language; each
//! page on the way in all sizes and lights.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::TestController;

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// The court: site 2 of the courts that are imported.
const COURT: &str = "兰州市中级人民法院";

const ROOMS: &str = "单位,房间编号,房间名称,用途,楼层\n\
    兰州市中级人民法院,301,信息中心机房,机房,3\n\
    兰州市中级人民法院,302,第一法庭,科技法庭,3\n";
const STAFF: &str = "单位,工号,姓名,所在庭室,职务\n\
    兰州市中级人民法院,G001,王芳,301,技术员\n";
const WRONG: &str = "单位,资产编号,资产名称,类型,存放房间,责任人工号,保修到期\n\
    兰州市中级人民法院,ZC-1,刀片服务器,服务器,301,G001,明年\n\
    兰州市中级人民法院,ZC-2,,打印机,302,G001,2027-06-30\n\
    不存在的法院,ZC-3,打印机,打印机,302,G001,2027-06-30\n";
const ASSETS: &str = "单位,资产编号,资产名称,类型,存放房间,责任人工号,保修到期\n\
    兰州市中级人民法院,ZC-1,刀片服务器,服务器,301,G001,2027-06-30\n\
    兰州市中级人民法院,ZC-2,打印机,打印机,302,G001,2027-06-30\n\
    甘肃省高级人民法院,ZC-1,核心交换机,网络设备,,,2027-06-30\n";

/// The technician's account.
const ACCOUNT: &str = "王芳";

const OWN: &str = "a phrase of my own choosing";

#[tokio::test]
async fn a_court_is_set_up_in_the_browser_and_its_technician_sees_it_alone() -> Result<()> {
    set_up(Look::two()[0]).await
}

#[tokio::test]
async fn a_court_is_set_up_on_a_phone_in_the_dark_and_in_english() -> Result<()> {
    set_up(Look::two()[1]).await
}

async fn set_up(look: Look) -> Result<()> {
    let controller = TestController::start().await?;
    let browser = Browser::signed_in(&controller, look).await?;
    browser.problems().await?;
    let folder = controller.folder();
    for (kind, text) in [("rooms", ROOMS), ("staff", STAFF)] {
        import(&browser, look, kind, &file(folder, kind, text)?).await?;
    }
    wrong_rows_are_told_by_their_cells(&browser, look, &file(folder, "wrong", WRONG)?).await?;
    import(&browser, look, "assets", &file(folder, "assets", ASSETS)?).await?;
    clean(&browser, "first-day-imported", look).await?;
    labels(&browser, look).await?;
    instructions(&browser, look).await?;
    let password = technician(&browser, look).await?;
    checks::none_of(&browser.problems().await?)?;
    browser.close().await?;
    on_the_phone(&controller, look, &password).await
}

/// Asks everything of the page that is open, in all sizes and lights.
async fn clean(browser: &Browser, name: &str, look: Look) -> Result<()> {
    checks::none_of(&checks::around(browser, name, look).await?)
}

fn file(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.csv"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Whether the page's main part says something.
fn says(text: &str) -> String {
    format!("return document.querySelector('main').textContent.includes('{text}')")
}

async fn look_at(browser: &Browser, kind: &str, file: &Path) -> Result<()> {
    browser
        .goto(&format!("/register/imports?kind={kind}"))
        .await?;
    browser.give_file(file).await?;
    browser.click(".import-form .button-primary").await
}

async fn import(browser: &Browser, look: Look, kind: &str, file: &Path) -> Result<()> {
    look_at(browser, kind, file).await?;
    let preview = look.said("现在什么都还没有改", "Nothing has been changed yet");
    browser.until("the preview", &says(preview)).await?;
    if kind == "rooms" {
        clean(browser, "first-day-preview", look).await?;
    }
    browser.click(".import-acts .button-primary").await?;
    let done = says(look.said("导入完成", "Imported: "));
    browser.until("the import is done", &done).await
}

async fn wrong_rows_are_told_by_their_cells(
    browser: &Browser,
    look: Look,
    file: &Path,
) -> Result<()> {
    look_at(browser, "assets", file).await?;
    browser
        .until(
            "the problems",
            "return document.querySelectorAll('.verdict-down').length > 0",
        )
        .await?;
    let said = browser
        .run("return document.querySelector('main').innerText")
        .await?;
    let said = said.as_str().context("no text")?;
    for part in [
        look.said("3 处问题", "Problems in the file: 3"),
        look.said("G2 单元格", "Cell G2"),
        "明年",
        look.said("不是日期", "No date"),
        look.said("C3 单元格", "Cell C3"),
        look.said("没有填", "It is empty"),
        look.said("A4 单元格", "Cell A4"),
        "不存在的法院",
    ] {
        ensure!(
            said.contains(part),
            "the preview does not say {part}: {said}"
        );
    }
    clean(browser, "first-day-problems", look).await?;
    browser.goto("/register/assets").await?;
    let none = says(look.said("这里还没有登记", "Nothing is registered yet"));
    browser.until("nothing was imported", &none).await
}

/// Two chosen assets give two labels, and a printer gets nothing else; what they say is a page.
async fn labels(browser: &Browser, look: Look) -> Result<()> {
    browser.goto("/register/assets?site=2").await?;
    for row in [1, 2] {
        browser
            .click(&format!(
                ".table tbody tr:nth-child({row}) input[type=checkbox]"
            ))
            .await?;
    }
    browser.click(".list-acts a").await?;
    let drawn = "return document.querySelectorAll('.label .qr path').length === 2 \
        && [...document.querySelectorAll('.label .qr path')].every((path) => path.getAttribute('d').length > 500)";
    browser.until("two labels", drawn).await?;
    clean(browser, "first-day-labels", look).await?;
    browser.as_printed(true).await?;
    let alone = "const shown = (one) => one.getClientRects().length > 0; \
        return shown(document.querySelector('.label')) && ![...document.querySelectorAll('.rail, .bar, h1, button')].some(shown)";
    browser.until("only labels are printed", alone).await?;
    browser.picture("first-day-labels-printed").await?;
    browser.as_printed(false).await
}

/// The sheet for the technician carries the commands, on paper only.
async fn instructions(browser: &Browser, look: Look) -> Result<()> {
    browser.goto("/enrol").await?;
    browser.choose("select[name=site]", "2").await?;
    browser.click(".form-row .button-primary").await?;
    browser
        .until(
            "the token",
            "return !!document.querySelector('.issued pre')",
        )
        .await?;
    clean(browser, "first-day-instructions", look).await?;
    browser.as_printed(true).await?;
    let sheet = "const sheet = document.querySelector('.sheet'); \
        return sheet.getClientRects().length > 0 && sheet.innerText.includes('xiezhi-agent enrol') \
        && sheet.innerText.includes('兰州市中级人民法院') && document.querySelector('.issued').getClientRects().length === 0";
    browser.until("only the sheet is printed", sheet).await?;
    browser.picture("first-day-instructions-printed").await?;
    browser.as_printed(false).await
}

/// Makes the technician's account and yields the one-time password.
async fn technician(browser: &Browser, look: Look) -> Result<String> {
    browser.goto("/users").await?;
    browser.fill(".form-row input[name=name]", ACCOUNT).await?;
    browser
        .fill(".form-row input[name=display]", "王芳")
        .await?;
    browser.choose(".form-row select[name=home]", "2").await?;
    browser
        .choose(".form-row select[name=role]", "technician")
        .await?;
    browser.click(".form-row .button-primary").await?;
    browser
        .until(
            "the password",
            "return !!document.querySelector('.issued pre')",
        )
        .await?;
    clean(browser, "first-day-password", look).await?;
    let password = browser
        .run("return document.querySelector('.issued pre').textContent")
        .await?;
    Ok(password.as_str().context("no password")?.to_owned())
}

async fn sign_in(browser: &Browser, password: &str) -> Result<()> {
    browser.fill("input[name=username]", ACCOUNT).await?;
    browser.fill("input[name=password]", password).await?;
    browser.click(".gate-card .button-primary").await
}

async fn on_the_phone(controller: &TestController, look: Look, once: &str) -> Result<()> {
    let look = Look {
        phone: true,
        ..look
    };
    let browser = Browser::open(controller, look).await?;
    browser.goto("/login").await?;
    sign_in(&browser, once).await?;
    browser
        .until(
            "a password of one's own is asked for",
            "return location.pathname === '/me' && !!document.querySelector('input[name=again]')",
        )
        .await?;
    browser.problems().await?;
    clean(&browser, "first-day-own-password", look).await?;
    browser.fill("input[name=old]", once).await?;
    browser.fill("input[name=new]", OWN).await?;
    browser.fill("input[name=again]", OWN).await?;
    browser
        .click("section[aria-labelledby=password] .button-primary")
        .await?;
    browser
        .until("the gate", "return !!document.querySelector('.gate-card')")
        .await?;
    sign_in(&browser, OWN).await?;
    browser
        .until("the overview", "return !!document.querySelector('.tiles')")
        .await?;
    // Signing in was asked for while signed out, which the browser's log tells as a refusal.
    browser.problems().await?;
    clean(&browser, "first-day-technician", look).await?;
    let offered = browser.run("return [...document.querySelectorAll('a[href]')].map((link) => link.getAttribute('href'))").await?;
    for closed in ["/enrol", "/users", "/audit", "/settings", "/events"] {
        let all = offered.as_array().context("no links")?;
        ensure!(
            !all.iter()
                .any(|one| one.as_str().is_some_and(|one| one.starts_with(closed))),
            "{closed} is offered: {offered}"
        );
    }
    browser.goto("/register/assets").await?;
    let own = format!(
        "const said = document.querySelector('main').textContent; \
        return said.includes('刀片服务器') && said.includes('{COURT}') && !said.includes('核心交换机') && !said.includes('甘肃省高级人民法院')"
    );
    browser
        .until("the own court's assets and no others", &own)
        .await?;
    browser.click(".table tbody tr td.lead a").await?;
    browser.until("the asset", &says("信息中心机房")).await?;
    let id = browser
        .run("return location.pathname.split('/').pop()")
        .await?;
    browser
        .goto(&format!("/assets/{}", id.as_str().context("no number")?))
        .await?;
    browser
        .until("the label's address shows it", &says("王芳"))
        .await?;
    clean(&browser, "first-day-asset", look).await?;
    browser.close().await
}
