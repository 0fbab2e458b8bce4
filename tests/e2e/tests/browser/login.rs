//! The first sign-in after an installation, and the ways in which it can fail.

use anyhow::{Context as _, Result, ensure};
use xiezhi_test_support::TestController;

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

#[tokio::test]
async fn the_printed_address_signs_in_once_and_a_wrong_password_says_so() -> Result<()> {
    let mut controller = TestController::start().await?;
    let log = controller.process()?.log();
    let printed = log
        .lines()
        .find_map(|line| {
            line.split_once("/login?code=")
                .map(|(_, code)| code.trim().to_owned())
        })
        .context("no one-time address was printed")?;
    let look = Look::usual();
    let browser = Browser::open(&controller, look).await?;
    browser.goto(&format!("/login?code={printed}")).await.ok();
    browser
        .until("the overview", "return !!document.querySelector('.tiles')")
        .await?;
    let address = browser.run("return location.href").await?;
    ensure!(
        !address.to_string().contains("code"),
        "the code stays in the address: {address}"
    );

    browser.click(".bar-tools [aria-label=退出登录]").await?;
    browser
        .until("the gate", "return !!document.querySelector('.gate-card')")
        .await?;
    browser.goto(&format!("/login?code={printed}")).await?;
    let says = |text: &str| {
        format!(
            "const said = document.querySelector('[role=alert]'); return !!said && said.textContent.includes('{text}')"
        )
    };
    browser
        .until("the used code is refused", &says("登录码无效"))
        .await?;

    browser.fill("input[name=username]", "admin").await?;
    browser
        .fill("input[name=password]", "not the password")
        .await?;
    browser.click(".gate-card .button-primary").await?;
    browser
        .until("the password is refused", &says("账号或密码不对"))
        .await?;
    // The browser itself reports each refusal in its log; nothing else may be there.
    let refused = |text: &String| text.contains("401");
    let problems = checks::around(&browser, "login-refused", look).await?;
    let others: Vec<String> = problems.into_iter().filter(|text| !refused(text)).collect();
    checks::none_of(&others)?;
    browser.sign_in().await?;
    browser.close().await
}

#[tokio::test]
async fn an_address_that_needs_a_session_comes_back_after_signing_in() -> Result<()> {
    let controller = TestController::start().await?;
    let browser = Browser::open(&controller, Look::usual()).await?;
    browser.goto("/fleet?sort=cpu&order=desc").await?;
    browser
        .until("the gate", "return !!document.querySelector('.gate-card')")
        .await?;
    browser.fill("input[name=username]", "admin").await?;
    browser
        .fill("input[name=password]", "correct horse battery staple")
        .await?;
    browser.click(".gate-card .button-primary").await?;
    browser
        .until(
            "the page that was asked for",
            "return location.pathname + location.search === '/fleet?sort=cpu&order=desc'",
        )
        .await?;
    browser.close().await
}
