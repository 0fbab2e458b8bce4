//! What people do with accounts: two of them decide on what touches security, a second factor is set, used and
//! taken off, sign-ins are ended, and an account is disabled. In Chinese on a desk in the light, in English on a phone
//! in the dark; each page on the way in all sizes and lights.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use xiezhi_identity::second_factor::{FactorSecret, STEP_SECONDS};
use xiezhi_test_support::{Api, TestController};

use crate::browser::{Browser, PASSWORD};
use crate::checks;
use crate::look::Look;

/// Button in the row, or on a phone the card, of an account.
const IN_ROW: &str = "const row = [...document.querySelectorAll(arguments[0])].find((one) => one.textContent.includes(arguments[1]));
    const button = row && [...row.querySelectorAll('button')].find((one) => one.textContent.trim() === arguments[2]);
    if (!button) return false; button.click(); return true";

/// Clicks a button in the row that names an account.
pub(crate) async fn press_in_row(
    browser: &Browser,
    list: &str,
    account: &str,
    button: &str,
) -> Result<()> {
    let rows = format!("section[aria-labelledby={list}] tbody tr");
    let arguments = vec![json!(rows), json!(account), json!(button)];
    xiezhi_test_support::eventually(button, async || {
        let pressed = browser.run_with(IN_ROW, arguments.clone()).await?;
        Ok((pressed == true).then_some(()))
    })
    .await
}

/// Whether the page says something.
pub(crate) fn says(text: &str) -> String {
    format!("return document.body.innerText.includes('{text}')")
}

/// Takes pictures of what is open and asks everything of it, in all sizes and lights.
pub(crate) async fn look_at(browser: &Browser, name: &str, look: Look) -> Result<()> {
    checks::none_of(&checks::around(browser, name, look).await?)
}

pub(crate) async fn sign_in(browser: &Browser, account: &str) -> Result<()> {
    browser.goto("/login").await?;
    browser.fill("input[name=username]", account).await?;
    browser.fill("input[name=password]", PASSWORD).await?;
    browser.click(".gate-card .button-primary").await
}

/// As [`sign_in`], up to the overview.
pub(crate) async fn enter(browser: &Browser, account: &str) -> Result<()> {
    sign_in(browser, account).await?;
    there(browser).await
}

pub(crate) async fn there(browser: &Browser) -> Result<()> {
    browser
        .until("the overview", "return !!document.querySelector('.tiles')")
        .await?;
    // Signing in was asked for while signed out, which the browser's log tells as a refusal.
    browser.problems().await?;
    Ok(())
}

/// Leaves by the request that the button sends, without looking for where a phone has the button.
pub(crate) async fn leave(browser: &Browser) -> Result<()> {
    let out = "const done = arguments[arguments.length - 1]; fetch('/api/v1/logout', { method: 'POST', headers: { 'X-Xiezhi-Request': '1' } }).then((answer) => done(answer.ok))";
    ensure!(browser.run_async(out).await? == true, "signing out failed");
    Ok(())
}

/// An account whose owner has set a password, and a session of it.
pub(crate) async fn owned(controller: &TestController, name: &str, once: &str) -> Result<Api> {
    let first = Api::sign_in_as(controller.web(), name, once).await?;
    let own = json!({"old": once, "new": PASSWORD});
    first.post("/api/v1/me/password", &own).await?;
    Api::sign_in_as(controller.web(), name, PASSWORD).await
}

pub(crate) async fn made(api: &Api, name: &str, roles: Value) -> Result<String> {
    let account = json!({"name": name, "display_name": "", "home": null, "roles": roles});
    let made = api.post("/api/v1/users", &account).await?;
    Ok(made["password"].as_str().context("no password")?.to_owned())
}

/// Who asks for what, and what its owner may read then.
const ASKED: [(&str, &str, &str, &str); 2] = [
    ("李安全", "孙安全", "security_officer", "/api/v1/events"),
    ("admin", "钱审计", "audit_admin", "/api/v1/audit"),
];

