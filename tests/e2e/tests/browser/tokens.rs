//! Tokens of programs: made by their owner with the second factor, seen once, used by a program, seen with that
//! by the owner and by who keeps the accounts, withdrawn by either, and good for nothing from then on. In Chinese
//! on a desk in the light, in English on a phone in the dark; each page on the way in all sizes and lights.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use xiezhi_identity::second_factor::FactorSecret;
use xiezhi_test_support::{Api, TestController, eventually};

use crate::browser::{Browser, PASSWORD};
use crate::look::Look;
use crate::people::{
    enter, leave, look_at, made, owned, press_in_row, says, secret, sign_in, step_now, there,
};

const FORM: &str = "section[aria-labelledby=tokens] form";

/// Names of the token and of the account, and who withdraws it in the end.
const CASES: [(&str, &str, bool); 2] = [
    ("台账同步", "王脚本", false),
    ("register sync", "zhou.script", true),
];

#[tokio::test]
async fn a_token_is_made_with_the_second_factor_seen_once_used_and_withdrawn() -> Result<()> {
    let controller = TestController::start().await?;
    let api = controller.api().await?;
    let mut browser = Browser::open(&controller, Look::usual()).await?;
    for (look, (name, account, by_administrator)) in Look::two().into_iter().zip(CASES) {
        let roles = json!([{"role": "technician", "site": 2}]);
        let once = made(&api, account, roles).await?;
        let own = owned(&controller, account, &once).await?;
        let factor = Factor::turned_on(&own).await?;
        browser.look(look).await?;
        enter_with(&browser, account, &factor.recovery).await?;

        let token = make(&browser, look, name, &factor).await?;
        ensure!(ask(&controller, &token).await? == StatusCode::OK, "refused");
        browser.goto("/me").await?;
        let used = "return [...document.querySelectorAll('section[aria-labelledby=tokens] tbody tr')].some((row) => row.textContent.includes('127.0.0.1'))";
        browser.until("the row with its last use", used).await?;
        look_at(&browser, "token-used", look).await?;
        if by_administrator {
            leave(&browser).await?;
            withdraw_of(&browser, look, name, account).await?;
        } else {
            withdraw(&browser, look, "tokens", name).await?;
        }

        eventually("the program is refused", async || {
            let status = ask(&controller, &token).await?;
            Ok((status == StatusCode::UNAUTHORIZED).then_some(()))
        })
        .await?;
        audited(&api, name, account, by_administrator).await?;
        leave(&browser).await?;
    }
    browser.close().await
}

/// A second factor that is on.
struct Factor {
    secret: FactorSecret,
    /// The moment of which the code was used up by turning it on.
    step: i64,
    /// One of the recovery codes.
    recovery: String,
}

impl Factor {
    async fn turned_on(own: &Api) -> Result<Self> {
        let password = json!({ "password": PASSWORD });
        let offer = own.post("/api/v1/me/second-factor", &password).await?;
        let secret = secret(offer["secret"].as_str().context("no secret")?)?;
        let step = step_now()?;
        let code = json!({ "code": secret.code(step) });
        let done = own.post("/api/v1/me/second-factor/confirm", &code).await?;
        let recovery = done["recovery_codes"][0].as_str().context("no codes")?;
        Ok(Self {
            secret,
            step,
            recovery: recovery.to_owned(),
        })
    }
}

async fn enter_with(browser: &Browser, account: &str, code: &str) -> Result<()> {
    sign_in(browser, account).await?;
    browser.fill(".gate-card input[name=code]", code).await?;
    browser.click(".gate-card .button-primary").await?;
    there(browser).await
}