#[tokio::test]
async fn one_asks_for_a_role_of_security_or_audit_and_another_consents() -> Result<()> {
    let controller = TestController::start().await?;
    for name in ["李安全", "赵安全"] {
        let once = controller.command(&["user", "create", name, "--role", "sec_admin"])?;
        owned(&controller, name, once.trim()).await?;
    }
    let api = controller.api().await?;
    let mut browser = Browser::open(&controller, Look::usual()).await?;
    for (look, (asker, account, role, reads)) in Look::two().into_iter().zip(ASKED) {
        made(&api, account, json!([])).await?;
        browser.look(look).await?;
        enter(&browser, asker).await?;
        browser.goto("/users").await?;
        press_in_row(&browser, "users", account, look.said("更改", "Change")).await?;
        browser.choose(".dialog select[name=role]", role).await?;
        browser
            .fill(".dialog input[name=reason]", "接替退休同志")
            .await?;
        look_at(&browser, "people-ask", look).await?;
        browser.click(".dialog .button-primary").await?;
        browser
            .until(
                "it is asked for",
                &says(look.said("等待第二个人同意", "waits for a second person")),
            )
            .await?;
        browser.click(".dialog .button-primary").await?;
        let own = "return [...document.querySelectorAll('section[aria-labelledby=acts] tbody tr')].some((row) => [...row.querySelectorAll('button')].map((one) => one.textContent.trim()).join() === arguments[0])";
        let withdraw = json!(look.said("撤回", "Withdraw"));
        browser
            .until_with("who asked may only withdraw it", own, &withdraw)
            .await?;
        look_at(&browser, "people-asked", look).await?;
        leave(&browser).await?;

        enter(&browser, "赵安全").await?;
        browser.goto("/users").await?;
        press_in_row(&browser, "acts", account, look.said("同意", "Consent")).await?;
        browser
            .until(
                "what consent does",
                &says(look.said("全部作废", "second factor end")),
            )
            .await?;
        look_at(&browser, "people-consent", look).await?;
        browser
            .click("[role=alertdialog] button:not([type=button])")
            .await?;
        browser
            .until(
                "the password to hand over",
                &says(look.said("把一次性密码交给", "Hand the one-time password")),
            )
            .await?;
        look_at(&browser, "people-handed", look).await?;
        let once = browser
            .run("return document.querySelector('.issued pre').textContent")
            .await?;
        let owner = owned(&controller, account, once.as_str().context("no password")?).await?;
        owner.get(reads).await?;
        leave(&browser).await?;
    }
    browser.close().await
}

#[tokio::test]
async fn a_second_factor_is_set_signed_in_with_and_taken_off() -> Result<()> {
    let controller = TestController::start().await?;
    let mut browser = Browser::open(&controller, Look::usual()).await?;
    for look in Look::two() {
        browser.look(look).await?;
        enter(&browser, "admin").await?;
        browser.goto("/me").await?;
        let form = "section[aria-labelledby=factor]";
        let (field, press) = (
            format!("{form} input[name=code]"),
            format!("{form} form > .button"),
        );
        let password = format!("{form} input[name=password]");
        browser.fill(&password, PASSWORD).await?;
        browser.click(&press).await?;
        browser
            .until(
                "the secret",
                "return document.querySelectorAll('.qr path').length === 1",
            )
            .await?;
        look_at(&browser, "factor-offer", look).await?;
        let text = browser
            .run("return document.querySelector('section[aria-labelledby=factor] pre').textContent")
            .await?;
        let secret = secret(text.as_str().context("no secret")?)?;
        let step = step_now()?;
        browser.fill(&field, &secret.code(step)).await?;
        browser.click(&press).await?;
        browser
            .until(
                "the recovery codes",
                &says(look.said("恢复码", "Keep the recovery codes")),
            )
            .await?;
        look_at(&browser, "factor-recovery", look).await?;
        let codes = browser
            .run("return document.querySelector('.issued pre').textContent")
            .await?;
        let recovery = codes
            .as_str()
            .and_then(|all| all.lines().next())
            .context("no codes")?
            .to_owned();
        browser.click(".issued .button-primary").await?;
        browser
            .until("it is on", &says(look.said("已开启", "It is on")))
            .await?;
        leave(&browser).await?;

        sign_in(&browser, "admin").await?;
        browser
            .until(
                "a code is asked for",
                "return !!document.querySelector('.gate-card input[name=code]')",
            )
            .await?;
        browser.problems().await?;
        look_at(&browser, "factor-sign-in", look).await?;
        // A code is good for once: that of the set-up is used up.
        browser.fill("input[name=code]", &secret.code(step)).await?;
        browser.click(".gate-card .button-primary").await?;
        browser
            .until(
                "a used code is refused",
                "return !!document.querySelector('.gate-card [role=alert]')",
            )
            .await?;
        browser
            .fill("input[name=code]", &secret.code(step + 1))
            .await?;
        browser.click(".gate-card .button-primary").await?;
        there(&browser).await?;

        browser.goto("/me").await?;
        browser.fill(&password, PASSWORD).await?;
        browser.fill(&field, &recovery).await?;
        look_at(&browser, "factor-remove", look).await?;
        browser.click(&press).await?;
        browser.until("it is off", "return !document.querySelector('section[aria-labelledby=factor] input[name=code]')").await?;
        leave(&browser).await?;
    }
    browser.close().await
}

pub(crate) fn secret(text: &str) -> Result<FactorSecret> {
    let bytes = data_encoding::BASE32_NOPAD.decode(text.trim().as_bytes())?;
    FactorSecret::from_bytes(&bytes).context("a secret of another length")
}

pub(crate) fn step_now() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_secs())? / STEP_SECONDS)
}

#[tokio::test]
async fn sign_ins_are_ended_by_their_owner_and_by_an_administrator_who_then_disables() -> Result<()>
{
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let mut browser = Browser::open(&controller, Look::usual()).await?;
    for (look, account) in Look::two().into_iter().zip(["王技术", "周技术"]) {
        let once = made(&api, account, json!([{"role": "technician", "site": null}])).await?;
        let elsewhere = owned(&controller, account, &once).await?;
        browser.look(look).await?;
        enter(&browser, account).await?;
        browser.goto("/me").await?;
        look_at(&browser, "sessions", look).await?;
        browser
            .click("section[aria-labelledby=sessions] tbody button")
            .await?;
        browser.until("one is left", "return document.querySelectorAll('section[aria-labelledby=sessions] tbody tr').length === 1").await?;
        ensure!(
            elsewhere.get("/api/v1/me").await.is_err(),
            "a session that was ended goes on"
        );
        leave(&browser).await?;

        let elsewhere = Api::sign_in_as(controller.web(), account, PASSWORD).await?;
        enter(&browser, "admin").await?;
        browser.goto("/users").await?;
        change(&browser, account, "end_sessions", look).await?;
        ensure!(
            elsewhere.get("/api/v1/me").await.is_err(),
            "a session that was ended goes on"
        );
        Api::sign_in_as(controller.web(), account, PASSWORD).await?;
        change(&browser, account, "disable", look).await?;
        let shown = "return [...document.querySelectorAll('section[aria-labelledby=users] tbody tr')].some((row) => row.innerText.includes(arguments[0]))";
        let disabled = json!(look.said("停用", "Disabled"));
        browser
            .until_with("the list says so", shown, &disabled)
            .await?;
        look_at(&browser, "people-disabled", look).await?;
        let refused = Api::sign_in_as(controller.web(), account, PASSWORD).await;
        ensure!(refused.is_err(), "a disabled account signs in");
        leave(&browser).await?;
    }
    browser.close().await
}

/// Changes an account in the dialogue and closes it.
async fn change(browser: &Browser, account: &str, kind: &str, look: Look) -> Result<()> {
    press_in_row(browser, "users", account, look.said("更改", "Change")).await?;
    browser.choose(".dialog select", kind).await?;
    look_at(browser, &format!("people-{kind}"), look).await?;
    browser.click(".dialog .button-primary").await?;
    browser
        .until("it is done", &says(look.said("已完成", "Done.")))
        .await?;
    browser.click(".dialog .button-primary").await?;
    browser
        .until(
            "the dialogue is gone",
            "return !document.querySelector('.dialog')",
        )
        .await
}

#[tokio::test]
async fn a_name_that_no_account_may_have_is_told_beside_its_field() -> Result<()> {
    let controller = TestController::start().await?;
    let mut browser = Browser::open(&controller, Look::usual()).await?;
    for look in Look::two() {
        browser.look(look).await?;
        enter(&browser, "admin").await?;
        browser.goto("/users").await?;
        for (name, why) in [
            (
                "王 芳",
                look.said("不能有空格", "blanks and other signs may not"),
            ),
            (
                "admin",
                look.said("已经有这个账号名", "an account of that name already"),
            ),
        ] {
            browser.fill(".form-row input[name=name]", name).await?;
            browser.choose(".form-row select[name=role]", "").await?;
            browser.click(".form-row .button-primary").await?;
            let told = format!(
                "const field = document.querySelector('.form-row input[name=name]'); \
                const told = document.getElementById(field.getAttribute('aria-describedby')); \
                return field.getAttribute('aria-invalid') === 'true' && field === document.activeElement && !!told && told.textContent.includes('{why}')"
            );
            browser.until(why, &told).await?;
            // The refusal itself is told by the browser's log.
            let refusals = browser.problems().await?;
            let known = |one: &String| one.contains("400") || one.contains("409");
            ensure!(refusals.iter().all(known), "{refusals:?}");
            look_at(&browser, "people-bad-name", look).await?;
        }
        leave(&browser).await?;
    }
    browser.close().await
}