/// Makes a token on the page of the own account and yields what is shown once.
async fn make(browser: &Browser, look: Look, name: &str, factor: &Factor) -> Result<String> {
    browser.goto("/me").await?;
    let field = |field: &str| format!("{FORM} input[name={field}]");
    browser.fill(&field("name"), name).await?;
    browser.fill(&field("password"), PASSWORD).await?;
    let code = factor.secret.code(factor.step + 1);
    browser.fill(&field("code"), &code).await?;
    look_at(browser, "token-make", look).await?;
    browser.click(&format!("{FORM} > .button-primary")).await?;
    let shown = "return !!document.querySelector('.issued .token')";
    browser.until("the token", shown).await?;
    look_at(browser, "token-issued", look).await?;
    let token = browser
        .run("return document.querySelector('.issued .token').textContent")
        .await?;
    let token = token.as_str().context("no token")?.to_owned();
    browser.click(".issued .button-primary").await?;
    // Only once: neither this page shows it again nor a new one.
    for again in [false, true] {
        if again {
            browser.goto("/me").await?;
        }
        let never = look.said("从未使用", "Never");
        browser.until("its row", &says(never)).await?;
        let html = browser
            .run("return document.documentElement.outerHTML")
            .await?;
        let html = html.as_str().context("no page")?;
        ensure!(!html.contains(&token), "the page still holds the token");
    }
    Ok(token)
}

/// What a program is answered that comes with the token.
async fn ask(controller: &TestController, token: &str) -> Result<StatusCode> {
    let client = reqwest::Client::builder().build()?;
    let address = format!("http://{}/api/v1/register/assets", controller.web());
    let answer = client.get(address).bearer_auth(token).send().await?;
    Ok(answer.status())
}

/// Withdraws it in a list, and is sure.
async fn withdraw(browser: &Browser, look: Look, list: &str, name: &str) -> Result<()> {
    press_in_row(browser, list, name, look.said("作废", "Withdraw")).await?;
    let asked = "return !!document.querySelector('[role=alertdialog]')";
    browser.until("it asks first", asked).await?;
    look_at(browser, "token-withdraw", look).await?;
    browser
        .click("[role=alertdialog] button:not([type=button])")
        .await?;
    let gone = "return !document.querySelector('[role=alertdialog]') && ![...document.querySelectorAll('tbody tr')].some((row) => row.textContent.includes(arguments[0]) && [...row.querySelectorAll('button')].some((one) => one.textContent.trim() === arguments[1]))";
    let arguments = vec![json!(name), json!(look.said("作废", "Withdraw"))];
    eventually("it is withdrawn", async || {
        let done = browser.run_with(gone, arguments.clone()).await?;
        Ok((done == true).then_some(()))
    })
    .await
}

/// As who keeps the accounts: from the account's row to its tokens, one of which is withdrawn.
async fn withdraw_of(browser: &Browser, look: Look, name: &str, account: &str) -> Result<()> {
    enter(browser, "admin").await?;
    browser.goto("/users").await?;
    let open = "const row = [...document.querySelectorAll('section[aria-labelledby=users] tbody tr')].find((one) => one.textContent.includes(arguments[0]));
        const link = row && row.querySelector('a[href^=\"/users/tokens?user=\"]'); if (!link) return false; link.click(); return true";
    browser
        .until_with("the account's row", open, &json!(account))
        .await?;
    let row = "return [...document.querySelectorAll('section[aria-labelledby=programs] tbody tr')].some((row) => [arguments[0].name, arguments[0].account, '127.0.0.1'].every((part) => row.textContent.includes(part)))";
    let wanted = json!({"name": name, "account": account});
    browser
        .until_with("whose it is and from where it was used", row, &wanted)
        .await?;
    look_at(browser, "tokens-of-account", look).await?;
    withdraw(browser, look, "programs", name).await
}

/// The audit log says who withdrew which token of whom, and that it was used afterwards.
async fn audited(api: &Api, name: &str, account: &str, by_administrator: bool) -> Result<()> {
    let newest = async |action: &str| -> Result<Value> {
        let list = api.get(&format!("/api/v1/audit?action={action}")).await?;
        Ok(list["items"][0].clone())
    };
    let withdrawn = newest("api_token.revoke").await?;
    let by = if by_administrator { "admin" } else { account };
    ensure!(
        withdrawn["actor"] == format!("user:{by}") && withdrawn["detail"]["name"] == name,
        "{withdrawn}"
    );
    let used = newest("api_token.refuse").await?;
    ensure!(
        used["subject"] == withdrawn["subject"] && used["detail"]["reason"] == "token_revoked",
        "{used}"
    );
    Ok(())
}
